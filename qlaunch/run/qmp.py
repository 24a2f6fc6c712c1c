"""QMP for the supervisor: qemu.qmp, which is asyncio, behind trio's manners. The only module that imports either.

Source: QEMU's ``docs/interop/qmp-spec.rst``; qemu.qmp's documentation of QMPClient.
"""

import logging
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import msgspec
import trio
import trio_asyncio
from qemu.qmp import ExecuteError, QMPClient, QMPError
from qemu.qmp.protocol import Runstate

from qlaunch.errors import CommandError, MonitorError

Event = dict[str, object]

# What a session that broke raises; ValueError is text that is not UTF-8.
_BROKEN = (QMPError, EOFError, OSError, ValueError)
# A line that is longer ends the session. qemu.qmp's own bound is 10 MiB, and a console that shares the session may ask
# for a dump of memory (`hmp xp`).
_LONGEST_ANSWER = 256 << 20
# Everything that goes wrong is raised and told in our own words.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Monitor:
    """One QMP session. Commands may be sent by several tasks at once; ``event`` is what QEMU says of itself."""

    def __init__(self, client: QMPClient, loop: trio_asyncio.TrioEventLoop, answer_s: float) -> None:
        self._client = client
        self._loop = loop  # named, since tasks from outside the loop ask too
        self._answer_s = answer_s
        self._lending = trio.Lock()
        self._hears, self._heard = trio.open_memory_channel[Event | trio.Event](math.inf)

        def hear(event: Mapping[str, object]) -> bool:
            self._hears.send_nowait(dict(event))
            return False

        # A listener of qemu.qmp keeps every event that it accepts for ever, in its history: this one accepts none.
        client.events.event_filter = hear

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, answer_s: float | None = None
    ) -> object:
        """Send a command and give what it returns; ``answer_s`` is for one that takes longer than others.

        Raises CommandError when QEMU refuses it, MonitorError when no answer comes in time or the connection ends.
        """
        seconds = self._answer_s if answer_s is None else answer_s
        with trio.move_on_after(seconds):
            try:
                return await trio_asyncio.aio_as_trio(self._client.execute, loop=self._loop)(
                    command, dict(arguments or {})
                )
            except ExecuteError as error:
                raise CommandError(f"QEMU refused {command}: {error}") from error
            except _BROKEN as error:
                raise MonitorError(f"the connection to QEMU ended during {command}") from error
        raise MonitorError(f"QEMU did not answer {command} within {seconds:g} s")

    async def event(self) -> Event:
        """Wait for the next thing that QEMU says of itself; for one reader. It never says that there are no more."""
        while isinstance(heard := await self._heard.receive(), trio.Event):
            heard.set()
        return heard

    async def last_words(self) -> None:
        """Wait until the session has ended and whoever reads events has dealt with all of them."""
        while self._client.runstate == Runstate.RUNNING:
            await trio_asyncio.aio_as_trio(self._client.runstate_changed, loop=self._loop)()
        dealt_with = trio.Event()  # its turn comes when the reader asks for more
        self._hears.send_nowait(dealt_with)
        await dealt_with.wait()

    async def lend(self, descriptor: int) -> int:
        """Give QEMU an open file; it is ``/dev/fdset/N`` there, and the number comes back. The file stays open here.

        Raises CommandError, MonitorError.
        """
        async with self._lending:  # QEMU takes the last descriptor that came before the command
            try:
                self._client.send_fd_scm(descriptor)
            except _BROKEN as error:
                raise MonitorError("the connection to QEMU ended while a file was handed over") from error
            answer = await self.execute("add-fd")
        return msgspec.convert(answer, _Lent).number


class _Lent(msgspec.Struct, rename={"number": "fdset-id"}):
    number: int


@asynccontextmanager
async def open_monitor(path: str, *, greeting_s: float, answer_s: float = 10) -> AsyncIterator[Monitor]:
    """Connect to a QMP socket. Raises MonitorError when no greeting comes within ``greeting_s`` seconds."""
    async with trio_asyncio.open_loop() as loop:
        client = QMPClient("qlaunch")
        for name in ("readbuflen", "_limit"):  # its name today, and in older versions
            setattr(client, name, _LONGEST_ANSWER)
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
