"""The status line of a machine in the foreground: once a second, only while somebody looks."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from qlaunch.run.supervisor import Supervisor


def status_line(show: Callable[[str], None]) -> "Callable[[Supervisor], Awaitable[None]]":
    """Give the task that keeps a status line fresh."""

    async def keep_fresh(supervisor: "Supervisor") -> None:
        duty, started = supervisor.duty, supervisor.running.record.started
        while True:
            seconds = int(time.time() - started)
            uptime = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            show(f"{duty.name} runs for {uptime} ({duty.accel}, {duty.vcpus} vCPUs); Ctrl-C ends it")
            await trio.sleep(1 - time.time() % 1)

    return keep_fresh
