"""Host CPUs that a machine has for itself: nothing is written, but no other machine may have them at the same time.

The exception is pins that both machines' files call shared.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

OWN, SHARED = "own", "shared"


class Cpus(Kind):
    """A lease alone. A key is ``CPU 4``, a claim is OWN or SHARED."""

    name = "cpus"
    exclusive = True

    def read(self, host: "Host", key: str) -> str | None:  # noqa: ARG002 - as Kind
        """Give nothing: there is nothing to see."""
        return None

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:  # noqa: ARG002 - as Kind
        """Give what is there: nothing is to be changed."""
        return original

    def agrees(self, claim: str, other: str) -> bool:
        """Whether both share."""
        return claim == other == SHARED
