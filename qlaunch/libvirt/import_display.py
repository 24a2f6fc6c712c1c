"""What shows the guest's picture, what draws it, and memory that it shares with a viewer.

Source: libvirt's ``docs/formatdomain.rst``, "Graphical framebuffers", "Video devices", "Shared memory device".
"""

import re

from qlaunch.libvirt.import_draft import Draft, in_bytes, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_MODELS = {
    "vga": "std",
    "qxl": "qxl",
    "virtio": "virtio",
    "virtio-transitional": "virtio",
    "virtio-non-transitional": "virtio",
    "cirrus": "cirrus",
    "bochs": "bochs",
    "vmvga": "vmware",
    "ramfb": "ramfb",
    "none": "none",
}
_TUNING = "how SPICE compresses and forwards is not set"
_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def display(draft: Draft, places: Places) -> None:
    """Read graphics, video and shared memory."""
    graphics = _graphics(draft, places)
    draft.set(places.devices, "display", "type", graphics)
    videos = places.devices.each("video")
    if videos:
        _video(draft, places, videos[0])
    elif graphics != "none":
        draft.set(places.devices, "display", "gpu", "cirrus" if not places.on_q35 else "std")
        node = Node("video", {}, None, places.devices.line, places.devices.column)
        places.claim(node, draft.tables["display"], usual="01.0" if places.on_q35 else "02.0")
    for node in videos[1:]:
        node.close()
        draft.asks(node, "a second emulated graphics card has no key here; left out", ("display", "gpu"))
    _tablet(draft, graphics)
    for node in places.devices.each("shmem"):
        _shmem(draft, places, node)


def _graphics(draft: Draft, places: Places) -> str:
    """Give the type of display; the first one that qlaunch has."""
    chosen = "none"
    for node in places.devices.each("graphics"):
        kind = node.get("type") or ""
        draft.idle(node, "is for SDL's window", "display", "xauth", "fullscreen")
        if kind in ("egl-headless", "desktop") or (kind in ("spice", "vnc", "sdl") and chosen != "none"):
            other = f"{kind} is left out" + (
                f" beside {chosen}" if chosen != "none" else ": no window is opened for it"
            )
            node.close()
            draft.differs(node, other, ("display", "type"))
        elif kind == "spice":
            chosen = "spice"
            _where(draft, node)
            _spice(draft, node)
        elif kind == "vnc":
            chosen = "vnc"
            _where(draft, node)
            draft.lost(node, "has no key here", "sharePolicy", "powerControl", "wait", "keymap", "websocketGenerated")
            draft.lost(node, "VNC over websockets has no key here", "websocket")
        elif kind in ("sdl", "gtk"):
            chosen = "gtk"
            node.close()
            draft.differs(node, "a GTK window takes its place", ("display", "type"))
        else:
            node.close()
            draft.asks(node, f'"{shown(kind)}" has no key here; left out', ("display", "type"))
    return chosen


def _where(draft: Draft, node: Node) -> None:
    """Tell that the picture is on a socket of this machine's own, and never copy a password."""
    draft.lost(node, "there is no keymap: the viewer's keys are the guest's", "keymap")
    for name in ("passwd", "passwdValidTo", "connected", "defaultMode", "socket"):
        node.get(name)
    for child in (*node.each("listen"), *node.each("audio")):
        child.close()
    ports = [text for name in ("port", "tlsPort", "websocket") if (text := node.get(name)) not in (None, "-1", "0")]
    address = node.get("listen")
    node.get("autoport")
    if "passwd" in node.attributes:
        draft.asks(node, "its password is not copied: the socket is open to you alone", ("display",), "passwd")
    del address
    where = f" (libvirt: port {shown(str(ports[0]))})" if ports else ""
    draft.differs(node, f"the viewer finds it at a socket that `qlaunch plan` shows{where}", ("display", "type"))


def _spice(draft: Draft, node: Node) -> None:
    for tag in ("image", "jpeg", "zlib", "playback", "streaming", "clipboard", "mouse", "filetransfer", "channel"):
        for child in node.each(tag):
            draft.idle(child, _TUNING)
    gl = node.one("gl")
    if gl is not None:
        render = gl.get("rendernode")
        del render
        if draft.flag(gl, "enable"):
            draft.lost(gl, "pictures drawn by the host's card (OpenGL) have no key here")


def _video(draft: Draft, places: Places, node: Node) -> None:
    draft.idle(node.one("alias"), "libvirt's own name")
    model, driver = node.one("model"), node.one("driver")
    kind = (model.get("type") or "cirrus") if model else "cirrus"
    chosen = _MODELS.get(kind)
    if chosen is None:
        draft.asks(node, f'"{shown(kind)}" has no key here; the standard VGA card takes its place', ("display", "gpu"))
        chosen = "std"
    if driver is not None:
        draft.lost(driver, "has no key here", "vgaconf", "iommu", "ats", "packed", "page_per_vq", "name")
    if model is not None:
        heads = draft.number(model, "heads", 1, 16)
        draft.set(model, "display", "heads", heads if heads != 1 else None)
        if draft.flag(model, "primary") is False and chosen == "virtio":
            chosen = "virtio-gpu"
        draft.flag(model, "primary")
        _memory(draft, model, kind)
        acceleration = model.one("acceleration")
        draft.idle(acceleration, "is the host's card that would draw", "rendernode") if acceleration else None
        if acceleration is not None and (draft.flag(acceleration, "accel3d") or draft.flag(acceleration, "accel2d")):
            draft.lost(acceleration, "pictures drawn by the host's card (OpenGL) have no key here")
        draft.lost(model.one("resolution"), "the guest asks for a resolution itself")
        draft.lost(model, "has no key here", "blob", "edid")
    table = draft.tables["display"]
    draft.set(node, "display", "gpu", None if chosen == "none" == table["type"] else chosen)
    if chosen in ("none", "ramfb"):
        draft.idle(node.one("address"), "such a card has no place on the bus")
    else:
        places.claim(node, table, usual="01.0" if places.on_q35 else "02.0")


def _memory(draft: Draft, model: Node, kind: str) -> None:
    """Libvirt writes the sizes that QEMU takes anyway; others are told."""
    plain = {"ram": (65536,), "vram": (65536, 16384), "vram64": (0,), "vgamem": (16384,)}
    for name, usual in plain.items():
        value = draft.number(model, name)
        if value is not None and value not in usual:
            draft.differs(
                model, f"the card has QEMU's own size of memory, and not {value} KiB", ("display", "gpu"), name
            )
    del kind


def _tablet(draft: Draft, graphics: str) -> None:
    """Say a plain USB tablet in the display's own words, and otherwise that there is none."""
    rows = draft.tables.get("input", [])
    plain = [row for row in rows if row["type"] == "tablet" and set(row) == {"type"}]
    if len(plain) == 1 and len(rows) == 1:
        draft.tables.pop("input")
        if graphics == "none":
            draft.tables["display"]["tablet"] = True
    elif graphics != "none":
        draft.tables["display"]["tablet"] = False


def _shmem(draft: Draft, places: Places, node: Node) -> None:
    draft.idle(node.one("alias"), "libvirt's own name")
    name, model = node.get("name") or "", node.one("model")
    kind = (model.get("type") if model else None) or "ivshmem"
    size_node = node.one("size")
    size = draft.size(size_node, size_node.word() if size_node else None, "MiB") or 4 << 20
    draft.idle(node, "is for moving running guests", "role")
    server = node.one("server")
    if server is not None or kind == "ivshmem-doorbell":
        node.close()
        draft.asks(node, "shared memory with a server (ivshmem-doorbell) has no key here; left out", ("shmem",))
        return
    if kind == "ivshmem":
        draft.differs(node, "ivshmem-plain takes the place of its predecessor", ("shmem",))
    for tag in ("msi",):
        draft.idle(node.one(tag), "is for ivshmem-doorbell")
    ours = f"looking-glass-{draft.root.words('name')}"
    if name in ("looking-glass", ours) and "looking_glass" not in draft.tables["display"]:
        draft.set(node, "display", "looking_glass", in_bytes(size))
        if name != ours:
            message = (
                "the file is /dev/shm/looking-glass-NAME, of the machine's name: looking-glass-client app:shmFile="
            )
            draft.differs(node, message, ("display", "looking_glass"))
        places.claim(node, draft.tables["display"], "looking_glass_address")
        return
    if not _NAME.fullmatch(name):
        node.close()
        draft.asks(node, f'"{shown(name)}" is no name of shared memory; left out', ("shmem",))
        return
    row, _ = draft.add(node, "shmem", name=name, size=in_bytes(size))
    places.claim(node, row, must=True)
