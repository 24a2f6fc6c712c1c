"""Names of PCI devices, from the system's ``pci.ids``: searched, not parsed, since of 40,000 names few are wanted.

Source: the head of ``pci.ids`` itself: vendors begin a line, devices follow after one tab, subsystems after two, and
classes (``C 03``) come last.
"""

import re
from collections.abc import Sequence

from qlaunch.host.pci import PciDevice
from qlaunch.host.tree import Tree

PLACE = "/usr/share/misc/pci.ids"
_PATHS = (
    PLACE,
    "/usr/share/hwdata/pci.ids",
    "/usr/share/pci.ids",
    "/usr/local/share/pci.ids",
    "/usr/share/misc/pci.ids.gz",
    "/usr/share/hwdata/pci.ids.gz",
)
_TAB = "\t"
_NEXT_SECTION = re.compile(rb"\n(?=[0-9a-fC])")
# What people pass through, and what stands in its way, where no pci.ids is installed.
_CLASSES = {
    "0101": "IDE interface",
    "0104": "RAID bus controller",
    "0106": "SATA controller",
    "0107": "Serial Attached SCSI controller",
    "0108": "Non-Volatile memory controller",
    "0200": "Ethernet controller",
    "0280": "Network controller",
    "0300": "VGA compatible controller",
    "0302": "3D controller",
    "0380": "Display controller",
    "0401": "Multimedia audio controller",
    "0403": "Audio device",
    "0600": "Host bridge",
    "0601": "ISA bridge",
    "0604": "PCI bridge",
    "0806": "IOMMU",
    "0880": "System peripheral",
    "0c03": "USB controller",
    "0c05": "SMBus",
    "1080": "Encryption controller",
    "1180": "Signal processing controller",
    "1300": "Non-Essential Instrumentation",
}


class PciNames:
    """Looks names up; the file is read at the first question."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._text: bytes | None = None
        self._sections: dict[str, bytes] = {}

    def vendor(self, vendor: str) -> str | None:
        """Give a vendor's name for four hexadecimal digits."""
        return _rest(self._section(vendor), 6)

    def brand(self, vendor: str) -> str | None:
        """Give what people call a vendor: ``AMD/ATI`` of ``Advanced Micro Devices, Inc. [AMD/ATI]``."""
        return (self.vendor(vendor) or "").rpartition("[")[2].rstrip("]") or None

    def device(self, vendor: str, device: str) -> str | None:
        """Give a device's name."""
        return _entry(self._section(vendor), f"\n\t{device}  ")

    def subsystem(self, vendor: str, device: str, subsystem: str) -> str | None:
        """Give the name of a card, for ``1eae:6905``, of a device."""
        section = self._section(vendor)
        start = section.find(f"\n\t{device}  ".encode())
        if start < 0:
            return None
        end = re.compile(rb"\n\t(?!\t)").search(section, start + 1)
        own = section[start : end.start() if end else len(section)]
        return _entry(own, f"\n\t\t{subsystem.replace(':', ' ')}  ")

    def kind(self, class_code: str) -> str | None:
        """Give the name of a class, for ``030000`` or ``0300``."""
        section = self._section(f"C {class_code[:2]}")
        return _entry(section, f"\n\t{class_code[2:4]}  ") or _CLASSES.get(class_code[:4]) or _rest(section, 6)

    def full(self, vendor: str, device: str) -> str | None:
        """Give vendor and device in words; numbers stand for a device that the file does not know yet."""
        maker = self.vendor(vendor)
        name = self.device(vendor, device)
        return f"{maker} {name or f'[{vendor}:{device}]'}" if maker else name

    def extract(self, devices: Sequence[PciDevice]) -> str:
        """Give a ``pci.ids`` of these devices alone: what a capture needs of a file of 1.5 MB."""
        names: dict[tuple[str, ...], str | None] = {}
        for one in sorted(devices, key=lambda one: (one.vendor, one.device, one.subsystem)):
            card = self.subsystem(one.vendor, one.device, one.subsystem) if one.subsystem else None
            names[one.vendor,] = self.vendor(one.vendor)
            names[one.vendor, one.device] = self.device(one.vendor, one.device)
            names[one.vendor, one.device, one.subsystem.replace(":", " ")] = card
        for kind in sorted({one.kind[:4] for one in devices}):
            section = f"C {kind[:2]}"
            names[section,] = _rest(self._section(section), 6)
            names[section, kind[2:]] = _entry(self._section(section), f"\n\t{kind[2:]}  ")
        return "\n".join(f"{_TAB * (len(key) - 1)}{key[-1]}  {name}" for key, name in names.items() if name)

    def _section(self, head: str) -> bytes:
        section = self._sections.get(head)
        if section is None:
            text = self._load()
            start = text.find(f"\n{head}  ".encode())
            end = _NEXT_SECTION.search(text, start + 1) if start >= 0 else None
            section = text[start + 1 : end.start() if end else len(text)] if start >= 0 else b""
            self._sections[head] = section
        return section

    def _load(self) -> bytes:
        if self._text is None:
            self._text = next((text for path in _PATHS if (text := self._read(path))), b"")
        return self._text

    def _read(self, path: str) -> bytes:
        content = self._tree.data(path)
        if content is None:
            return b""
        if path.endswith(".gz"):
            import zlib  # noqa: PLC0415 - few distributions pack it

            try:
                # 31: a gzip header is expected (zlib.h, inflateInit2).
                content = zlib.decompress(content, 31)
            except zlib.error:
                return b""
        return b"\n" + content


def _entry(section: bytes, key: str) -> str | None:
    start = section.find(key.encode())
    return _rest(section[start + 1 :], len(key) - 1) if start >= 0 else None


def _rest(text: bytes, start: int) -> str | None:
    line = text.partition(b"\n")[0][start:].decode(errors="replace")
    return "".join(letter for letter in line if letter.isprintable()).strip() or None
