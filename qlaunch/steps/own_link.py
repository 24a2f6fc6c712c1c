"""Links of qlaunch's own: a bridge that machines share, a tap or a macvtap of one machine's card.

A key is the link's name, a value its kind and settings: ``tap mac=… mtu=1500 queues=one bridge=br0 state=up``. Only a
name that nobody has is taken, so whatever bears it afterwards is ours, and goes however it looks by then.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind
from qlaunch.steps.vf import parsed, printed

if TYPE_CHECKING:
    from qlaunch.steps.host import Host


class _OwnLink(Kind):
    """What the three have in common. ``born`` are the settings that a link has from its making on, or never."""

    born: ClassVar[tuple[str, ...]]

    def read(self, host: "Host", key: str) -> str | None:
        """Give kind and settings, or None where there is no such link."""
        found = host.own_links.described(key)
        return None if found is None else f"{found[0]} {printed(found[1])}"

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Make the link, or finish it, or remove it. Raises OSError."""
        found = host.own_links.described(key)
        if value is None:
            if found:
                host.own_links.remove(key)
            return
        kind, _, words = value.partition(" ")
        wanted = parsed(words)
        if found and (found[0] != kind or any(found[1].get(name) != wanted[name] for name in self.born)):
            host.own_links.remove(key)
            found = None
        if found is None:
            host.own_links.make(key, kind, wanted)
            found = host.own_links.described(key)
        now = found[1] if found else {}
        for name, text in wanted.items():
            if now.get(name) != text and name not in self.born:
                host.own_links.set(key, name, text)

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Give the claim. Raises HostError where the name was taken before any machine came."""
        if original is not None:
            message = f"the name is taken by a link that is not qlaunch's: {original}"
            raise HostError(message, "see: ip -d link; take another name, or remove that link if nobody needs it")
        return claims[0]

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - as Kind
        """Whatever bears the name is ours, half made, or changed by somebody since."""
        return original is None


class Bridge(_OwnLink):
    """A bridge that is there for machines, and gone with the last of them."""

    name = "bridge"
    born = ()


class Tap(_OwnLink):
    """The tap of one card."""

    name = "tap"
    exclusive = True
    born = ("queues",)


class Macvtap(_OwnLink):
    """The macvtap of one card: a second address on a link of the host."""

    name = "macvtap"
    exclusive = True
    born = ("over", "mode")


def claim(kind: str, mac: str, mtu: str, *, state: str = "up", **settings: str) -> str:
    """Print what a machine wants of a link as ``read`` prints what is there."""
    return f"{kind} {printed({'mac': mac, 'mtu': mtu, **settings, 'state': state})}"
