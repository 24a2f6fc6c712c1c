"""Sizes in bytes, written ``"16G"``. A size becomes bytes once, here, and stays bytes.

Source: ``qemu-img(1)``: the suffixes k, M, G, T are powers of 1024.
"""

import re
from typing import Self

_SIZE = re.compile(r"([0-9]+)\s*([kKMGT](?:i?B)?|B)", re.ASCII)
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# What QEMU's size properties hold: a signed 64-bit number of bytes.
_HIGHEST = (1 << 63) - 1


class Size(int):
    """A number of bytes; prints with the largest unit that divides it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"512M"`` or ``"16G"``. A bare number is refused, since nobody agrees on its unit."""
        match = _SIZE.fullmatch(text.strip())
        if not match:
            raise ValueError(f"{text!r} is not a size such as '512M' or '16G'")
        if (count := int(match[1]) * _UNITS[match[2][0].upper()]) > _HIGHEST:
            raise ValueError(f"{text!r} is more bytes than QEMU can count")
        return cls(count)

    @property
    def mib(self) -> int:
        """The size in whole MiB, rounded down."""
        return self >> 20

    def __str__(self) -> str:
        unit = next(unit for unit in "TGMKB" if self % _UNITS[unit] == 0) if self else "B"
        return f"{self // _UNITS[unit]}{unit}"

    def __repr__(self) -> str:
        return f"Size({str(self)!r})"
