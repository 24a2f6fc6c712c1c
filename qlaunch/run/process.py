"""Processes that are known for certain: a pid alone may be another's by now, a pid with its start time cannot.

Source: ``proc_pid_stat(5)``, field 22 (starttime, in clock ticks since boot); ``pidfd_open(2)``.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import msgspec

_START_TIME = 22  # counted from 1, as the manual page does


class ProcessId(msgspec.Struct, frozen=True):
    """A process: its number, and when it was started in clock ticks since boot."""

    pid: int
    start: int

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return _start_time(self.pid) == self.start

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def identify(pid: int) -> ProcessId:
    """Look up a running process. Raises ProcessLookupError where there is none."""
    start = _start_time(pid)
    if start is None:
        raise ProcessLookupError(pid)
    return ProcessId(pid, start)


def find_by_word(word: str) -> Iterator[ProcessId]:
    """Yield the processes that have a text in their command line, e.g. the path of a socket that is theirs alone."""
    wanted = word.encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with suppress(OSError):
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if wanted in file.read():
                        yield identify(int(name))


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
