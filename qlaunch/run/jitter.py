"""One measured run: boot the calm probe, let the load begin, let the probe begin, read its report."""

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio

from qlaunch.errors import DeadlineError, QemuError, QlaunchError
from qlaunch.jitter.report import END, READY, Report, parse_report
from qlaunch.plan import Plan
from qlaunch.run.load import Load
from qlaunch.run.loop import first_cause
from qlaunch.run.session import run_machine
from qlaunch.run.usage import last_cpu
from qlaunch.run.voice import Say
from qlaunch.values.cpus import CpuSet

if TYPE_CHECKING:
    from qlaunch.run.supervisor import Supervisor

# Emulated, and with other work on the host, firmware takes half a minute; a guest of 256 vCPUs calls them one by one.
BOOT_S = 180.0
# The report comes letter by letter through an emulated port.
REPORT_S = 60.0
_SAMPLE_S = 0.25
_MEASURED = re.compile(r"^vcpu: 0 ", re.MULTILINE)
_END = re.compile(re.escape(END) + r"\n")
_FAULT = re.compile(r"X64 Exception|no memory for the histograms|refused with")


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure: for how long, against how many busy tasks, and where those may run; None is anywhere."""

    seconds: int
    load: int = 0
    load_cpus: CpuSet | None = None


class Interrupted(Exception):  # noqa: N818 - it is no error: the user asked for it
    """The run was ended from outside. The host is as it was."""


def measure(plan: Plan, say: Say, trial: Trial) -> tuple[Report, dict[int, str]]:
    """Run the probe of a plan once. Gives its report, and by vCPU the host CPUs where it was seen.

    Raises QemuError or DeadlineError for a probe that does not come up or does not report, HostError, and Interrupted.
    """
    run = _Run(plan, trial)
    ending = run_machine(plan, say, companion=run.watch)
    if run.failure:
        raise run.failure
    if run.report is None:
        if ending.how == "stopped":
            raise Interrupted
        raise QemuError(f"{ending.sentence}, before the calm probe had reported", f"see: {plan.duty.state}/serial.log")
    return run.report, {vcpu: str(CpuSet(cpus)) for vcpu, cpus in run.seen.items()}


class _Run:
    """What the tasks of one run share."""

    def __init__(self, plan: Plan, trial: Trial) -> None:
        self.plan = plan
        self.trial = trial
        self.report: Report | None = None
        self.failure: QlaunchError | None = None
        self.seen: dict[int, set[int]] = {}
        self._heard = ""

    async def watch(self, supervisor: "Supervisor", *, task_status: trio.TaskStatus[None]) -> None:
        """Be the companion of the guest."""
        stream = await trio.open_unix_socket(supervisor.duty.socket("serial"))
        task_status.started()
        await self.talk(supervisor, stream)
        if self.failure:
            supervisor.stop(force=True)

    async def talk(self, supervisor: "Supervisor", stream: trio.SocketStream) -> None:
        """Go through a run with the probe at the other end of the line. Leaves a report, or a failure, or neither."""
        try:
            await self._measure(supervisor, stream)
        except* QlaunchError as group:  # one from the nursery comes in a group
            cause = first_cause(group)
            assert isinstance(cause, QlaunchError)  # noqa: S101 - there is no other in it
            self.failure = cause

    async def _measure(self, supervisor: "Supervisor", stream: trio.SocketStream) -> None:
        ready = await self._hear(stream, READY, BOOT_S, "was not ready")
        if ready is None:
            return  # it ended first, or was ended
        count, wanted = int(ready[1]), int(ready[2])
        if count != wanted:
            message = f"{wanted - count} of {wanted} vCPUs did not start"
            raise QemuError(message, "try fewer vCPUs, or another cpu.model")
        load = Load(self.trial.load, supervisor.duty.state, self.trial.load_cpus)
        with _kept_off(self.trial.load_cpus):
            try:
                await trio.to_thread.run_sync(load.start)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._sample, supervisor)
                    await stream.send_all(f"{self.trial.seconds}\r".encode())
                    await self._hear(stream, _MEASURED, self.trial.seconds + REPORT_S, "did not report")
                    nursery.cancel_scope.cancel()
            finally:
                load.end()
        if await self._hear(stream, _END, REPORT_S, "did not end its report"):
            self.report = parse_report(self._heard)

    async def _hear(
        self, stream: trio.SocketStream, pattern: re.Pattern[str], seconds: float, what: str
    ) -> re.Match[str] | None:
        """Read until the pattern is there; None when the guest hangs up first. Raises DeadlineError, QemuError."""
        with trio.move_on_after(seconds):
            while not (match := pattern.search(self._heard)):
                if fault := _FAULT.search(self._heard):
                    raise QemuError(f"the calm probe cannot run on this machine: {fault[0]}", self._last_words())
                chunk = await stream.receive_some(65536)
                if not chunk:
                    return None
                self._heard += chunk.decode("ascii", "replace").replace("\r", "")
            return match
        raise DeadlineError(f"the calm probe {what} within {seconds:g} s", self._last_words())

    def _last_words(self) -> str:
        words = self._heard.strip().splitlines()
        return f"it said last: {words[-1][:100]!r}" if words else "it said nothing: is the host too busy? see: top"

    async def _sample(self, supervisor: "Supervisor") -> None:
        """Note where the vCPUs are, now and then: often enough to see one move, too seldom to disturb it."""
        if not supervisor.guest:
            return
        pid = supervisor.running.process.pid
        vcpus, _ = await supervisor.guest.threads()
        while True:
            for number, thread in vcpus.items():
                with suppress(OSError):
                    self.seen.setdefault(number, set()).add(last_cpu(pid, thread))
            await trio.sleep(_SAMPLE_S)


class _kept_off:  # noqa: N801 - reads as a phrase
    """Keep this thread to some CPUs for a while, as the load is: it is a task of the host, too."""

    def __init__(self, cpus: CpuSet | None) -> None:
        self._cpus = cpus
        self._before = os.sched_getaffinity(0)

    def __enter__(self) -> None:
        if self._cpus:
            os.sched_setaffinity(0, self._cpus)

    def __exit__(self, *_: object) -> None:
        if self._cpus:
            os.sched_setaffinity(0, self._before)
