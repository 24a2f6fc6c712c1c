"""A machine as a libvirt domain: the plain part of it, with everything told that libvirt has no word for. Pure.

Owns: the order of a domain's elements, which is libvirt's own. Must not: read a file, look at the host, or run virsh.

Source: libvirt's ``docs/formatdomain.rst`` and ``src/conf/schemas/domaincommon.rng``;
``docs/kbase/qemu-passthrough-security.rst`` (the namespace of ``qemu:commandline``).
"""

from collections.abc import Callable, Iterator

import msgspec

from qlaunch.argv import build_args
from qlaunch.devices.site import Site
from qlaunch.errors import Problem
from qlaunch.libvirt import (
    export_chars,
    export_controllers,
    export_cpu,
    export_devices,
    export_disk,
    export_display,
    export_host,
    export_left,
    export_memory,
    export_network,
    export_system,
)
from qlaunch.libvirt.export_override import aliases
from qlaunch.libvirt.export_places import places
from qlaunch.libvirt.export_sheet import NEWEST, Native, Part, Sheet, changed
from qlaunch.libvirt.export_xml import Element, element, unwritable, write
from qlaunch.machine.model import Machine

_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"

Theme = Callable[[Sheet], Iterator[Part]]
_BEFORE_DEVICES: tuple[Theme, ...] = (
    export_memory.memory,
    export_memory.threads,
    export_system.sysinfo,
    export_system.boot,
    export_cpu.features,
    export_cpu.cpu,
    export_cpu.clock,
    export_system.power,
)
_DEVICES: tuple[Theme, ...] = (
    export_disk.disks,
    export_controllers.controllers,
    export_disk.controllers,
    export_host.shares,
    export_network.networks,
    export_chars.serials,
    export_chars.channels,
    export_display.pointers,
    export_host.inputs,
    export_display.picture,
    export_display.sound,
    export_host.passed_through,
    export_devices.emulated,
)
_WITHOUT_ELEMENT: tuple[Theme, ...] = (export_memory.overcommit, export_left.unsaid)


class Exported(msgspec.Struct, frozen=True):
    """A domain, and everything of the machine that is not in it or not quite as it was."""

    xml: str
    findings: list[Problem]


def export(machine: Machine, site: Site, libvirt: tuple[int, int] = NEWEST) -> Exported:
    """Write a machine as a libvirt domain. ``libvirt`` is the version that is to read it, 9.0 or later."""
    sheet = Sheet(
        machine=machine,
        site=site,
        places=places(build_args(machine, site), site.root_bus),
        aliases=aliases(machine),
        libvirt=libvirt,
    )
    before, devices, rest = (
        [part for theme in themes for part in theme(sheet)] for themes in (_BEFORE_DEVICES, _DEVICES, _WITHOUT_ELEMENT)
    )
    words = [word for part in (*before, *devices, *rest) if isinstance(part, Native) for word in part.words]
    words += [sheet.places.renamed(word) for word in machine.qemu.extra]
    genid = machine.machine.genid
    override, beyond = sheet.aliases.override(machine.qemu.properties)
    emulator = element("emulator", text=machine.qemu.binary) if "/" in machine.qemu.binary else None
    root = element(
        "domain",
        element("name", text=site.name),
        element("uuid", text=site.uuid),
        element("genid", text=None if genid == "auto" else genid) if genid else None,
        element("title", text=machine.machine.title) if machine.machine.title else None,
        *_elements(before),
        element("devices", emulator, *_elements(devices)),
        element("qemu:commandline", *(element("qemu:arg", value=word) for word in words)) if words else None,
        override,
        type="kvm" if site.accel == "kvm" else "qemu",
        **{"xmlns:qemu": _NAMESPACE if words or override else None},
    )
    findings = [part for part in (*before, *devices, *rest) if isinstance(part, Problem)]
    return Exported(write(root), [*findings, *beyond, *_replaced(root)])


def _elements(parts: list[Part]) -> list[Element]:
    return [part for part in parts if isinstance(part, Element)]


def _replaced(root: Element) -> Iterator[Problem]:
    for place in unwritable(root):
        message = f"XML has no way to write a character of <{place}>; U+FFFD stands in its place"
        yield changed("", message, "rename the file or the name, and export again")
