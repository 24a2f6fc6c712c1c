"""How QEMU reads and writes an image: ``driver`` of a disk.

Source: libvirt's ``docs/formatdomain.rst``, "driver"; QEMU's default cache is writeback.
"""

from qlaunch.libvirt.import_draft import Draft, Key, Table, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_tuning import iothread_name

_FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhdx": "vhdx", "vpc": "vpc", "iso": "raw"}
_CACHES = {name: name for name in ("none", "writeback", "writethrough", "directsync", "unsafe")}
_IDLE = ("ioeventfd", "event_idx", "discard_no_unref")
_LOST = ("iommu", "ats", "page_per_vq", "queue_size_lun", "max_bios_size")


def driver(draft: Draft, disk: Node, row: Table, key: Key, bus: str) -> None:
    """Read ``driver``; a disk without one is raw, and cached by the host."""
    node = disk.one("driver")
    _format(draft, node, row)
    cache = draft.choice(node, "cache", {**_CACHES, "default": "writeback"})
    row["cache"] = cache or "writeback"
    if node is None:
        return
    draft.idle(node, "is QEMU's default, or libvirt's own affair", *_IDLE)
    draft.lost(node, "this tuning of a virtio disk has no key here", *_LOST)
    if node.get("name") not in (None, "qemu"):
        draft.differs(node, "QEMU itself opens the image", key, "name")
    io = draft.choice(node, "io", {"native": "native", "threads": "threads", "io_uring": "io_uring"})
    if io == "native" and row["cache"] not in ("none", "directsync"):
        draft.differs(node, f'"native" needs cache none or directsync, and it is {row["cache"]}', (*key, "aio"), "io")
        io = None
    discard = draft.choice(node, "discard", {"unmap": True, "ignore": False})
    zeroes = draft.choice(node, "detect_zeroes", {"off": "off", "on": "on", "unmap": "unmap"})
    if zeroes == "unmap" and not discard:
        zeroes = "on"
    values: Table = {
        "aio": io,
        "discard": discard,
        "detect_zeroes": zeroes,
        "copy_on_read": draft.flag(node, "copy_on_read"),
    }
    if bus == "virtio":
        values |= {
            "iothread": iothread_name(draft, node),
            "queues": draft.number(node, "queues", 1, 1024),
            "queue_size": draft.number(node, "queue_size", 2, 1024),
            "packed": draft.flag(node, "packed"),
        }
        if values["iothread"] is None:
            _mapping(draft, node, row)
    else:
        draft.lost(
            node, f"a disk on {bus} has no threads or queues of its own", "iothread", "queues", "queue_size", "packed"
        )
    row.update({name: value for name, value in values.items() if value is not None})
    _errors(draft, node, row, key, bus)
    for tag in ("metadata_cache", "statistics"):
        draft.lost(node.one(tag), "has no key here")


def _format(draft: Draft, node: Node | None, row: Table) -> None:
    """Write the format where the file's name does not say it."""
    wanted = draft.choice(node, "type", _FORMATS) or "raw"
    path = row.get("path") or ""
    suffix = path[path.rfind(".") :].lower() if "." in path else ""
    told = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vdi": "vdi", ".vhdx": "vhdx", ".vhd": "vpc"}.get(suffix, "raw")
    if path and wanted != told:
        row["format"] = wanted


def _mapping(draft: Draft, node: Node, row: Table) -> None:
    """Read iothreads among which the queues are spread."""
    block = node.one("iothreads")
    if block is None:
        return
    names = []
    for child in block.each("iothread"):
        name = iothread_name(draft, child, "id")
        for queue in child.each("queue"):
            draft.lost(queue, "QEMU spreads the queues over the threads by itself")
        if name and name not in names:
            names.append(name)
    if names:
        row["iothreads"] = names


def _errors(draft: Draft, node: Node, row: Table, key: Key, bus: str) -> None:
    writing, reading = node.get("error_policy"), node.get("rerror_policy")
    wanted = writing or reading
    if wanted is None or bus == "nvme":
        return
    if row.get("media") == "cdrom":
        draft.idle(node, "a CD-ROM drive tells the guest of every error", "error_policy", "rerror_policy")
        return
    if wanted in ("stop", "report", "ignore"):
        row["on_error"] = wanted
        if reading is not None and writing is not None and reading != writing:
            draft.differs(node, f'reading errors are treated as writing ones: "{wanted}"', (*key, "on_error"))
    elif wanted == "enospace":
        pass  # QEMU's own default
    else:
        draft.asks(node, f'"{shown(wanted)}" is no policy for errors', (*key, "on_error"), "error_policy")
