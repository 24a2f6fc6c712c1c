"""Serial ports, consoles and channels.

Source: libvirt's ``docs/formatdomain.rst``, "Consoles, serial, parallel & channel devices": the first console is the
first serial port, said twice.
"""

from qlaunch.libvirt.import_disk_place import usb_place
from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_AGENT = "org.qemu.guest_agent.0"
_VIEWER = "com.redhat.spice.0"
_PLAIN = ("pty", "unix", "stdio", "vc")
# Where libvirt makes up names of sockets by itself.
_LIBVIRTS_OWN = ("/var/lib/libvirt/", "/run/libvirt/", "/var/run/libvirt/")
_REPLACED = ("dev", "pipe", "tcp", "udp", "dbus", "spicevmc", "nmdm", "qemu-vdagent")


def chars(draft: Draft, places: Places) -> None:
    """Read every character device."""
    serials, consoles = places.devices.each("serial"), places.devices.each("console")
    _serials(draft, places, serials)
    _consoles(draft, consoles, serials)
    channels = places.devices.each("channel")
    agent = viewer = False
    for node in channels:
        _common(draft, node)
        target = node.one("target")
        kind, name = (target.get("type"), target.get("name")) if target else (None, None)
        draft.idle(target, "is of a running domain", "state") if target else None
        if kind != "virtio":
            node.close()
            draft.asks(node, f'a channel of the kind "{shown(kind or "")}" has no key here; left out', ("channel",))
        elif name == _AGENT and not agent:
            agent = True
            _back_end(draft, node)
        elif node.get("type") in ("spicevmc", "qemu-vdagent") and name in (_VIEWER, None) and not viewer:
            viewer = True
            _viewer(draft, node)
        else:
            _channel(draft, node, "port", name)
    draft.set(places.devices, "agent", "enabled", agent)
    shown_by = draft.tables.get("display", {}).get("type")
    if shown_by in ("spice", "gtk"):
        draft.set(places.devices, "display", "agent", viewer)
    elif viewer:
        draft.differs(places.devices, "the viewer's agent has a channel only with SPICE", ("display", "agent"))
    for tag, reason in (("parallel", "parallel ports"), ("smartcard", "smart cards")):
        for node in places.devices.each(tag):
            draft.lost(node, f"{reason} have no key here")


def _common(draft: Draft, node: Node) -> None:
    draft.idle(node.one("alias"), "libvirt's own name")
    address = node.one("address")
    target = node.one("target")
    own = {"usb-serial": "usb", "pci-serial": "pci"}.get((target.get("type") if target else None) or "")
    if address is not None and address.get("type") != own:
        draft.idle(address, "a port that the guest finds by its name or number")
    log = node.one("log")
    if log is not None:
        log.close()
        draft.differs(log, "the first serial port has a log of its own: `qlaunch logs`", ("serial", "log"))


def _back_end(draft: Draft, node: Node) -> tuple[str, str | None]:
    """Read what a character device leads to. Give our word for it, and a path."""
    kind = node.get("type") or "pty"
    path = _source(draft, node)
    if kind == "file":
        return "file", path
    if kind == "unix" and path and not path.startswith(_LIBVIRTS_OWN):
        return "socket", path
    if kind in ("null", "spiceport"):
        return kind, None
    if kind in _REPLACED:
        draft.differs(node, f'a socket of the machine takes the place of "{kind}"')
    elif kind not in _PLAIN:
        draft.asks(node, f'"{shown(kind)}" is not known; a socket of the machine takes its place')
    return "socket", None


def _source(draft: Draft, node: Node) -> str | None:
    """Read ``source`` with what is beside it; give its path."""
    source = node.one("source")
    path = source.get("path") if source else None
    draft.idle(node, "is of a running domain", "tty")
    draft.idle(node.one("protocol"), "the socket is qlaunch's own")
    for extra in node.each("source"):
        draft.idle(extra, "which end listens, and what becomes of an old file", "mode", "append", "tty")
        draft.idle(extra.one("reconnect"), "the socket is qlaunch's own")
        draft.idle(extra, "is for another kind of back end", "path") if extra is not source else None
        for name in ("host", "service", "tls", "channel", "master", "slave"):
            extra.get(name)
        for tag in ("clipboard", "mouse"):
            draft.idle(extra.one(tag), "the viewer's own choice")
        for label in extra.each("seclabel"):
            draft.idle(label, "labels of the host's security module")
    return path


def _serials(draft: Draft, places: Places, serials: list[Node]) -> None:
    """The first ISA port is ``[serial]``; the others are channels."""
    draft.set(places.devices, "serial", "enabled", value=False)
    number = 0
    for node in serials:
        _common(draft, node)
        target = node.one("target")
        kind = (target.get("type") if target else None) or "isa-serial"
        port = draft.number(target, "port", 0, 3)
        if target is not None:
            for model in target.each("model"):
                model.get("name")
        kinds = {"isa-serial": "serial", "usb-serial": "usb", "pci-serial": "pci"}
        if kind not in kinds:
            node.close()
            draft.asks(node, f'"{shown(kind)}" is not on x86; left out', ("channel",))
            continue
        port = number if port is None else port
        if kind == "isa-serial" and port == 0 and not draft.tables["serial"]["enabled"]:
            where, path = _back_end(draft, node)
            draft.set(node, "serial", "enabled", value=True)
            if where == "file":
                message = f"what it prints is in `qlaunch logs`, and not in {shown(path or '')}"
                draft.differs(node, message, ("serial", "log"))
        else:
            row = _channel(draft, node, kinds[kind], None)
            if kind == "isa-serial":
                row["number"] = port
            elif kind == "usb-serial":
                usb_place(draft, node.one("address"), row)
            else:
                places.claim(node, row)
        number += kind == "isa-serial"


def _consoles(draft: Draft, consoles: list[Node], serials: list[Node]) -> None:
    for position, node in enumerate(consoles):
        target = node.one("target")
        kind = (target.get("type") if target else None) or "serial"
        if kind == "serial" and position == 0:
            if serials:
                node.close()
                continue
            _common(draft, node)
            draft.number(target, "port", 0, 3)
            _back_end(draft, node)
            draft.set(node, "serial", "enabled", value=True)
        elif kind == "virtio":
            _common(draft, node)
            draft.number(target, "port", 0, 511)
            _channel(draft, node, "console", None)
        else:
            node.close()
            draft.asks(node, f'a console of the kind "{shown(kind)}" has no key here; left out', ("channel",))


def _channel(draft: Draft, node: Node, kind: str, name: str | None) -> dict[str, object]:
    where, path = _back_end(draft, node)
    row, _ = draft.add(node, "channel", kind=None if kind == "port" else kind, name=name)
    address = node.one("address")
    if kind in ("port", "console") and (controller := draft.number(address, "controller", 0, 31)):
        row["controller"] = controller
    if where == "file" and path:
        row |= {"to": "file", "path": path}
    elif where == "socket" and path:
        row["path"] = path
    elif where == "spiceport":
        source = node.one("source")
        port = source.get("channel") if source else None
        row["to"] = "spiceport"
        if port and port != name:
            draft.differs(node, f"the viewer finds it as {shown(name or '')}, and not as {shown(port)}")
    elif where == "null":
        row["to"] = "null"
    return row


def _viewer(draft: Draft, node: Node) -> None:
    source = node.one("source")
    for tag in ("clipboard", "mouse"):
        child = source.one(tag) if source else None
        draft.idle(child, "the viewer's own choice")
