"""Where a PCI device sits in the guest: ``1b.0`` on the root bus, ``02.1/00.0`` behind the bridge at 02.1.

The spelling is that of ``lspci -P``: slot and function of each bridge on the way, hexadecimal. Bus numbers are not in
it, since firmware and guest give them out anew.
"""

import re
from typing import Self

_STEP = re.compile(r"([01]?[0-9a-f])(?:\.([0-7]))?", re.ASCII)
_DEEPEST = 8


class GuestAddress(str):
    """A path of slots and functions from the guest's root bus to a device."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``02.1/00.0``; the function may be left out."""
        steps = text.strip().lower().split("/")
        matches = [_STEP.fullmatch(step) for step in steps]
        if len(steps) > _DEEPEST or not all(matches):
            raise ValueError(f"{text!r} is not an address in the guest such as '1b.0' or '02.1/00.0'")
        return cls("/".join(f"{int(match[1], 16):02x}.{match[2] or 0}" for match in matches if match))

    @property
    def bridge(self) -> "GuestAddress | None":
        """The address of the bridge that it is behind; None on the root bus."""
        path, slash, _ = self.rpartition("/")
        return GuestAddress(path) if slash else None

    @property
    def slot(self) -> int:
        """The slot on its own bus."""
        return int(self.rpartition("/")[2].partition(".")[0], 16)

    @property
    def function(self) -> int:
        """The function of the slot."""
        return int(self[-1])

    def at(self, function: int) -> Self:
        """Give another function of the same slot."""
        return type(self)(f"{self[:-1]}{function}")
