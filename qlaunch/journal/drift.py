"""What of a running machine's changes is still as it was made: the journal held against the host. Reads only.

Somebody's own hands, a tuning daemon or an update may have changed a value since. It is told here, and left: the end
of the machine leaves it, too.
"""

from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations

import msgspec

from qlaunch.errors import HostError
from qlaunch.journal.file import Contents
from qlaunch.journal.leases import Lease, Leases
from qlaunch.journal.record import Change
from qlaunch.steps import kind_named
from qlaunch.steps.host import Host
from qlaunch.steps.kind import ForeignChangeError, Kind
from qlaunch.steps.step import Step
from qlaunch.values.cpus import CpuSet

_SHIELDS = ("shield", "cgroup-shield")


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is not the machine's any more; None where there is none."""

    summary: str
    key: str
    wanted: str | None
    found: str | None

    def __str__(self) -> str:
        found = "gone" if self.found is None else repr(self.found)
        return f"{self.key} is {found}, not {self.wanted!r} ({self.summary})"


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """One change that is in force. ``shared_with`` are the machines that have a claim on any of its keys, too."""

    number: int
    kind: str
    summary: str
    keys: int
    refused: int
    shared_with: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()


def changes_in_force(host: Host, contents: Contents, leases: Leases) -> list[InForce]:
    """Hold every change of a journal that was made, and is not undone, against the host.

    Without a lock: while another machine comes or goes, what is worked out from the claims of any of them counts as
    right.
    """
    return [_in_force(host, contents, change, leases) for change in contents.active if change.number in contents.made]


def shielded_cpus(changes: Sequence[Change] | Sequence[Step]) -> CpuSet:
    """Give the CPUs that a machine's shield keeps others away from; none without a shield."""
    claims = [claim for change in changes if change.kind in _SHIELDS for claim in change.claims.values()]
    return CpuSet(CpuSet().union(*(CpuSet.parse(claim.partition(" of ")[0]) for claim in claims)))


def _in_force(host: Host, contents: Contents, change: Change, leases: Leases) -> InForce:
    made = contents.made[change.number]
    leased = {key: found for key, found in leases.of(change.kind).items() if key in change.claims}
    drift: list[Drift] = []
    with suppress(KeyError):  # a kind that this qlaunch does not know
        kind = kind_named(change.kind)
        for key in change.claims if kind.observable else ():
            if key not in made.refused:
                expected = made.differs.get(key, change.after.get(key))
                drift += _drift(host, kind, change, key, [expected, *_right(kind, change, key, leased.get(key, []))])
    return InForce(
        number=change.number,
        kind=change.kind,
        summary=change.summary,
        keys=len(change.claims),
        refused=len(made.refused),
        shared_with=tuple(sorted({lease.machine for found in leased.values() for lease in found})),
        drift=tuple(drift),
    )


def _right(kind: Kind, change: Change, key: str, others: Sequence[Lease]) -> list[str | None]:
    """Give what this machine's claim comes to, together with those of any of the others; with all of them first."""
    claims = [lease.claim for lease in others]
    return [
        kind.merge(change.before.get(key), [*some, change.claims[key]])
        for number in range(len(claims), -1, -1)
        for some in combinations(claims, number)
    ]


def _drift(host: Host, kind: Kind, change: Change, key: str, right: Sequence[str | None]) -> list[Drift]:
    try:
        found = kind.read(host, key)
        if found in right or kind.is_kept(found, change.before.get(key), change.claims[key]):
            return []
        if found is None and _needs_nothing(kind, change, key):
            return []
    except (OSError, HostError, ValueError):  # not to be seen by this user, or not now
        return []
    wanted = right[1]
    return [] if wanted is None else [Drift(summary=change.summary, key=key, wanted=wanted, found=found)]


def _needs_nothing(kind: Kind, change: Change, key: str) -> bool:
    """Whether a thing that has gone is no news, as with an interrupt."""
    try:
        return kind.settle(None, change.before.get(key), change.claims[key], ()) is None
    except ForeignChangeError:
        return False
