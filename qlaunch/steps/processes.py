"""Processes that are known by their command line.

Source: ``proc_pid_cmdline(5)`` (each word ends with a zero byte), ``pidfd_open(2)``.
"""

import os
import select
import signal
from contextlib import suppress

from qlaunch.errors import HostError

_END_S = 5.0


def with_command_line(argv: list[str]) -> list[int]:
    """Give the numbers of the processes with this command line."""
    wanted = _joined(argv)
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _command_line(name) == wanted]


def end_process(pid: int, argv: list[str]) -> None:
    """Ask a process with this command line to end, then make it end; it is gone afterwards.

    Raises HostError for one that stays.
    """
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if _command_line(str(pid)) != _joined(argv):  # the number is another's by now
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(descriptor, number)
                if select.select([descriptor], [], [], _END_S)[0]:
                    return
        finally:
            os.close(descriptor)
        message = f"{argv[0]} (process {pid}) was killed and does not end: it is inside the kernel"
        raise HostError(message, "try again once it is gone, or restart the host")


def _joined(argv: list[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in argv)


def _command_line(process: str) -> bytes:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return file.read()
    except OSError:  # it has gone meanwhile
        return b""
