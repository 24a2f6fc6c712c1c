"""Carry out steps, and undo them: record, then act; verify; and whatever happens, the way back is on disk.

Every kind of change goes through the same few lines here, on the way there and on the way back, from a plan or from
the journal of a supervisor that was killed.

Owns: the order. Must not: know what a kind means, or a machine file, or an event loop.
"""

import errno
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import msgspec

from qlaunch.errors import HostError, RestoreError
from qlaunch.journal.file import Journal
from qlaunch.journal.lanes import work_in_lanes
from qlaunch.journal.leases import Lease, Leases
from qlaunch.journal.record import Change, Made, State, Undoing, Undone
from qlaunch.steps import kind_named
from qlaunch.steps.host import Host
from qlaunch.steps.kind import ForeignChangeError, Kind, Refused
from qlaunch.steps.step import Step
from qlaunch.steps.waits import Wait, noted

Say = Callable[[str], None]

_HINTS = {
    errno.EPERM: "run it as root; under secure boot the kernel's lockdown may forbid it to root, too",
    errno.EACCES: "run it as root",
    errno.EROFS: "/sys is read-only here, as in a container; run it on the host itself",
    errno.EBUSY: "something uses it; see: qlaunch check",
    errno.ENODEV: "the device has gone, or its driver does not take it; see: journalctl -k",
    errno.EINVAL: "the kernel does not take this value; see: journalctl -k",
    errno.EOPNOTSUPP: "the device's driver cannot do this: leave the setting out; see: journalctl -k",
    errno.EIO: "see: journalctl -k",
    errno.ENOSPC: "no more of it is to be had; see: journalctl -k",
}


class StepError(HostError):
    """A change to the host failed; what had been changed before it was taken back, unless the message says more."""


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that could not be given back: the key, the value that is right, and why it is not there."""

    summary: str
    key: str
    wanted: str | None
    reason: str

    def __str__(self) -> str:
        if self.wanted is None:
            return f"{self.key} ({self.summary}): {self.reason}"
        wanted = repr(self.wanted)
        return f"{self.key} should be {wanted} again ({self.summary}): {self.reason}"


class Timing(msgspec.Struct, frozen=True):
    """When a step ran, in seconds of the monotonic clock, and what of that it waited for others."""

    summary: str
    lane: str
    began: float
    ended: float
    waits: tuple[Wait, ...] = ()


class HostChanges:
    """The changes of one machine to its host."""

    def __init__(self, host: Host, journal: Journal, leases: Leases, say: Say) -> None:
        self._host = host
        self._journal = journal
        self._leases = leases
        self._say = say
        self.timings: list[Timing] = []

    @property
    def active(self) -> list[Change]:
        """The changes in force."""
        return self._journal.active

    def carry_out(self, steps: Sequence[Step], *, stop: Callable[[], bool] = lambda: False) -> bool:
        """Carry out steps, the lanes side by side; False when ``stop`` said so before the end.

        Raises StepError for the first that failed. What was done is still done then: ``undo`` takes it back.
        """
        failed: list[BaseException] = []

        def ends() -> bool:
            return bool(failed) or stop()

        def in_a_row(row: list[Step]) -> None:
            try:
                for step in row:
                    if ends():
                        return
                    self._timed(step.summary, step.lane, partial(self._carry_out, step))
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
                failed.append(error)

        work_in_lanes(in_a_row, steps, self._host.at_work)
        if failed:
            raise failed[0]
        return not stop()

    def undo_of(self, kind: str, keys: Collection[str]) -> list[Leftover]:
        """Take back the changes of some keys while all others stay in force; a device that was unplugged, for one."""
        chosen = [one for one in self._journal.active if one.kind == kind and one.claims.keys() <= set(keys)]
        return [leftover for change in reversed(chosen) for leftover in self._undo(change)]

    def undo(self) -> list[Leftover]:
        """Take back every change in force, the last one first in each lane. Gives what could not be taken back.

        What came after the launch goes before the rest: a card's driver, say, asks for interrupts as soon as it is back
        and gets the CPUs that are the default then.
        """
        left: list[Leftover] = []

        def in_a_row(row: list[Change]) -> None:
            for change in row:
                self._timed(f"undo: {change.summary}", change.lane, lambda: left.extend(self._undo(change)))  # noqa: B023 - called at once

        for moment in ("after-launch", "before-launch", "first"):
            chosen = [one for one in reversed(self._journal.active) if one.moment == moment]
            work_in_lanes(in_a_row, chosen, self._host.at_work)
        return left + [_damage(self._journal.path, number) for number in self._journal.contents.damaged]

    def _timed(self, summary: str, lane: str, act: Callable[[], None]) -> None:
        began = time.monotonic()
        with noted() as waits:
            try:
                act()
            finally:
                self.timings.append(Timing(summary, lane, began, time.monotonic(), tuple(waits)))

    def _carry_out(self, step: Step) -> None:
        kind = kind_named(step.kind)
        try:
            with self._leases.lock(kind.name):
                change, found = self._record(kind, step)
                if not kind.exclusive:  # what is shared stays locked, for it is worked out from all claims
                    self._make(kind, change, found)
            if kind.exclusive:
                self._make(kind, change, found)
        except StepError:
            raise
        except OSError as error:
            raise StepError(f"{step.summary}: {_sentence(error)}", _hint(error)) from error
        except ValueError as error:  # a file of the kernel holds something that no version of it was known to hold
            raise StepError(f"{step.summary}: {error}") from error
        except HostError as error:
            raise StepError(f"{step.summary}: {error.message}", error.hint) from error

    def _record(self, kind: Kind, step: Step) -> tuple[Change, State]:
        """Put on disk what is about to be made; gives it with what is there now."""
        leased = self._leases.of(kind.name)
        before: State = {}
        after: State = {}
        found: State = {}
        for key, claim in step.claims.items():
            others = leased.get(key, [])
            _refuse_conflict(kind, step, key, others)
            current = kind.read(self._host, key)
            claims = _in_force(kind, current, others)
            found[key] = current
            before[key] = kind.original(current, others[0].before, claims) if others else current
            after[key] = kind.merge(before[key], [*claims, claim])
        change = self._journal.record(
            Change(
                number=0,
                kind=kind.name,
                summary=step.summary,
                lane=step.lane,
                before=before,
                claims=step.claims,
                after=after,
                moment=step.moment,
            )
        )
        return change, found

    def _make(self, kind: Kind, change: Change, found: State) -> None:
        """Write what differs from what was found a moment ago, when it was put on disk."""
        refused: dict[str, str] = {}
        differs: State = {}
        wrote = False
        for key, wanted in change.after.items():
            # What differed a moment ago is written without another look, and what did not is looked at again only where
            # a write to a key before it may have changed it.
            if found[key] == wanted and (not wrote or kind.read(self._host, key) == wanted):
                continue
            wrote = True
            try:
                kind.write(self._host, key, wanted)
            except Refused as reason:
                refused[key] = str(reason)
                continue
            if kind.observable and (now := kind.read(self._host, key)) != wanted:
                differs[key] = now
        self._journal.note(Made(number=change.number, refused=refused, differs=differs))
        for key, now in differs.items():
            self._say(f"{change.summary}: {key} is {now!r}, though {change.after[key]!r} was written")
        if refused:
            reasons = ", ".join(sorted(set(refused.values())))
            self._say(f"{change.summary}: {len(refused)} of {len(change.after)} stay as they are ({reasons})")

    def _undo(self, change: Change) -> list[Leftover]:
        try:
            kind = kind_named(change.kind)
        except KeyError:
            reason = f"this qlaunch does not know changes of the kind {change.kind!r}"
            return [_left(change, key, reason) for key in change.before]
        left: list[Leftover] = []
        done: list[str] = []
        kept: State = {}
        given_back = self._journal.undoing(change.number).given_back
        try:
            # What belongs to one machine alone nobody else writes to, however long it takes.
            with nullcontext() if kind.exclusive else self._leases.lock(kind.name):
                leased = {} if kind.exclusive else self._leases.of(kind.name)
                for key in [key for key in reversed(change.claims) if key not in given_back]:
                    try:
                        if why := self._why_not_given_back(kind, change, key, leased.get(key, [])):
                            left.append(_left(change, key, why, is_amount=kind.adds_up))
                        else:
                            done.append(key)
                    except ForeignChangeError:
                        with suppress(OSError):
                            kept[key] = kind.read(self._host, key)
                if not left:
                    self._journal.note(Undone(number=change.number, kept=kept))
                elif done and kind.adds_up:
                    self._journal.note(Undoing(number=change.number, given_back=tuple(done)))
        except HostError as error:  # the lock itself, or others' claims
            left.append(Leftover(summary=change.summary, key=change.kind, wanted=None, reason=error.message))
        for key, value in kept.items():
            found = f"{key} has gone since"
            if value is not None:
                found = f"somebody has set {key} to {value!r} since, which stays"
            self._say(f"{change.summary}: {found}")
        return left

    def _why_not_given_back(self, kind: Kind, change: Change, key: str, others: Sequence[Lease]) -> str:
        """Give a key back, or say why it is not. Raises ForeignChangeError."""
        try:
            self._give_back(kind, change, key, others)
        except ForeignChangeError:
            raise
        except Refused as refused:
            # What would not go there need not come back.
            stayed = key in self._journal.made(change.number).refused
            with suppress(OSError):
                stayed = stayed or kind.read(self._host, key) in (None, change.before.get(key))
            return "" if stayed else str(refused)
        except OSError as error:
            return _sentence(error)
        except HostError as error:
            return error.message
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not keep the rest from being given back
            return f"{type(error).__name__}: {error}"
        return ""

    def _give_back(self, kind: Kind, change: Change, key: str, others: Sequence[Lease]) -> None:
        current = kind.read(self._host, key)
        before = change.before.get(key)
        if (without := self._journal.undoing(change.number).without.get(key)) is not None:
            before = without  # of an amount that was about to be given back, what is still above this is one's own
        claims = _in_force(kind, current, others, change.claims[key])
        try:
            target = kind.settle(current, before, change.claims[key], claims)
        except ForeignChangeError as foreign:
            if key not in (made := self._journal.made(change.number)).differs or made.differs[key] != current:
                if foreign.rest not in (None, current):
                    kind.write(self._host, key, foreign.rest)
                raise
            target = kind.merge(before, claims) if claims else before  # the kernel itself made that of ours
        if target != current:
            with self._noted(kind, change, key, kind.original(target, before, claims)):
                kind.write(self._host, key, target)
            if kind.observable and (kind.adds_up or not claims) and (found := kind.read(self._host, key)) != target:
                raise HostError(f"it is {found!r} after that was written")
        elif kind.reads_early and before != change.after.get(key):
            with suppress(OSError, HostError):  # as of a file that did not take the new text either: it reads as it was
                kind.write(self._host, key, target)

    @contextmanager
    def _noted(self, kind: Kind, change: Change, key: str, without: str | None) -> Iterator[None]:
        """Put on disk what a write is to leave of an amount; and that it has not happened, where it has not."""
        if not kind.adds_up:
            yield
            return
        current = kind.read(self._host, key)
        self._journal.note(Undoing(number=change.number, without={key: without}))
        try:
            yield
        except TimeoutError:  # it may go there yet
            raise
        except (OSError, HostError):
            if kind.read(self._host, key) == current:
                self._journal.note(Undoing(number=change.number, without={key: None}))
            raise


def raise_leftovers(machine: str, left: Sequence[Leftover]) -> None:
    """Say exactly what is not as it was. Raises RestoreError if anything is left."""
    if left:
        lines = "".join(f"\n  {leftover}" for leftover in left)
        raise RestoreError(f"the host is not as it was:{lines}", f"try again: qlaunch recover {machine}")


def _in_force(kind: Kind, current: str | None, leases: Sequence[Lease], *own: str) -> list[str]:
    """Give the claims of others; of amounts that they are not known to have, what there is of them."""
    unknown = [lease for lease in leases if kind.adds_up and lease.without is not None]
    known = [lease.claim for lease in leases if lease not in unknown]
    if not unknown:
        return known
    return [*known, kind.still_claimed(current, unknown[-1].without, [one.claim for one in unknown], [*known, *own])]


def _left(change: Change, key: str, reason: str, *, is_amount: bool = False) -> Leftover:
    wanted = change.before.get(key)
    if is_amount:  # others may have added to it since
        reason, wanted = f"{reason}; of what it is, {change.claims[key]} are the machine's", None
    return Leftover(summary=change.summary, key=key, wanted=wanted, reason=reason)


def _damage(path: str, number: int) -> Leftover:
    reason = "what it changed is not known; look around, then remove the file"
    return Leftover(summary="a damaged record", key=f"{path}, line {number}", wanted=None, reason=reason)


def _refuse_conflict(kind: Kind, step: Step, key: str, others: Sequence[Lease]) -> None:
    claim = step.claims[key]
    for lease in others:
        if kind.agrees(claim, lease.claim):
            continue
        if kind.exclusive:
            message = f"{step.summary}: {key} belongs to the machine {lease.machine}"
            raise StepError(message, f"end it first: qlaunch down {lease.machine}")
        message = f"{step.summary}: the machine {lease.machine} wants {key} to be {lease.claim!r}, not {claim!r}"
        raise StepError(message, f"let both want the same, or end it first: qlaunch down {lease.machine}")


def _sentence(error: OSError) -> str:
    told = error.strerror or str(error)
    reason = told[:1].lower() + told[1:]  # it may go on in the kernel's words
    return f"{error.filename}: {reason}" if error.filename else reason


def _hint(error: OSError) -> str:
    return _HINTS.get(error.errno or 0, "")
