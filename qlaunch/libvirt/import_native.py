"""``qemu:commandline`` and ``qemu:override``: QEMU's own words, as keys where there is one, and else passed on.

Source: libvirt's ``docs/drvqemu.rst``, "Pass-through of arbitrary QEMU commands"; ``src/qemu/qemu_alias.c`` (names of
devices).
"""

from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_native_devices import read_option
from qlaunch.libvirt.import_native_words import Words, options_of
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_OTHERS = tuple(f"http://libvirt.org/schemas/domain/{name}/" for name in ("lxc", "xen", "bhyve", "vmware"))
_SERVERS = {"pa": "pulse", "alsa": "alsa", "spice": "spice", "none": "none", "pipewire": "pipewire", "jack": "jack"}


def native(draft: Draft, places: Places) -> None:
    """Read the namespace of QEMU, whatever prefix it has."""
    root = draft.root
    for node in root.children:
        prefix, _, tag = node.tag.rpartition(":")
        spaces = [holder.attributes.get(f"xmlns:{prefix}" if prefix else "xmlns") for holder in (node, root)]
        if any(space and space.startswith(_OTHERS) for space in spaces):
            draft.idle(node, "is for another hypervisor")
            continue
        if tag not in ("commandline", "override", "capabilities", "deprecation"):
            continue
        if _NAMESPACE not in spaces and prefix != "qemu":
            continue
        node.seen = True
        if _NAMESPACE not in spaces and tag != "deprecation":
            lacks = f'<domain> lacks xmlns:{shown(prefix)}="{_NAMESPACE}"'
            draft.asks(node, f"libvirt drops this, since {lacks}; it is read all the same", ("qemu",))
        before = f"{prefix}:" if prefix else ""
        if tag == "commandline":
            _commandline(draft, places, node, before)
        elif tag == "override":
            _override(draft, node, before)
        else:
            draft.idle(node, "how libvirt sees QEMU")


def _commandline(draft: Draft, places: Places, node: Node, prefix: str) -> None:
    for variable in node.each(f"{prefix}env"):
        _environment(draft, variable)
    words = Words(draft, places)
    # QEMU makes these before all devices, wherever they stand.
    options = sorted(options_of(node.each(f"{prefix}arg")), key=lambda one: one.flag not in ("object", "audiodev"))
    rest = [option for option in options if not read_option(words, option)]
    words.finish()
    for option in rest:
        words.keep(option)


def _environment(draft: Draft, node: Node) -> None:
    name, value = node.get("name") or "", node.get("value") or ""
    if name == "QEMU_AUDIO_DRV" and value in _SERVERS and "audio" in draft.tables:
        draft.set(node, "audio", "backend", _SERVERS[value])
    elif name in ("QEMU_PA_SERVER", "PULSE_SERVER") and "audio" in draft.tables:
        draft.set(node, "audio", "backend", "pulse")
        draft.set(node, "audio", "server", value.removeprefix("unix:") if value.startswith("unix:/") else value)
    elif name.startswith(("QEMU_AUDIO_", "QEMU_PA_", "QEMU_ALSA_")):
        draft.lost(node, "this detail of the sound server has no key here", "name", "value")
    else:
        message = f"{shown(name)}={shown(value)} is not set for QEMU: it would need to be where qlaunch is started"
        draft.asks(node, message, ("qemu",))


def _override(draft: Draft, node: Node, prefix: str) -> None:
    """Lay properties over a device that libvirt names by its alias."""
    for device in node.each(f"{prefix}device"):
        alias = device.get("alias") or ""
        front = device.one(f"{prefix}frontend")
        for one in front.each(f"{prefix}property") if front else []:
            name, kind, text = one.get("name") or "", one.get("type") or "string", one.get("value") or ""
            if kind == "remove":
                draft.asks(one, f"{shown(alias)}.{shown(name)} cannot be taken away here", ("qemu", "properties"))
                continue
            value: str | int | bool = text
            if kind == "bool":
                value = text in ("true", "on", "yes")
            elif kind in ("signed", "unsigned"):
                number = draft.number(one, "value", -(1 << 63), (1 << 64) - 1)
                value = text if number is None else number
            Words.override(draft, one, alias, name, value)
