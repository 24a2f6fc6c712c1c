"""MAC addresses of guest network cards.

Source: IEEE 802: the lowest bit of the first byte marks a group address, the next one a locally administered address.
"""

import re

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)


class Mac(str):
    """A unicast MAC address in lower case with colons."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Mac":
        """Read ``52:54:00:dd:82:2e``.

        A group address is refused here: QEMU would take it, and no packet would arrive.
        """
        plain = text.strip().lower().replace("-", ":")
        if not _MAC.fullmatch(plain):
            raise ValueError(f"{text!r} is not a MAC address such as '52:54:00:12:34:56'")
        if int(plain[:2], 16) & 1:
            raise ValueError(f"{text!r} is a group (multicast) address; the first byte of a card's own address is even")
        if plain == "00:00:00:00:00:00":
            raise ValueError(f"{text!r} is no address")
        return cls(plain)
