"""Keep the host awake while a guest has its devices, and end the guest in order when the host goes down.

logind lets a program hold a lock as an open descriptor, which goes with the program, however that ends. ``block`` on
sleep refuses a suspend. ``delay`` on shutdown gives the time that logind has set (InhibitDelayMaxSec, 5 s where nobody
changed it) between its word that the host goes down and the moment when it does.

Owns: the locks, and hearing logind's word. Must not: end a guest, which is the supervisor's, or end because of a lock.

Source: ``org.freedesktop.login1(5)`` (Inhibit, PrepareForShutdown, InhibitDelayMaxUSec); ``logind.conf(5)``;
https://systemd.io/INHIBITOR_LOCKS.
"""

import math
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from qlaunch.errors import HostError
from qlaunch.run.voice import Say

if TYPE_CHECKING:
    from jeepney import Message
    from jeepney.io.trio import DBusConnection

_NAME = "org.freedesktop.login1"
_PATH = "/org/freedesktop/login1"
_MANAGER = f"{_NAME}.Manager"
_GET = "org.freedesktop.DBus.Properties.Get"
_CALL_S = 10.0


def has_logind() -> bool:
    """Whether a logind runs here: what ``sd_get_seats(3)`` looks at."""
    return os.path.isdir("/run/systemd/seats")


@asynccontextmanager
async def inhibitors(name: str, say: Say, on_shutdown: Callable[[], None], *, sleep: bool) -> AsyncIterator[None]:
    """Hold the locks while inside; ``on_shutdown`` is called when the host is about to go down.

    With ``sleep`` the host cannot be put to sleep. Where there is no logind, or one that refuses, this is told in one
    sentence. The host waits until this is left, so leave it when the guest is down.
    """
    locks = _Locks(name, say, on_shutdown, sleep=sleep)
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(locks.serve)
            yield
        finally:
            locks.release()
            nursery.cancel_scope.cancel()


class _Locks:
    def __init__(self, name: str, say: Say, on_shutdown: Callable[[], None], *, sleep: bool) -> None:
        self._name = name
        self._say = say
        self._on_shutdown = on_shutdown
        self._sleep = sleep
        self._held: list[int] = []

    def release(self) -> None:
        """Let the host go."""
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take the locks and listen. The locks stay when the bus goes: they are descriptors."""
        ready = False

        def started() -> None:
            nonlocal ready
            ready, patience.deadline = True, math.inf
            task_status.started()

        reason = f"logind did not answer in {_CALL_S:.0f} s"
        with trio.CancelScope(deadline=trio.current_time() + _CALL_S) as patience:
            try:
                await self._listen(started)
                reason = "its D-Bus closed the connection"
            except Exception as error:  # noqa: BLE001 - whatever it is, the guest goes on
                reason = _reason(error)
        if not ready:
            kept = "may fall asleep, and " if self._sleep else ""
            self._say(f"the host {kept}will not wait for the guest when it goes down: {reason}")
            task_status.started()
        else:
            self._say(f"nobody tells any more when the host goes down: {reason}")

    async def _listen(self, started: Callable[[], None]) -> None:
        from jeepney.io.trio import open_dbus_connection  # noqa: PLC0415 - QEMU starts meanwhile

        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"
        async with await open_dbus_connection(address, enable_fds=True) as connection:
            bus = _Bus(connection)
            await bus.listen("PrepareForShutdown")
            if self._sleep:
                await self._take(bus, "sleep", "its guest has devices that do not survive it", "block")
            await self._take(bus, "shutdown", "its guest is shut down first", "delay")
            ((_, microseconds),) = await bus.call(_GET, "ss", (_MANAGER, "InhibitDelayMaxUSec"))
            started()
            while True:
                if await bus.next_signal():
                    self._say(f"the host goes down, and waits up to {microseconds / 1e6:g} s for the guest")
                    self._on_shutdown()

    async def _take(self, bus: "_Bus", what: str, why: str, mode: str) -> None:
        arguments = (what, f"qlaunch {self._name}", why, mode)
        (descriptor,) = await bus.call(f"{_MANAGER}.Inhibit", "ssss", arguments)
        self._held.append(descriptor.to_raw_fd())


class _Bus:
    """One task's conversation with logind. jeepney's own router fails when it is cancelled while a filter closes."""

    def __init__(self, connection: "DBusConnection") -> None:
        self._connection = connection
        self._signals: deque[Message] = deque()

    async def listen(self, member: str) -> None:
        """Ask for a signal of logind's."""
        from jeepney import MatchRule, message_bus  # noqa: PLC0415 - see above

        rule = MatchRule(type="signal", interface=_MANAGER, member=member, path=_PATH)
        await self._answer(message_bus.AddMatch(rule))

    async def call(self, method: str, signature: str, arguments: tuple[object, ...]) -> tuple[Any, ...]:
        """Call ``INTERFACE.METHOD``. Raises HostError when logind says no."""
        from jeepney import DBusAddress, new_method_call  # noqa: PLC0415 - see above

        interface, _, member = method.rpartition(".")
        address = DBusAddress(_PATH, bus_name=_NAME, interface=interface)
        return await self._answer(new_method_call(address, member, signature, arguments))

    async def next_signal(self) -> bool:
        """Wait for the next signal, and give the yes or no that it holds."""
        from jeepney import HeaderFields, MessageType  # noqa: PLC0415 - see above

        while True:
            message = self._signals.popleft() if self._signals else await self._connection.receive()
            fields = message.header.fields
            if message.header.message_type == MessageType.signal and fields[HeaderFields.path] == _PATH:
                return bool(message.body[0])

    async def _answer(self, message: "Message") -> tuple[Any, ...]:
        from jeepney import HeaderFields, MessageType  # noqa: PLC0415 - see above

        serial = next(self._connection.outgoing_serial)
        await self._connection.send(message, serial=serial)
        while True:
            reply = await self._connection.receive()
            if reply.header.fields.get(HeaderFields.reply_serial) == serial:
                break
            self._signals.append(reply)
        body: tuple[Any, ...] = reply.body
        if reply.header.message_type == MessageType.error:
            raise HostError(f"logind said: {body[0] if body else 'no'}")
        return body


def _reason(error: BaseException) -> str:
    """Put into words what trio's nurseries may have wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, OSError) and cause.errno:
        return f"D-Bus of the system does not answer ({os.strerror(cause.errno).lower()})"
    return str(cause) or type(cause).__name__
