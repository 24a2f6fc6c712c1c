"""Serial ports, consoles and channels in libvirt's words.

Source: libvirt's ``docs/formatdomain.rst``, "Consoles, serial, parallel & channel devices".
"""

from collections.abc import Iterator

from qlaunch.devices.channel import Channel
from qlaunch.libvirt.export_sheet import Part, Sheet, changed
from qlaunch.libvirt.export_xml import Element, element

_TARGETS = {"serial": "isa-serial", "usb": "usb-serial", "pci": "pci-serial"}


def serials(sheet: Sheet) -> Iterator[Part]:
    """Yield the serial ports. A socket below qlaunch's folders would be nowhere under libvirt."""
    first = sheet.machine.serial
    if first.enabled:
        model = element("model", name="isa-serial")
        yield element("serial", element("target", model, type="isa-serial", port=0), type="pty")
        yield element("console", element("target", type="serial", port=0), type="pty")
    if first.enabled and first.log:
        hint = 'for a log, add <log file="…" append="off"/> below <serial>'
        yield changed("serial.log", "the serial port is a terminal that virsh console opens, without a log", hint)
    for index, channel in enumerate(sheet.machine.channel):
        if channel.kind in _TARGETS:
            yield _serial(sheet, index, channel)
        elif channel.kind == "console":
            kind, source = _back_end(channel, "pty")
            yield element("console", source, element("target", type="virtio"), type=kind)


def channels(sheet: Sheet) -> Iterator[Part]:
    """Yield the channels of the SPICE agent and of the guest agent, and those of the file."""
    if "vdagent0" in sheet.places.devices:
        yield _named("spicevmc", "com.redhat.spice.0", 1)
    if sheet.machine.agent.enabled:
        yield _named("unix", "org.qemu.guest_agent.0", 2)
    for index, channel in enumerate(sheet.machine.channel):
        if channel.kind == "port":
            kind, source = _back_end(channel, "unix")
            place = _port(channel, index)
            target = element("target", type="virtio", name=channel.name)
            yield element("channel", source, target, place, type=kind)


def _named(kind: str, name: str, port: int) -> Element:
    place = element("address", type="virtio-serial", controller=0, bus=0, port=port)
    return element("channel", element("target", type="virtio", name=name), place, type=kind)


def _port(channel: Channel, index: int) -> Element | None:
    """Give the place of a port on a controller beside the first; libvirt itself counts on that one."""
    if not channel.controller:
        return None
    return element("address", type="virtio-serial", controller=channel.controller, bus=0, port=index + 1)


def _serial(sheet: Sheet, index: int, channel: Channel) -> Element:
    kind, source = _back_end(channel, "pty")
    target = _TARGETS[channel.kind]
    place = sheet.places.address(f"channel{index}")
    if channel.kind == "usb" and channel.port:
        place = element("address", type="usb", bus=channel.controller, port=channel.port)
    return element("serial", source, element("target", type=target, port=channel.number), place, type=kind)


def _back_end(channel: Channel, plain: str) -> tuple[str, Element | None]:
    """Give what a channel leads to; ``plain`` where libvirt is to choose a place."""
    match channel.to:
        case "file":
            return "file", element("source", path=channel.path)
        case "spiceport":
            return "spiceport", element("source", channel=channel.name)
        case "null":
            return "null", None
        case _ if channel.path:
            return "unix", element("source", mode="bind", path=channel.path)
        case _:
            return plain, None
