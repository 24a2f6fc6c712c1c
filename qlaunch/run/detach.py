"""Start a machine in a process of its own, and hear from it until its guest runs. Without trio in the caller."""

import os
import select
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

import msgspec

from qlaunch.errors import HostError, MonitorError, QemuError, QlaunchError, RestoreError
from qlaunch.plan import Plan
from qlaunch.run.session import SUPERVISOR_LOG, run_machine
from qlaunch.run.transient import move_to_own_unit
from qlaunch.run.voice import Say

_KINDS: dict[int, type[QlaunchError]] = {
    kind.exit_status: kind for kind in (HostError, RestoreError, QemuError, MonitorError)
}
# More than there are CPUs: a start waits for disks, the kernel and systemd, too.
_AT_ONCE = 8


class _Word(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the child tells: a sentence, that the guest runs, or why it does not."""

    say: str = ""
    is_up: bool = False
    failure: int = 0  # the exit status
    message: str = ""
    hint: str = ""
    stderr: str = ""


def start_detached(plan: Plan, say: Say) -> None:
    """Start a machine; return once its guest runs. Raises what the start raised."""
    start = _Start(plan, say)
    try:
        while not start.hear():
            pass
    finally:
        start.close()
    if start.failure:
        raise start.failure


def at_once() -> int:
    """Give how many machines are started at the same time."""
    return max(_AT_ONCE, os.cpu_count() or 1)


def start_side_by_side(plans: Sequence[Plan], says: Sequence[Say]) -> Iterator[tuple[Plan, QlaunchError | None]]:
    """Start several machines, some at a time; yield each once its guest runs, or with what its start raised.

    What supervises them is imported once, before, and is shared by all of their supervisors: its time and its memory.
    """
    import gc  # noqa: PLC0415 - for several alone

    import qlaunch.run.loop  # noqa: PLC0415 - trio
    import qlaunch.run.supervisor  # noqa: F401, PLC0415 - the same

    gc.freeze()  # a collection would write to what is shared
    waiting = list(zip(plans, says, strict=True))
    started: dict[int, _Start] = {}
    ready = select.poll()
    while waiting or started:
        while waiting and len(started) < at_once():
            start = _Start(*waiting.pop(0), inherited=tuple(started))
            started[start.reading] = start
            ready.register(start.reading, select.POLLIN)
        for reading, _ in ready.poll():
            start = started[reading]
            if start.hear():
                ready.unregister(reading)
                del started[reading]
                start.close()
                yield start.plan, start.failure


class _Start:
    """A machine that is being started by a child, and what was heard of it."""

    def __init__(self, plan: Plan, say: Say, inherited: Sequence[int] = ()) -> None:
        """``inherited`` are the ends of other such pipes: a child that kept one would never let its writer notice."""
        self.plan = plan
        self.failure: QlaunchError | None = None
        self._say = say
        self._heard = b""
        self.reading, writing = os.pipe2(os.O_CLOEXEC)
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork() == 0:
            for descriptor in (self.reading, *inherited):
                os.close(descriptor)
            _supervise(plan, writing)
        os.close(writing)

    def close(self) -> None:
        """Hear no more of it."""
        os.close(self.reading)

    def hear(self) -> bool:
        """Wait for more; whether it is over, well or with a failure."""
        more = os.read(self.reading, 65536)
        *lines, self._heard = (self._heard + more).split(b"\n")
        for line in lines:
            word = msgspec.json.decode(line, type=_Word)
            if word.failure:
                self.failure = _failure(word)
            if word.is_up or word.failure:
                return True
            self._say(word.say)
        if not more:
            name = self.plan.duty.name
            self.failure = HostError(f"the supervisor of {name} died while it started", f"see: qlaunch logs {name}")
        return not more


def _supervise(plan: Plan, writing: int) -> NoReturn:
    """Be the supervisor: no terminal, no standard streams, and never back into the caller's code."""
    status = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)

        def tell(word: _Word) -> None:
            with suppress(OSError):  # whoever started us has gone; the machine stays
                os.write(writing, msgspec.json.encode(word) + b"\n")

        move_to_own_unit(plan.duty.name, lambda text: tell(_Word(say=text)))
        try:
            ending = run_machine(plan, lambda text: tell(_Word(say=text)), on_up=lambda: tell(_Word(is_up=True)))
            status = ending.exit_status
        except QlaunchError as error:
            status = error.exit_status
            tell(
                _Word(
                    failure=error.exit_status,
                    message=error.message,
                    hint=error.hint,
                    stderr=getattr(error, "stderr", ""),
                )
            )
    except Exception:  # noqa: BLE001 - a mistake of ours; whoever started us only sees that we are gone
        with suppress(OSError), open(f"{plan.duty.state}/{SUPERVISOR_LOG}", "a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
    finally:
        os._exit(status)


def _failure(word: _Word) -> QlaunchError:
    error = _KINDS.get(word.failure, QlaunchError)(word.message, word.hint)
    if isinstance(error, QemuError):
        error.stderr = word.stderr
    return error
