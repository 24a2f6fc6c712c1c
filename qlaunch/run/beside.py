"""Changes to the host that are made while QEMU is started and what supervises it is imported: a thread of their own.

Owns: the thread. Must not: know what is changed.
"""

import threading
from collections.abc import Callable
from typing import Protocol


class CarryOut(Protocol):
    """What makes the changes: until the end, or until ``stop`` says so."""

    def __call__(self, *, stop: Callable[[], bool]) -> object:
        """Make them. Raises HostError."""


class Beside:
    """Changes that are on their way."""

    def __init__(self, carry_out: CarryOut, stop: Callable[[], bool]) -> None:
        self._carry_out = carry_out
        self._stop = stop
        self._given_up = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="beside the launch")
        try:
            self._thread.start()
        except RuntimeError:  # no thread can be had: QEMU waits for them
            self._thread = threading.current_thread()
            self._work()

    def wait(self) -> None:
        """Wait until they are made. Raises what kept one from being made."""
        self._join()
        if self._failed:
            raise self._failed

    def give_up(self) -> None:
        """Begin no more of them, and wait for the end of the one that is being made: they are to be given back."""
        self._given_up.set()
        self._join()

    def _work(self) -> None:
        try:
            self._carry_out(stop=lambda: self._given_up.is_set() or self._stop())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._failed = error

    def _join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()
