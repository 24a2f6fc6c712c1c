"""Processes that are known for certain: a pid alone may be another's by now, a pid with its start time cannot.

Source: ``proc_pid_stat(5)``, field 22 (starttime, in clock ticks since boot); ``pidfd_open(2)``.
"""

import os
import select
import signal
from contextlib import suppress

import msgspec

from qlaunch.errors import HostError

# To end takes time where gigabytes are given back and devices are reset; whoever takes longer than this does not end.
KILLED_S = 60.0
_START_TIME = 22  # counted from 1, as the manual page does


class ProcessId(msgspec.Struct, frozen=True):
    """A process: its number, and when it was started in clock ticks since boot."""

    pid: int
    start: int

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return _start_time(self.pid) == self.start

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, which need not come; whether it is gone."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_alive():
                    select.select([descriptor], [], [], seconds)
            finally:
                os.close(descriptor)
        return not self.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)  # first: from here on the number is looked at and used by nobody else
            try:
                if self.is_alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def end_process(process: ProcessId) -> None:
    """Kill a process, and wait until it is gone. It need not be a child. Raises HostError for one that stays."""
    process.send(signal.SIGKILL)
    if not process.ends_within(KILLED_S):
        raise stays(process.pid)


def stays(pid: int) -> HostError:
    """Say that a process does not end, even when it is killed."""
    message = f"process {pid} was killed and does not end: it is inside the kernel, as where a device does not answer"
    return HostError(message, f"see: cat /proc/{pid}/stack; and try again once it is gone, or restart the host")


def identify(pid: int) -> ProcessId:
    """Look up a running process. Raises ProcessLookupError where there is none."""
    start = _start_time(pid)
    if start is None:
        raise ProcessLookupError(pid)
    return ProcessId(pid, start)


def _start_time(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name in field 2 may hold blanks and parentheses; the last ")" ends it.
    fields = line[line.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[_START_TIME - 3])
