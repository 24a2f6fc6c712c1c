"""Network address translation for the guests behind a bridge, in a table of nftables that is qlaunch's own.

Nobody's rules are touched: a table of its own hooks in beside them, and goes as a whole.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

_BEHIND = " behind "


class Nat(Kind):
    """A key is the table's name, a value ``192.168.77.0/24 behind qlbr0``, which its rule has as a comment."""

    name = "nat"

    def read(self, host: "Host", key: str) -> str | None:
        """Give the comment; empty where a kill left the table without its rule."""
        return host.nftables.comment(key)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Make the table anew, or remove it. Raises OSError."""
        if host.nftables.comment(key) is not None:
            host.nftables.remove(key)
        if value is not None:
            network, _, bridge = value.partition(_BEHIND)
            host.nftables.make_masquerade(key, network, bridge, value)

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Give the claim. Raises HostError where somebody else's table has the name."""
        if original is not None:
            message = "there is a table of nftables by that name, which is not qlaunch's"
            raise HostError(message, "see: nft list tables")
        return claims[0]

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - as Kind
        """Whatever bears the name is ours."""
        return original is None


def behind(network: str, bridge: str) -> str:
    """Print a claim."""
    return f"{network}{_BEHIND}{bridge}"
