"""What a change to the host waited for that is not qlaunch: the kernel that binds a driver, systemd that stops a unit.

Noted where the waiting is done, a thread at a time, and put beside the step's own time, so that ``--timings`` tells
whose time it was. Nothing depends on it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

KERNEL, SYSTEMD = "the kernel", "systemd"


class Wait(msgspec.Struct, frozen=True):
    """Seconds of the monotonic clock."""

    whose: str
    began: float
    ended: float


class _Thread(threading.local):
    noted: list[Wait] | None = None


_thread = _Thread()


@contextmanager
def noted() -> Iterator[list[Wait]]:
    """Give the list into which the waits of this thread go meanwhile."""
    before, _thread.noted = _thread.noted, []
    try:
        yield _thread.noted
    finally:
        _thread.noted = before


def note(whose: str, began: float, ended: float) -> None:
    """Note a wait that is over, if anybody takes notes."""
    if _thread.noted is not None:
        _thread.noted.append(Wait(whose, began, ended))


@contextmanager
def waiting(whose: str) -> Iterator[None]:
    """Note what is waited for meanwhile, however it ends."""
    began = time.monotonic()
    try:
        yield
    finally:
        note(whose, began, time.monotonic())
