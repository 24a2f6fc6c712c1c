"""A kind of change to the host: how a key of it is read and written, and what several machines' claims come to.

A key is mostly a path, such as ``/sys/kernel/mm/…/nr_hugepages``, and a value its text as the kernel prints it. Where
the thing is not a file, the kind chooses the words: ``unit display-manager.service`` is ``active`` or ``inactive``.
None stands for "there is none".

Owns: the five verbs of a change. To observe is ``read``; what is wanted is ``merge``; to apply is ``write``; to undo is
to ``write`` what ``settle`` gives; to verify is to ``read`` again. The journal and its leases do the rest, the same for
every kind. A kind must not: know a machine, print, or keep anything in memory that an undo needs, since the undo may
be another process's, after a crash at any instruction.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from qlaunch.steps.host import Host


# Of how many machines each combination is tried; of more, all but one.
_MOST_TRIED = 6


class ForeignChangeError(Exception):
    """Somebody else changed a value since: theirs stays, and it is said.

    ``rest`` is what theirs comes to without ours, where the two can be told apart.
    """

    def __init__(self, rest: str | None = None) -> None:
        super().__init__(rest)
        self.rest = rest


class Refused(Exception):  # noqa: N818 - it is news, not an error: the change goes on with the next key
    """The kernel does not let this one key be changed, and the machine does not depend on it; the text says why."""


class Kind:
    """The defaults suit a file in /sys or /proc/sys that several machines may want to have the same text."""

    name: ClassVar[str]
    exclusive: ClassVar[bool] = False
    """Whether a key belongs to one machine at a time, such as a PCI function."""
    observable: ClassVar[bool] = True
    """Whether ``read`` tells what ``write`` has made of it: not so for a command that was run."""
    adds_up: ClassVar[bool] = False
    """Whether claims are numbers that add up, and the sum does not tell whose it is: so an undo is recorded beforehand.

    Such a kind works out ``original`` from the current value.
    """
    reads_early: ClassVar[bool] = False
    """Whether ``read`` may tell the new text before all that hangs on it is done: an undo then writes it once more."""

    def read(self, host: "Host", key: str) -> str | None:
        """Give what is there now. Raises OSError."""
        return host.read(key)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Make it so; may die at any instruction, and may find half of it done. Raises OSError, HostError, Refused."""
        host.write(key, value or "")

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:  # noqa: ARG002 - of other kinds
        """Give what all machines' claims, at least one, come to on a host that had ``original``."""
        return claims[0]

    def original(self, current: str | None, recorded: str | None, claims: Sequence[str]) -> str | None:  # noqa: ARG002 - of other kinds
        """Give what the host would have without machines, where others have ``claims`` and found ``recorded``."""
        return recorded

    def still_claimed(
        self, current: str | None, without: str | None, claims: Sequence[str], others: Sequence[str]
    ) -> str:
        """Give how much of ``claims`` is there where they add up: what is above ``without`` and the ``others``."""
        above = int(current or 0) - int(without or 0) - sum(map(int, others))
        return str(max(0, min(above, sum(map(int, claims)))))

    def agrees(self, claim: str, other: str) -> bool:
        """Whether two machines' claims on one key can be met together."""
        return claim == other and not self.exclusive

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - same
        """Whether a value is neither the old nor the new one, but one that a killed ``write`` leaves."""
        return False

    def is_kept(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - same
        """Whether a value serves the claim, though it is not what was written, and nobody's doing but the kernel's."""
        return False

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give the value that is right once ``claim`` is gone and the ``others`` stay; ``current`` if nothing is to do.

        Raises ForeignChangeError when the current value is not one that qlaunch made.
        """
        target = self.merge(original, others) if others else original
        if self._is_ours(current, original, [*others, claim]) or self.is_halfway(current, original, claim):
            return target
        raise ForeignChangeError

    def _is_ours(self, current: str | None, original: str | None, claims: Sequence[str]) -> bool:
        """Whether the claims of some of the machines come to a value: one that was killed had perhaps not written."""
        if current == original:
            return True
        fewest = 1 if len(claims) <= _MOST_TRIED else len(claims) - 1
        return any(
            current == self.merge(original, some)
            for number in range(len(claims), fewest - 1, -1)
            for some in combinations(claims, number)
        )
