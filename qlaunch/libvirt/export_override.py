"""Properties of single devices in libvirt's words: ``qemu:override``, by names that the devices are given.

Source: libvirt's ``docs/drvqemu.rst``, "Overriding properties of QEMU devices" (from 8.2 on);
``docs/formatdomain.rst``, "Device Addresses" (a name of one's own begins with ``ua-``).
"""

from collections.abc import Iterator, Mapping

import msgspec

from qlaunch.errors import Problem
from qlaunch.libvirt.export_xml import Element, element
from qlaunch.machine.model import Machine

Properties = Mapping[str, str | int | bool]


class Aliases(msgspec.Struct, frozen=True):
    """The devices that get a name of their own, with the properties that are laid over them."""

    named: dict[str, Properties]

    def of(self, device: str) -> Element | None:
        """Give the ``alias`` of a device by QEMU's id of it, where it needs one."""
        return element("alias", name=f"ua-{device}") if device in self.named else None

    def override(self, wanted: Mapping[str, Properties]) -> tuple[Element | None, list[Problem]]:
        """Give ``qemu:override``, and a finding for each device that has no name in libvirt."""
        devices = [_device(name, properties) for name, properties in self.named.items()]
        beyond = [_beyond(name) for name in wanted if name not in self.named]
        return (element("qemu:override", *devices) if devices else None), beyond


def aliases(machine: Machine) -> Aliases:
    """Find the devices whose properties libvirt can be told."""
    found: dict[str, dict[str, str | int | bool]] = {}
    known = set(_nameable(machine))
    for name, properties in machine.qemu.properties.items():
        if name in known:
            found[name] = dict(properties)
    for index, pci in enumerate(machine.pci):
        if pci.x_vga:
            found.setdefault(f"pci{index}-0", {})["x-vga"] = True
    return Aliases({name: properties for name, properties in found.items() if properties})


def _nameable(machine: Machine) -> Iterator[str]:
    yield from (f"disk{number}" for number in range(len(machine.disk)))
    yield from (f"net{number}" for number in range(len(machine.network)))
    yield from (f"pci{number}-{function}" for number in range(len(machine.pci)) for function in range(8))


def _device(name: str, properties: Properties) -> Element:
    inside = (element("qemu:property", name=key, **_typed(value)) for key, value in properties.items())
    return element("qemu:device", element("qemu:frontend", *inside), alias=f"ua-{name}")


def _typed(value: str | int | bool) -> dict[str, str]:  # noqa: FBT001
    if isinstance(value, bool):
        return {"type": "bool", "value": "true" if value else "false"}
    if isinstance(value, int):
        return {"type": "unsigned" if value >= 0 else "signed", "value": str(value)}
    return {"type": "string", "value": value}


def _beyond(name: str) -> Problem:
    message = f"libvirt has no name for {name}, so its properties stay behind"
    return Problem(code="not-exported", severity="warning", key=f"qemu.properties.{name}", message=message, hint="")
