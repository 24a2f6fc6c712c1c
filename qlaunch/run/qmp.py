"""QMP for the supervisor: qemu.qmp, which is asyncio, behind trio's manners. The only module that imports either.

Source: QEMU's ``docs/interop/qmp-spec.rst``; qemu.qmp's documentation of QMPClient.
"""

import logging
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import trio
import trio_asyncio
from qemu.qmp import ExecuteError, QMPClient, QMPError
from qemu.qmp.protocol import Runstate

from qlaunch.errors import MonitorError

Event = dict[str, object]

# What a session that broke raises; ValueError is text that is not UTF-8.
_BROKEN = (QMPError, EOFError, OSError, ValueError)
# Everything that goes wrong is raised and told in our own words.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class CommandError(MonitorError):
    """QEMU understood a command and refused it; the message is QEMU's own."""


class Monitor:
    """One QMP session. Commands may be sent by several tasks at once; ``events`` yields what QEMU says of itself."""

    def __init__(self, client: QMPClient, loop: trio_asyncio.TrioEventLoop, answer_s: float) -> None:
        self._client = client
        self._loop = loop  # named, since tasks from outside the loop ask too
        self._answer_s = answer_s
        heard, self.events = trio.open_memory_channel[Event](math.inf)

        def hear(event: Mapping[str, object]) -> bool:
            heard.send_nowait(dict(event))
            return False

        # A listener of qemu.qmp keeps every event that it accepts for ever, in its history: this one accepts none.
        client.events.event_filter = hear

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Send a command and give what it returns.

        Raises CommandError when QEMU refuses it, MonitorError when no answer comes in time or the connection ends.
        """
        with trio.move_on_after(self._answer_s):
            try:
                return await trio_asyncio.aio_as_trio(self._client.execute, loop=self._loop)(
                    command, dict(arguments or {})
                )
            except ExecuteError as error:
                raise CommandError(f"QEMU refused {command}: {error}") from error
            except _BROKEN as error:
                raise MonitorError(f"the connection to QEMU ended during {command}") from error
        raise MonitorError(f"QEMU did not answer {command} within {self._answer_s:g} s")


@asynccontextmanager
async def open_monitor(path: str, *, greeting_s: float, answer_s: float = 10) -> AsyncIterator[Monitor]:
    """Connect to a QMP socket. Raises MonitorError when no greeting comes within ``greeting_s`` seconds."""
    async with trio_asyncio.open_loop() as loop:
        client = QMPClient("qlaunch")
        monitor = Monitor(client, loop, answer_s)
        connected = False
        try:
            with trio.move_on_after(greeting_s):
                try:
                    await trio_asyncio.aio_as_trio(client.connect)(path)
                except _BROKEN as error:
                    raise MonitorError(f"QEMU closed its monitor {path} before it said anything") from error
                connected = True
            if not connected:
                raise MonitorError(f"QEMU did not open its monitor {path} within {greeting_s:g} s")
            yield monitor
        finally:
            await _disconnect(client)


async def _disconnect(client: QMPClient) -> None:
    """End the session. QEMU's going away first is normal and shows as EOFError or as a broken pipe."""
    with trio.CancelScope(shield=True), trio.move_on_after(2), suppress(*_BROKEN):
        if client.runstate != Runstate.IDLE:
            await trio_asyncio.aio_as_trio(client.disconnect)()
