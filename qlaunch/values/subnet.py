"""An IPv4 network with the host's own address in it.

Source: RFC 4632 (prefix lengths), RFC 1918 (the addresses that belong to nobody in particular).
"""

import re

_SUBNET = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})/(\d{1,2})", re.ASCII)
# Of a longer prefix nothing is left for guests; a shorter one is a slip.
_SHORTEST, _LONGEST = 8, 30


class Subnet(str):
    """The host's address and the length of the prefix: ``192.168.77.1/24``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Subnet":
        """Read one. Raises ValueError for a broadcast address, the network's own, or a prefix that leaves no room."""
        found = _SUBNET.fullmatch(text.strip())
        if found is None or any(int(part) > 255 for part in found.groups()[:4]):
            raise ValueError(f"{text!r} is not an address with a prefix such as '192.168.77.1/24'")
        if not _SHORTEST <= int(found[5]) <= _LONGEST:
            raise ValueError(
                f"{text!r} has a prefix of {found[5]} bits; {_SHORTEST} to {_LONGEST} leave room for guests"
            )
        subnet = cls(text.strip())
        if subnet.host in (subnet.network, subnet.network | subnet._rest):
            first = printed_address(subnet.network + 1)
            raise ValueError(f"{text!r} is no host's address, but the network's or its broadcast; {first} is one")
        return subnet

    @property
    def prefix(self) -> int:
        """The length of the prefix in bits."""
        return int(self.rpartition("/")[2])

    @property
    def address(self) -> str:
        """The host's address."""
        return self.partition("/")[0]

    @property
    def host(self) -> int:
        """The host's address as a number."""
        number = 0
        for part in self.address.split("."):
            number = number << 8 | int(part)
        return number

    @property
    def mask(self) -> int:
        """The network's mask as a number."""
        return 0xFFFFFFFF & ~self._rest

    @property
    def network(self) -> int:
        """The network's address as a number."""
        return self.host & self.mask

    @property
    def network_text(self) -> str:
        """The network: ``192.168.77.0/24``."""
        return f"{printed_address(self.network)}/{self.prefix}"

    @property
    def guests(self) -> tuple[str, str]:
        """The first and the last address for guests: the longer of the two spans beside the host's own."""
        first, last = self.network + 1, (self.network | self._rest) - 1
        below, above = (first, self.host - 1), (self.host + 1, last)
        least, most = max(below, above, key=lambda span: span[1] - span[0])
        return printed_address(least), printed_address(most)

    def overlaps(self, network: int, mask: int) -> bool:
        """Whether a network, given as numbers, has addresses of this one."""
        both = self.mask & mask
        return self.network & both == network & both

    @property
    def _rest(self) -> int:
        return (1 << (32 - self.prefix)) - 1


def printed_address(number: int) -> str:
    """Give an address with dots."""
    return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
