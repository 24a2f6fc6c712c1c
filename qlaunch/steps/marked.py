"""Processes that carry a mark in their environment: found again by whoever comes after the supervisor that made them.

A process hands its environment on to what it starts, so a mark names a helper with all its children, whatever numbers
they have and whoever their parent is by now.

Source: ``proc_pid_environ(5)`` (readable for the same user and for root, as it was when the program started);
``pidfd_send_signal(2)``.
"""

import os
import select
import signal
import time
from contextlib import suppress

# A helper that is asked to end has this long, in seconds, until it is made to.
_POLITE_S = 2.0
_KILLED_S = 2.0


def find_marked(mark: str) -> list[int]:
    """Give the numbers of the processes that carry ``NAME=value``, in order."""
    own = os.getpid()
    found = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]
    return sorted(pid for pid in found if _carries(pid, mark))


def end_marked(mark: str, polite_s: float = _POLITE_S, killed_s: float = _KILLED_S) -> list[int]:
    """End every process that carries a mark: SIGTERM, then SIGKILL. Gives those that are there nevertheless."""
    for number, patience_s in ((signal.SIGTERM, polite_s), (signal.SIGKILL, killed_s)):
        # One that is found may have started another meanwhile: whoever is left is looked for again.
        end = time.monotonic() + patience_s
        while (marked := find_marked(mark)) and time.monotonic() < end:
            for descriptor in _signal_all(marked, mark, number):
                select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
                os.close(descriptor)
    return find_marked(mark)


def _signal_all(pids: list[int], mark: str, number: signal.Signals) -> list[int]:
    """Signal processes, and give descriptors that tell when they are gone."""
    descriptors = []
    for pid in pids:
        with suppress(OSError):
            descriptor = os.pidfd_open(pid)
            if not _carries(pid, mark):  # the number is another's by now
                os.close(descriptor)
                continue
            descriptors.append(descriptor)
            signal.pidfd_send_signal(descriptor, number)
    return descriptors


def _carries(pid: int, mark: str) -> bool:
    with suppress(OSError):
        with open(f"/proc/{pid}/environ", "rb") as file:  # empty for a zombie
            return mark.encode() in file.read().split(b"\0")
    return False
