"""A scripted run: serial output streamed, an errand done in the guest, and a word for how it ended."""

import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

import msgspec
import trio

from qlaunch.errors import DeadlineError, HostError, MonitorError
from qlaunch.plan import Plan
from qlaunch.run.errand import Errand, talk
from qlaunch.run.guest_exec import Job
from qlaunch.run.session import run_machine
from qlaunch.run.vm import Vm, open_serial
from qlaunch.run.voice import Say

if TYPE_CHECKING:
    from qlaunch.run.qmp import Event
    from qlaunch.run.supervisor import Supervisor

_LAST_WORDS_S = 2.0  # a guest hangs up its serial port and its agent a moment before QEMU is gone

How = Literal[
    "done",
    "matched",
    "powered-off",
    "not-matched",
    "failed",
    "stopped",
    "deadline",
    "reset",
    "watchdog",
    "panicked",
    "qemu-died",
]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a scripted run ended: a word for scripts, a sentence for people, the line that matched, a status."""

    how: How
    sentence: str
    line: str = ""
    exit_status: int = 0


class Transcript:
    """Where serial output goes.

    To a stream and to a file, either or both. Raises HostError when the file cannot be made.
    """

    def __init__(self, stream: BinaryIO | None, path: str | None) -> None:
        self._sinks = [stream] if stream else []
        self._file: BinaryIO | None = None
        self.lost = ""  # why the file is not whole
        if path:
            try:
                self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
            except OSError as error:
                raise HostError(f"cannot write the log {path}: {error.strerror}") from error
            self._sinks.append(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            with suppress(OSError):
                self._file.close()

    def write(self, data: bytes | bytearray) -> None:
        """Pass output on at once, for whoever watches a boot. A sink that fails is given up, the run is not."""
        for sink in list(self._sinks):
            try:
                sink.write(data)
                sink.flush()
            except OSError as error:  # a reader that went away, a full disk
                self._sinks.remove(sink)
                if sink is self._file:
                    self.lost = error.strerror or "unknown error"


def run_headless(plan: Plan, say: Say, transcript: Transcript, errand: Errand, *, timeout_s: float | None) -> Outcome:
    """Run a machine until its errand is done, the guest ends, or the deadline passes."""
    run = _Run(plan, transcript, errand, timeout_s)
    ending = run_machine(plan, say, companion=run.watch)
    if run.outcome:
        return run.outcome
    if not errand.is_empty and ending.how in ("powered-off", "stopped"):
        return Outcome(how="not-matched", sentence=f"{ending.sentence}, and did not {errand.wants} before")
    return Outcome(how=ending.how, sentence=ending.sentence)


class _Run:
    """One scripted run."""

    def __init__(self, plan: Plan, transcript: Transcript, errand: Errand, timeout_s: float | None) -> None:
        self.outcome: Outcome | None = None
        self._plan = plan
        self._transcript = transcript
        self._errand = errand
        self._timeout_s = math.inf if timeout_s is None else timeout_s

    async def watch(self, supervisor: "Supervisor", *, task_status: trio.TaskStatus[None]) -> None:
        """Live beside the guest, do the errand, end the guest."""
        assert supervisor.guest  # noqa: S101 - a companion is started when it is there
        supervisor.guest.listeners.append(partial(self._hear, supervisor))
        async with trio.open_nursery() as nursery:
            serial = await open_serial(supervisor, nursery, self._transcript.write)
            vm = Vm(supervisor, serial)
            task_status.started()
            with trio.move_on_after(self._timeout_s) as deadline:
                await self._do(vm)
            if deadline.cancelled_caught:
                message = f"{vm.name} did not {self._errand.wants} within {self._timeout_s:g} s"
                self._settle("deadline", message)
            if self.outcome:
                # What an overlay holds is thrown away: nobody waits for its guest to write it out.
                supervisor.stop(force=deadline.cancelled_caught or self._plan.duty.ephemeral)

    async def _do(self, vm: Vm) -> None:
        try:
            await self._errand_in(vm)
        except DeadlineError as error:  # of one line of the script
            self._settle("deadline", error.message)
        except (MonitorError, HostError) as error:
            # A guest that is gone, or about to be: how it ended says more than that it hung up.
            with trio.move_on_after(_LAST_WORDS_S):
                await vm.wait()
            if not vm.is_gone:
                self._settle("failed", error.message)
        if not self.outcome:
            await vm.wait()

    async def _errand_in(self, vm: Vm) -> None:
        errand = self._errand
        line = ""
        if errand.until:
            match = await vm.expect(errand.until)
            begin, end = match.string.rfind("\n", 0, match.start()) + 1, match.string.find("\n", match.end())
            line = match.string[begin : end if end >= 0 else None].strip()
        status = await talk(vm.serial, errand.script) if errand.script else 0
        for copy in errand.copy_in:
            await vm.copy_in(copy.source, copy.target)
        if errand.command:
            assert errand.out  # noqa: S101 - whoever has a command says where its output goes
            assert errand.err  # noqa: S101
            job = Job(argv=errand.command, out=errand.out, err=errand.err, environment=errand.environment)
            status = await vm.run_job(job) or status
        for copy in errand.copy_out:
            await vm.copy_out(copy.source, copy.target)
        if errand.wants_agent or errand.script:
            self._settle("done", f"the guest's status is {status}", line, exit_status=status)
        elif errand.until:
            self._settle("matched", f"matched: {line}", line)

    def _hear(self, supervisor: "Supervisor", event: "Event") -> None:
        if event["event"] == "WATCHDOG":
            self._settle("watchdog", "the guest's watchdog fired: it hung")
            supervisor.stop(force=True)

    def _settle(self, how: How, sentence: str, line: str = "", exit_status: int = 0) -> None:
        """Note how the run ends; the first cause counts."""
        self.outcome = self.outcome or Outcome(how=how, sentence=sentence, line=line, exit_status=exit_status)
