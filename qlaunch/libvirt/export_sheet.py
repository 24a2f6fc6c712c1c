"""What every part of the export is made from, and what it can yield: an element, a native option, a finding.

Source of the versions: libvirt's ``NEWS.rst`` and the "since" marks of ``docs/formatdomain.rst``.
"""

import re
from typing import Literal

import msgspec

from qlaunch.devices.site import Site
from qlaunch.errors import Problem
from qlaunch.libvirt.export_override import Aliases
from qlaunch.libvirt.export_places import Places
from qlaunch.libvirt.export_xml import Element, element
from qlaunch.machine.model import Machine

NEWEST = (99, 0)
# Words that an older libvirt refuses, and the version that brought each. What is not here came before 9.0, the oldest
# libvirt that is written for.
_SINCE = {
    "passt": (9, 1),  # 9.0 brought it, but is also built without
    "itco": (9, 1),
    "igb": (9, 3),
    "pipewire": (9, 10),
    "iothread polling": (9, 4),
    "iothread mapping": (10, 0),
    "virtio sound": (10, 4),
    "ps2": (10, 7),
    "xmm_input": (10, 7),
    "emsr_bitmap": (10, 7),
    "versioned models": (10, 10),
    "tlbflush parts": (11, 0),  # direct and extended
    "virtiofs readonly": (11, 0),
    "nvme": (11, 5),
}
Word = Literal[
    "passt",
    "itco",
    "igb",
    "pipewire",
    "iothread polling",
    "iothread mapping",
    "virtio sound",
    "ps2",
    "xmm_input",
    "emsr_bitmap",
    "versioned models",
    "tlbflush parts",
    "virtiofs readonly",
    "nvme",
]


# The names of iothreads that have a number which libvirt can take.
_NUMBERED = re.compile(r"(?:io|iothread)([1-9][0-9]{0,4})", re.ASCII)


class Native(msgspec.Struct, frozen=True):
    """Words that libvirt hands to QEMU as they are, in ``qemu:commandline``."""

    words: tuple[str, ...]


Part = Element | Native | Problem


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A machine, its site, and the libvirt that is written for."""

    machine: Machine
    site: Site
    places: Places
    aliases: Aliases
    libvirt: tuple[int, int] = NEWEST

    def knows(self, word: Word) -> bool:
        """Whether the libvirt that is written for has this word."""
        return self.libvirt >= _SINCE[word]

    def thread_number(self, name: str) -> int:
        """Give the number under which libvirt knows an iothread: the one in its name, or else the next free one."""
        names = [thread.name for thread in self.machine.iothread]
        said: dict[str, int] = {}
        for one in names:
            match = _NUMBERED.fullmatch(one)
            if match and int(match[1]) not in said.values():
                said[one] = int(match[1])
        free = (number for number in range(1, 2 + 2 * len(names)) if number not in said.values())
        return (said | {one: next(free) for one in names if one not in said})[name]

    def usb_place(self, default: int, port: str | None, controller: int) -> Element | None:
        """Give the address of a USB device; on controllers that the file names, QEMU chooses a port where none is."""
        number = self.site.usb_place(default, port, controller)["port"]
        return None if number is None else element("address", type="usb", bus=controller, port=str(number))

    def boot(self, index: int | None) -> Element | None:
        """Give the boot order of a device. Libvirt's counts from 1, QEMU's from 0."""
        return None if index is None else element("boot", order=index + (1 if self._boots_from_zero() else 0))

    def _boots_from_zero(self) -> bool:
        machine = self.machine
        disks, cards, functions = machine.disk, machine.network, machine.pci
        indexes = (
            *(disk.boot_index for disk in disks),
            *(card.boot_index for card in cards),
            *(function.boot_index for function in functions),
            *(stick.boot_index for stick in machine.usb),
        )
        return 0 in indexes


def since(word: Word) -> str:
    """Give the version that brought a word, as people write it."""
    return ".".join(map(str, _SINCE[word]))


def left(key: str, message: str, hint: str = "") -> Problem:
    """Give the finding that a key has no word in libvirt, so that nothing of it is in the XML."""
    return Problem(code="not-exported", severity="warning", key=key, message=message, hint=hint)


def changed(key: str, message: str, hint: str = "") -> Problem:
    """Give the finding that a key is in the XML, but not quite as it was."""
    return Problem(code="exported-differently", severity="info", key=key, message=message, hint=hint)


def state(on: bool) -> str:  # noqa: FBT001 - one word for one truth value
    """Give libvirt's ``on`` or ``off``."""
    return "on" if on else "off"


def yes(on: bool) -> str:  # noqa: FBT001
    """Give libvirt's ``yes`` or ``no``."""
    return "yes" if on else "no"
