"""Disks, CD-ROM and floppy drives. No image is opened, and no path is looked at.

Source: libvirt's ``docs/formatdomain.rst``, "Hard drives, floppy disks, CDROMs"; ``src/qemu/qemu_command.c``,
``qemuBuildDiskDeviceProps``; ``src/qemu/qemu_process.c`` (boot order by <os><boot> is that of each kind's first).
"""

from qlaunch.libvirt.import_disk_driver import driver
from qlaunch.libvirt.import_disk_place import drive_place, letter_of
from qlaunch.libvirt.import_draft import Draft, Key, Table, in_bytes, shown
from qlaunch.libvirt.import_hostdevs import alias_of
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_BUSES = {"virtio": "virtio", "scsi": "scsi", "sata": "sata", "ide": "sata", "usb": "usb", "nvme": "nvme"}
_FLOPPY = "floppy drives have no key here; drivers come on a CD-ROM as well"
_IDLE = {
    "backingStore": "QEMU reads the chain of images from the images",
    "mirror": "is of a job that ran",
    "geometry": "is for the BIOS of another age",
    "state": "is of a running domain",
    "privateData": "is of a running domain",
}
_VIRTIO_MODELS = {"virtio": None, "virtio-transitional": None, "virtio-non-transitional": None}


def disks(draft: Draft, places: Places) -> None:
    """Read every disk, and the boot order of <os>, which names kinds of devices."""
    firsts: dict[str, Table] = {}
    for node in places.devices.each("disk"):
        device = node.get("device") or "disk"
        if device == "floppy":
            draft.lost(node, _FLOPPY)
            continue
        made = _disk(draft, places, node, device)
        if made is not None:
            firsts.setdefault("cdrom" if device == "cdrom" else "hd", made)
    _legacy_order(draft, places, firsts)
    on_board = [row for row in draft.tables.get("disk", []) if "unit" in row and row.get("bus") != "scsi"]
    if [row["unit"] for row in on_board if not row.get("controller")] == list(range(len(on_board))):
        for row in on_board:
            del row["unit"]  # it is where it would be without a word


def _disk(draft: Draft, places: Places, node: Node, device: str) -> Table | None:
    target = node.one("target")
    bus = (target.get("bus") if target else None) or _bus_of(target, device)
    _named(draft, target)
    if bus not in _BUSES:
        draft.asks(node, f'there is no bus "{shown(bus)}" for disks here; left out', ("disk",))
        node.close()
        return None
    path = _path(draft, node, device)
    if path is None and device != "cdrom":
        _idle(draft, node)
        node.close()
        return None
    row, key = draft.add(node, "disk", path=path)
    draft.aliases[alias_of(draft, node, f"virtio-disk{letter_of(node)}")] = ("disk", row)
    _kind(draft, node, device, row, key)
    wanted = _BUSES[bus]
    if device == "cdrom" and wanted not in ("sata", "scsi"):
        draft.differs(node, f"a CD-ROM drive on {bus} is put on SATA", key)
        wanted = "sata"
        node.one("address")
    if wanted != ("sata" if device == "cdrom" else "virtio"):
        row["bus"] = wanted
    if "your-word" in [entry.fate for entry in draft.entries if entry.key == _dotted(key)]:
        draft.comment(key, "needs your word: see the report")
    draft.choice(node, "model", _VIRTIO_MODELS)
    driver(draft, node, row, key, wanted)
    _identity(draft, node, row, wanted)
    _rest(draft, node, row, key)
    _target(draft, target, row, wanted)
    if wanted in ("virtio", "nvme"):
        places.claim(node, row)
    else:
        drive_place(draft, places, node, row, bus)
    return row


def _named(draft: Draft, target: Node | None) -> None:
    draft.idle(target, "what it is called is the guest's affair", "dev")
    if target is not None and target.get("tray") == "open":
        draft.lost(target, "an open tray has no key here", "tray")


def _kind(draft: Draft, node: Node, device: str, row: Table, key: Key) -> None:
    if device == "cdrom":
        row["media"] = "cdrom"
    elif device == "lun":
        message = "the guest's SCSI commands do not reach the host's device: it is a plain disk"
        draft.differs(node, message, key, "device")
    elif device != "disk":
        draft.asks(node, f'a disk that is a "{shown(device)}" is not known; it is taken as a disk', key, "device")


def _bus_of(target: Node | None, device: str) -> str:
    """Guess a bus as libvirt does, from the name of the target."""
    name = (target.attributes.get("dev") or "") if target else ""
    if device == "floppy":
        return "fdc"
    return {"hd": "ide", "sd": "scsi", "vd": "virtio", "xv": "virtio"}.get(name[:2], "virtio")


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _path(draft: Draft, node: Node, device: str) -> str | None:
    """Give the file or device; None for an empty drive, or for what is no path."""
    kind = node.get("type") or "file"
    source = node.one("source")
    if source is None:
        if device != "cdrom":
            draft.asks(node, "has no source, and is left out", ("disk",))
        return None
    draft.idle(source, "is what libvirt does when it is missing", "startupPolicy")
    draft.idle(source, "is libvirt's own number", "index")
    for tag, reason in (("seclabel", "labels of the host's security module"), ("privateData", "of a running domain")):
        for child in source.each(tag):
            draft.idle(child, reason)
    for tag in ("reservations", "encryption", "slices", "fdgroup"):
        if (part := source.one(tag)) is not None:
            part.close()
            draft.asks(part, "has no key here", ("disk",))
    others = {"file": ("dev", "name"), "block": ("file", "name")}.get(kind)
    draft.idle(source, "is for another kind of source", *others) if others else None
    if kind == "file":
        return source.get("file") or None
    if kind == "block":
        return source.get("dev") or None
    if kind == "volume":
        return _volume(draft, source)
    source.close()
    where = f"{source.attributes.get('protocol', kind)} {source.attributes.get('name', '')}".strip()
    draft.asks(node, f"is not a file or device of this host ({shown(where)}); left out", ("disk",))
    return None


def _volume(draft: Draft, source: Node) -> str:
    """Give the path that a volume of a storage pool probably has."""
    pool, volume = source.get("pool") or "", source.get("volume") or ""
    draft.idle(source, "is how libvirt opens it", "mode")
    path = f"/var/lib/libvirt/images/{volume}"
    message = f"volume {shown(volume)} of pool {shown(pool)}: is it {shown(path)}? see: virsh vol-path"
    draft.asks(source, message, ("disk", len(draft.tables.get("disk", []))))
    return path


def _identity(draft: Draft, node: Node, row: Table, bus: str) -> None:
    serial = node.words("serial")
    if serial:
        row["serial"] = serial
    wwn, vendor, product = node.words("wwn"), node.words("vendor"), node.words("product")
    if wwn and bus in ("scsi", "sata"):
        row["wwn"] = wwn.lower().removeprefix("0x").zfill(16)
    if bus == "scsi":
        row.update({key: text for key, text in (("vendor", vendor), ("product", product)) if text})
    block = node.one("blockio")
    if block is None:
        return
    sizes = {
        key: draft.number(block, name, 512, 2 << 20)
        for key, name in (("block_size", "logical_block_size"), ("physical_block_size", "physical_block_size"))
    }
    row.update({key: in_bytes(size) for key, size in sizes.items() if size})
    if row.get("physical_block_size") == row.get("block_size"):
        row.pop("physical_block_size", None)
    grain = draft.number(block, "discard_granularity", 0, 1 << 40)
    if grain:
        row["discard_granularity"] = in_bytes(grain)


def _target(draft: Draft, target: Node | None, row: Table, bus: str) -> None:
    if target is None:
        return
    rate = draft.number(target, "rotation_rate", 0, 65535)
    removable = draft.flag(target, "removable")
    if bus == "usb" and removable:
        row["removable"] = True
    if bus in ("scsi", "sata") and row.get("media") != "cdrom":
        if rate not in (None, 0, 1):
            draft.differs(
                target, "a disk turns, or does not; at how many rounds a minute is not said", (), "rotation_rate"
            )
        row["rotational"] = rate != 1


def _rest(draft: Draft, node: Node, row: Table, key: Key) -> None:
    if node.one("readonly") is not None and row.get("media") != "cdrom":
        row["read_only"] = True
    if node.one("shareable") is not None:
        row["shared"] = True
    transient = node.one("transient")
    if transient is not None:
        transient.close()
        draft.asks(
            transient, "what the guest writes is not thrown away; machine.ephemeral does that for all disks", key
        )
    boot = node.one("boot")
    order = draft.number(boot, "order", 1, 1 << 30)
    if order:
        row["boot_index"] = order
    draft.idle(boot, "is for s390", "loadparm")
    _idle(draft, node)
    for tag in ("iotune", "throttlefilters", "diskSecret"):
        draft.lost(node.one(tag), "limits of a disk's speed have no key here")
    for tag in ("encryption", "auth"):
        child = node.one(tag)
        if child is not None:
            child.close()
            draft.asks(child, "secrets of libvirt's have no key here", key)
    draft.idle(node, "tells how libvirt made a copy of it", "snapshot")
    draft.lost(node, "has no key here", "sgio", "rawio")


def _idle(draft: Draft, node: Node) -> None:
    for tag, reason in _IDLE.items():
        for child in node.each(tag):
            draft.idle(child, reason)


def _legacy_order(draft: Draft, places: Places, firsts: dict[str, Table]) -> None:
    """Read <os><boot dev>: the first device of each kind, in that order, unless devices have orders of their own."""
    system = draft.root.one("os")
    order = [node.get("dev") or "" for node in system.each("boot")] if system else []
    own = any(
        child.tag == "boot"
        for tag in ("disk", "interface", "hostdev", "redirdev")
        for device in places.devices.children
        if device.tag == tag
        for child in device.children
    )
    if own:
        return
    for place, kind in enumerate(order or ["hd"], 1):
        if kind in firsts:
            firsts[kind]["boot_index"] = place
        elif kind == "network":
            places.network_boot = place
