"""A guest as its supervisor sees it: the process, the monitor, and what has happened to it so far."""

import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec
import trio

from qlaunch.duty import Duty
from qlaunch.run.process import ProcessId
from qlaunch.run.qmp import Event, Monitor

Hear = Callable[[Event], None]
_LAST_WORDS_S = 10.0
How = Literal["powered-off", "stopped", "reset", "panicked", "qemu-died"]


class Ending(msgspec.Struct, frozen=True):
    """How a run ended, in a word for scripts and in a sentence for people."""

    how: How
    sentence: str

    @property
    def exit_status(self) -> int:
        """0 for an end that was wanted, 5 for a panic or a QEMU that died."""
        return 5 if self.how in ("panicked", "qemu-died") else 0


class Guest:
    """What the tasks of one supervisor share."""

    def __init__(self, duty: Duty, process: ProcessId, pidfd: int, monitor: Monitor, *, is_child: bool) -> None:
        self.duty = duty
        self.process = process
        self.monitor = monitor
        self.running = trio.Event()  # its first instruction was allowed
        self.exited = trio.Event()
        self.halted = trio.Event()  # the guest does not run any more: powered off, or panicked
        self.revived = trio.Event()  # it runs again after all, which on_poweroff = "pause" allows
        self.being_ended = trio.Lock()
        self.ending: Ending | None = None
        self.agent_open = False
        self.listeners: list[Hear] = []  # those who hear the events as well
        self.resets = 0
        self._pidfd = pidfd
        self._is_child = is_child

    def end(self, how: How, sentence: str) -> None:
        """Note how the run ends; the first cause counts, what follows from it does not."""
        if self.ending is None:
            self.ending = Ending(how, sentence)

    def revive(self) -> None:
        """Note that a guest that had halted runs again."""
        if self.halted.is_set() and not self.exited.is_set():
            self.halted, self.ending = trio.Event(), None
            self.revived.set()
            self.revived = trio.Event()

    async def watch_exit(self) -> None:
        """Wait until QEMU is gone, and reap it if it is this process' child."""
        await trio.lowlevel.wait_readable(self._pidfd)
        if self._is_child:
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)  # noqa: ASYNC222 - it has ended, nothing is waited for
        if self.ending is None:  # it may have said why, and nobody has listened yet
            with trio.move_on_after(_LAST_WORDS_S):
                await self.monitor.last_words()
        self.end("qemu-died", f"QEMU (pid {self.process.pid}) died unexpectedly")
        self.exited.set()
        self.halted.set()

    async def threads(self) -> tuple[dict[int, int], dict[str, int]]:
        """Ask for the host threads of vCPUs, by number, and of iothreads, by name."""
        cpus = await self.monitor.execute("query-cpus-fast")
        iothreads = await self.monitor.execute("query-iothreads")
        vcpus = msgspec.convert(cpus, list[_Vcpu])
        named = msgspec.convert(iothreads, list[_Iothread])
        return {vcpu.index: vcpu.thread for vcpu in vcpus}, {thread.id: thread.thread for thread in named}


async def wait_for(event: trio.Event, seconds: float = math.inf) -> bool:
    """Wait for an event up to a deadline; tell whether it came."""
    with trio.move_on_after(seconds):
        await event.wait()
    return event.is_set()


class _Vcpu(msgspec.Struct, rename={"index": "cpu-index", "thread": "thread-id"}):
    index: int
    thread: int


class _Iothread(msgspec.Struct, rename={"thread": "thread-id"}):
    id: str
    thread: int
