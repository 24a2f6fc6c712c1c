"""Controllers of USB, SCSI, SATA and virtio-serial. Those of PCI are in `import_places`.

Source: libvirt's ``docs/formatdomain.rst``, "Controllers"; ``src/qemu/qemu_domain.c``,
``qemuDomainDefaultUSBControllerModel``; ``src/qemu/qemu_command.c``, ``qemuBuildUSBControllerDevStr``.
"""

from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places
from qlaunch.libvirt.import_tuning import iothread_name

_USB = {
    "qemu-xhci": "xhci",
    "nec-xhci": "nec-xhci",
    "ich9-ehci1": "ich9-usb",
    "ehci": "ehci",
    "piix3-uhci": "uhci",
    "piix4-uhci": "uhci",
    "default": "xhci",
}
_COMPANIONS = ("ich9-uhci1", "ich9-uhci2", "ich9-uhci3")
_SCSI = {
    "virtio-scsi": "virtio-scsi",
    "virtio-transitional": "virtio-scsi",
    "virtio-non-transitional": "virtio-scsi",
    "lsilogic": "lsi",
    "auto": "lsi",
    "lsisas1078": "megasas",
    "vmpvscsi": "pvscsi",
}
_VIRTIO = ("iommu", "ats", "packed", "page_per_vq")


def controllers(draft: Draft, places: Places) -> None:
    """Read all of them, in the order of their indexes: that is how disks and channels name them."""
    found = [node for node in places.devices.each("controller") if node.get("type") != "pci"]
    for node in sorted(found, key=lambda node: draft.number(node, "index", 0, 1000) or 0):
        _common(draft, node)
        match node.get("type"):
            case "usb":
                _usb(draft, places, node)
            case "scsi":
                _scsi(draft, places, node)
            case "virtio-serial":
                row, _ = draft.add(node, "controller", type="virtio-serial", ports=draft.number(node, "ports", 1, 31))
                node.get("model")
                places.claim(node, row, must=True)
            case "sata":
                _sata(draft, places, node)
            case "ide" | "fdc" | "isa":
                node.get("model")
                draft.idle(node.one("address"), "the board has it where it is")
            case "nvme":
                draft.idle(node, "the disk itself is the controller here")
            case "ccid":
                draft.lost(node, "smart cards have no key here")
            case kind:
                node.close()
                draft.asks(node, f'a controller of the type "{shown(kind or "")}" is not for QEMU on x86; left out')
    for node in places.devices.each("hub"):
        draft.lost(node, "USB hubs have no key here; the controllers have ports enough")


def _common(draft: Draft, node: Node) -> None:
    draft.idle(node.one("alias"), "libvirt's own name")
    draft.lost(node, "QEMU chooses the number of interrupts", "vectors")
    for master in node.each("master"):
        draft.number(master, "startport", 0, 30)
    driver = node.one("driver")
    if driver is not None:
        if node.get("type") != "scsi":
            draft.lost(driver, "this controller has no threads or queues of its own here", "queues", "iothread")
        draft.lost(driver, "this tuning of a virtio controller has no key here", *_VIRTIO, "cmd_per_lun", "max_sectors")
        draft.idle(driver, "is QEMU's default anyway", "ioeventfd")


def _usb(draft: Draft, places: Places, node: Node) -> None:
    model = node.get("model") or ("qemu-xhci" if places.on_q35 else "piix3-uhci")
    if model in _COMPANIONS:
        draft.idle(node.one("address"), "is the companion's, which follows from the fast one's")
        return
    if model == "none":
        return
    kind = _USB.get(model)
    if kind is None:
        message = f'a USB controller of the model "{shown(model)}" has no key; an xHCI one takes its place'
        draft.differs(node, message, ("controller",), "model")
        kind = "xhci"
    ports = draft.number(node, "ports", 1, 15) or 4  # QEMU's own number
    row, _ = draft.add(node, "controller", type=kind, ports=ports if "xhci" in kind and ports != 15 else None)
    places.claim(node, row, must=True, usual="01.2" if kind == "uhci" and not places.on_q35 else "")


def _scsi(draft: Draft, places: Places, node: Node) -> None:
    model = node.get("model") or "lsilogic"
    kind = _SCSI.get(model)
    if kind is None:
        message = f'a SCSI controller of the model "{shown(model)}" has no key; a virtio one takes its place'
        draft.differs(node, message, ("controller",), "model")
        kind = "virtio-scsi"
    driver = node.one("driver")
    thread = iothread_name(draft, driver) if kind == "virtio-scsi" else None
    draft.lost(driver, "only a virtio controller has an iothread", "iothread") if thread is None else None
    queues = draft.number(driver, "queues", 1, 1024)
    if queues is not None and kind != "virtio-scsi":
        draft.lost(driver, "only a virtio controller has queues", "queues")
        queues = None
    row, _ = draft.add(node, "controller", type=kind, queues=queues, iothread=thread)
    if driver is not None:
        draft.lost(driver.one("iothreads"), "one iothread serves a SCSI controller here")
    places.claim(node, row, must=True)


def _sata(draft: Draft, places: Places, node: Node) -> None:
    """The first one is built into q35; further ones, and all on pc, are AHCI controllers of their own."""
    index = draft.number(node, "index", 0, 1000) or 0
    if places.on_q35 and index == 0:
        draft.idle(node.one("address"), "the board has it where it is")
        return
    row, _ = draft.add(node, "controller", type="ahci")
    places.claim(node, row, must=True)
