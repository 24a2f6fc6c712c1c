"""A running machine for programs: its monitor, its serial port, its guest agent, its end.

What `qlaunch run` does in a guest, and what a Python program does with one, is done through this.
"""

import math
import re
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from qlaunch.errors import MonitorError
from qlaunch.run.guest import Ending
from qlaunch.run.guest_agent import GuestAgent
from qlaunch.run.guest_exec import Job, run_in_guest
from qlaunch.run.guest_files import copy_in, copy_out
from qlaunch.run.serial_talk import Hear, SerialTalk

if TYPE_CHECKING:
    from qlaunch.run.qmp import Event
    from qlaunch.run.supervisor import Supervisor

_KEPT_EVENTS = 10_000


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """What a command in the guest came to."""

    exit_status: int
    out: bytes
    err: bytes


class Vm:
    """One running machine. All its calls end with MonitorError once the machine is gone."""

    def __init__(self, supervisor: "Supervisor", serial: SerialTalk | None) -> None:
        self._supervisor = supervisor
        self._serial = serial
        self._agent_came = trio.Event()
        self._told, self.events = trio.open_memory_channel["Event"](_KEPT_EVENTS)
        assert supervisor.guest  # noqa: S101 - a companion is started when it is there
        self._guest = supervisor.guest
        self._guest.listeners.append(self._hear)
        if self._guest.agent_open:
            self._agent_came.set()

    @property
    def name(self) -> str:
        """The machine's name."""
        return self._supervisor.duty.name

    @property
    def pid(self) -> int:
        """QEMU's process number."""
        return self._guest.process.pid

    @property
    def is_gone(self) -> bool:
        """Whether QEMU has ended."""
        return self._guest.exited.is_set()

    @property
    def serial(self) -> SerialTalk:
        """The serial port. Raises MonitorError where there is none."""
        if self._serial is None:
            raise MonitorError(f"{self.name} has no serial port", "set serial.enabled = true")
        return self._serial

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
        """Run a QMP command and give what it returns. Raises CommandError when QEMU refuses it."""
        if self.is_gone:
            raise MonitorError(f"{self.name} is gone: {self._guest.ending.sentence if self._guest.ending else ''}")
        return await self._guest.monitor.execute(command, arguments)

    async def wait_for_agent(self, timeout_s: float = math.inf) -> None:
        """Wait until the guest agent answers. Raises MonitorError when it does not in that time."""
        with trio.move_on_after(timeout_s):
            await self._agent_came.wait()
            return
        raise MonitorError(f"the guest agent of {self.name} did not come within {timeout_s:g} s")

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Completed:
        """Run a command in the guest to its end. Raises MonitorError, DeadlineError."""
        out, err = bytearray(), bytearray()
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        status = await self.run_job(
            Job(argv=argv, out=out.extend, err=err.extend, stdin=stdin, environment=settings, timeout_s=timeout_s)
        )
        return Completed(exit_status=status, out=bytes(out), err=bytes(err))

    async def run_job(self, job: Job) -> int:
        """Run a command whose output goes where the job says. One that is cancelled is sent SIGTERM in the guest."""
        await self.wait_for_agent()
        left = threading.Event()
        job = msgspec.structs.replace(job, is_wanted=lambda: not left.is_set())
        try:
            return await trio.to_thread.run_sync(run_in_guest, self._agent(), job, abandon_on_cancel=True)
        finally:
            left.set()  # a command that nobody waits for is ended in the guest too

    async def copy_in(self, source: str, target: str) -> None:
        """Copy a file into the guest. Raises HostError, MonitorError."""
        await self.wait_for_agent()
        await trio.to_thread.run_sync(copy_in, self._agent(), source, target, abandon_on_cancel=True)

    async def copy_out(self, source: str, target: str) -> None:
        """Copy a file of the guest to this host. Raises HostError, MonitorError."""
        await self.wait_for_agent()
        await trio.to_thread.run_sync(copy_out, self._agent(), source, target, abandon_on_cancel=True)

    async def stop(self, timeout_s: float | None = None, *, force: bool = False) -> Ending:
        """End the machine, gracefully first unless forced, and wait until QEMU is gone."""
        self._supervisor.stop(timeout_s=timeout_s, force=force)
        return await self.wait()

    async def wait(self) -> Ending:
        """Wait until the guest has powered off or QEMU is gone, and say how."""
        await self._guest.exited.wait()
        assert self._guest.ending  # noqa: S101 - it is set before exited
        return self._guest.ending

    async def expect(self, pattern: str | re.Pattern[str], timeout_s: float = math.inf) -> re.Match[str]:
        """Wait for a regular expression on the serial port; see SerialTalk.expect."""
        return await self.serial.expect(pattern, timeout_s)

    def _agent(self) -> GuestAgent:
        return GuestAgent(self._supervisor.duty)

    def _hear(self, event: "Event") -> None:
        data = event.get("data")
        if event["event"] == "VSERPORT_CHANGE" and isinstance(data, dict) and data.get("id") == "agent0":
            if data.get("open"):
                self._agent_came.set()
            else:
                self._agent_came = trio.Event()
        try:
            self._told.send_nowait(event)
        except trio.WouldBlock:  # nobody reads them: the oldest goes
            self.events.receive_nowait()
            self._told.send_nowait(event)


async def open_serial(
    supervisor: "Supervisor", nursery: trio.Nursery, hear: Hear = lambda _: None
) -> SerialTalk | None:
    """Connect to the machine's serial port, if it has one, and read it from now on."""
    if not supervisor.duty.serial:
        return None
    serial = SerialTalk(await trio.open_unix_socket(supervisor.duty.socket("serial")), hear)
    await nursery.start(partial(serial.pump))
    return serial
