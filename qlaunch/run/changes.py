"""A machine's changes to its host, from the claim of its folder to the end: made before and after QEMU's start, undone.

Blocking, without trio: most of it happens while QEMU starts, and all of it also without a supervisor (`recover`).
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from qlaunch.errors import HostError
from qlaunch.run.folder import RunFolder
from qlaunch.run.timings import Part
from qlaunch.run.voice import Say
from qlaunch.steps.step import Step

if TYPE_CHECKING:
    from qlaunch.journal.engine import HostChanges
    from qlaunch.journal.file import Journal
    from qlaunch.run.beside import Beside

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Changes:
    """What one machine changes. Its journal is opened at the first change, or where one was left."""

    def __init__(self, folder: RunFolder, say: Say) -> None:
        self.name = os.path.basename(folder.path)
        self._folder = folder
        self._say = say
        self._opened: tuple[Journal, HostChanges] | None = None
        self._beside: Beside | None = None

    def _open(self) -> "HostChanges":
        if self._opened:
            return self._opened[1]
        # Imported here, since many machines change nothing.
        from qlaunch.journal.engine import HostChanges  # noqa: PLC0415
        from qlaunch.journal.file import Journal  # noqa: PLC0415
        from qlaunch.journal.leases import Leases  # noqa: PLC0415
        from qlaunch.steps.host import LocalHost  # noqa: PLC0415

        boot = _boot()
        path = self._folder.path
        journal = Journal.open(path, self.name, boot)
        changes = HostChanges(LocalHost(self._say), journal, Leases(os.path.dirname(path), self.name, boot), self._say)
        self._opened = journal, changes
        return changes

    def make(self, steps: Sequence[Step], *, qemu: int | None = None, stop: Callable[[], bool] = lambda: False) -> bool:
        """Make the steps before the launch, or those after it; False when ``stop`` said so before the end.

        With those after it, the ones that were begun beside it are made. Raises HostError.
        """
        for moment in ("first", "before-launch") if qemu is None else ("after-launch",):
            chosen = [_named(step, qemu) for step in steps if step.moment == moment]
            if chosen and not self._open().carry_out(chosen, stop=stop):
                return False
        if qemu is not None and self._beside:
            self._beside.wait()
        return not stop()

    def begin(self, steps: Sequence[Step], *, stop: Callable[[], bool]) -> None:
        """Begin the steps beside the launch."""
        # They are given back with those after it: when QEMU has ended, and before all others.
        chosen = [replace(step, moment="after-launch") for step in steps if step.moment == "beside-launch"]
        if chosen:
            from qlaunch.run.beside import Beside  # noqa: PLC0415 - few machines have any

            self._beside = Beside(partial(self._open().carry_out, chosen), stop)

    def holds(self, kind: str, key: str) -> bool:
        """Whether a change of this key is in force for this machine."""
        return self._is_there() and any(one.kind == kind and key in one.claims for one in self._open().active)

    def undo_of(self, kind: str, keys: Sequence[str]) -> list[str]:
        """Give a part back while the machine runs; says what could not be given back."""
        return [str(left) for left in self._open().undo_of(kind, keys)] if self._is_there() else []

    def take_back(self) -> None:
        """Give back all that was changed so far, and go on. Raises RestoreError."""
        from qlaunch.journal.engine import raise_leftovers  # noqa: PLC0415

        raise_leftovers(self.name, self._open().undo())

    @property
    def timings(self) -> list[Part]:
        """How long each step took, there and back."""
        timings = self._opened[1].timings if self._opened else []
        return [Part(one.summary, one.lane, one.began, one.ended, one.waits) for one in timings]

    def undo(self) -> None:
        """Give the host back. Raises RestoreError, with all that could not be given back."""
        if not self._is_there():
            return
        from qlaunch.journal.engine import raise_leftovers  # noqa: PLC0415

        if self._beside:
            self._beside.give_up()
        changes = self._open()
        try:
            left = changes.undo()
        finally:
            if self._opened:
                self._opened[0].close()
        raise_leftovers(self.name, left)

    def _is_there(self) -> bool:
        return self._opened is not None or self._folder.has_journal()


def undo_left(folder: RunFolder, say: Say) -> None:
    """Undo what a dead supervisor left, in a folder that is claimed. Raises RestoreError, HostError."""
    Changes(folder, say).undo()


def insist_on_root(name: str, steps: Sequence[Step]) -> None:
    """Refuse steps that only root can take, before any is taken. Raises HostError."""
    needing = [step.summary for step in steps if step.needs_root]
    if needing and os.geteuid() != 0:
        message = f"{name} changes what only root may change: {'; '.join(needing)}"
        raise HostError(message, f"run: sudo qlaunch up {name}")


def _named(step: Step, qemu: int | None) -> Step:
    if qemu is None:
        return step
    claims = {key.replace("{qemu}", str(qemu)): claim for key, claim in step.claims.items()}
    return replace(step, claims=claims)


def _boot() -> str:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:  # a container without it: every journal is of this boot then
        return ""
