"""PCI addresses, ``0000:0b:00.0``, and identities, ``1002:73bf``.

Both are strings in one canonical spelling, so that they compare, sort and serialize as such.

Source: the kernel's ``Documentation/PCI/sysfs-pci.rst`` (domain:bus:device.function, hexadecimal) and ``lspci(8)``,
option ``-s``.
"""

import re
from typing import Self

_ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])(?:\.([0-7]))?", re.ASCII)
_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}", re.ASCII)


class PciAddress(str):
    """Where a PCI function sits on the host; without a function, the whole slot."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0b:00.0``, ``0000:0b:00.0``, or ``0b:00`` for all functions of a slot."""
        match = _ADDRESS.fullmatch(text.strip().lower())
        if not match:
            raise ValueError(f"{text!r} is not a PCI address such as '0b:00.0' or '0000:0b:00'")
        function = f".{match[4]}" if match[4] else ""
        return cls(f"{match[1] or '0000'}:{match[2]}:{match[3]}{function}")

    @property
    def slot(self) -> Self:
        """The address of the whole slot."""
        return type(self)(self.partition(".")[0])

    @property
    def function(self) -> int | None:
        """The function number, 0 to 7, or None for the whole slot."""
        number = self.partition(".")[2]
        return int(number) if number else None

    def at(self, function: int) -> Self:
        """Give the address of one function of this slot."""
        return type(self)(f"{self.slot}.{function}")


class DeviceId(str):
    """A vendor and a device (PCI) or product (USB): four hexadecimal digits each."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1002:73bf``."""
        plain = text.strip().lower()
        if not _ID.fullmatch(plain):
            raise ValueError(f"{text!r} is not an id such as '1002:73bf'")
        return cls(plain)

    @property
    def vendor(self) -> int:
        """The vendor number."""
        return int(self[:4], 16)

    @property
    def device(self) -> int:
        """The device or product number."""
        return int(self[5:], 16)
