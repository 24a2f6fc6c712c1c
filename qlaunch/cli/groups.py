"""`qlaunch groups`: IOMMU groups with their PCI devices, and the USB devices behind a controller."""

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from qlaunch.cli.host import host_facts
from qlaunch.cli.terminal import bold, say_hint
from qlaunch.host.facts import HostFacts
from qlaunch.host.pci import PciDevice

_WIDTH = 80


def run(options: argparse.Namespace) -> int:
    """Print the groups, or the documented JSON shape; where there are none, why."""
    host = host_facts(options)
    if options.json:
        print(msgspec.json.encode(as_json(host)).decode())
        return 0
    if not host.iommu.groups:
        print("\n".join(_wrapped("", f"no IOMMU groups: {host.iommu.absence or 'the kernel made none'}")))
        if host.iommu.hint:
            say_hint(host.iommu.hint)
        return 0
    for line in picture(host):
        print(line)
    return 0


def as_json(host: HostFacts) -> dict[str, Any]:
    """Give the documented shape."""
    names = host.pci_names
    return {
        "groups": [
            {
                "id": group.id,
                "devices": [
                    {
                        "address": str(device.address),
                        "class": device.kind,
                        "vendor": device.vendor,
                        "device": device.device,
                        "name": names.full(device.vendor, device.device),
                        "driver": device.driver,
                        "resettable": device.resettable,
                        "usb": [
                            {"port": usb.port, "id": str(usb.id), "name": usb.name} for usb in _behind(host, device)
                        ],
                    }
                    for device in host.pci.group(group.id)
                ],
            }
            for group in host.iommu.groups
        ]
    }


def picture(host: HostFacts) -> Iterator[str]:
    """Yield a line a group, a device, and a USB device behind it; long names go on below themselves."""
    for group in host.iommu.groups:
        yield bold(f"group {group.id}")
        for device in host.pci.group(group.id):
            reset = "" if device.resettable or device.bridge else ", no reset"
            # A domain of 0 is left out, as lspci does.
            start = f"  {device.address.removeprefix('0000:')}  {device.id}  "
            yield from _wrapped(start, f"{_name(host, device)} ({device.driver or 'no driver'}{reset})")
            for usb in _behind(host, device):
                words = " ".join(filter(None, (usb.maker, usb.name))) or "unnamed"
                yield from _wrapped(f"           USB {usb.port:<6} {usb.id}  ", words)


def _name(host: HostFacts, device: PciDevice) -> str:
    """Give maker and name; the kind of device, where this host's ``pci.ids`` does not know the name."""
    names = host.pci_names
    name = names.device(device.vendor, device.device) or names.kind(device.kind) or "unknown"
    return " ".join(filter(None, (names.brand(device.vendor), name)))


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)


def _behind(host: HostFacts, device: PciDevice) -> list[Any]:
    return [usb for usb in host.usb if usb.controller == device.address and not usb.hub]
