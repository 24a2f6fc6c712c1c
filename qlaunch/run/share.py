"""The supervisor's QMP session, shared: who asks for it on the control socket gets a monitor to talk to.

Commands are passed on, and events are heard from then on. Who does not read loses events, and delays nobody.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from qlaunch.errors import CommandError, MonitorError

if TYPE_CHECKING:
    from qlaunch.run.guest import Guest
    from qlaunch.run.qmp import Event

_GREETING: dict[str, object] = {"QMP": {"version": {}, "capabilities": []}}
_LONGEST_COMMAND = 1 << 20
_KEPT_EVENTS = 10_000
# QEMU itself takes hours for some commands; whoever asked may leave before the answer.
ANSWER_S = 24 * 3600.0


async def share_monitor(guest: "Guest", stream: trio.SocketStream) -> None:
    """Serve one client until it, or QEMU, is gone."""
    told, to_tell = trio.open_memory_channel["Event"](_KEPT_EVENTS)
    heard_end = False

    def pass_on(event: "Event") -> None:
        nonlocal heard_end
        heard_end = heard_end or event["event"] == "SHUTDOWN"
        with suppress(trio.WouldBlock, trio.BrokenResourceError):
            told.send_nowait(event)

    guest.listeners.append(pass_on)
    sending = trio.Lock()
    try:
        await _send(stream, sending, _GREETING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell_events, stream, sending, to_tell)
            async for line in _lines(stream):
                nursery.start_soon(_answer, guest, stream, sending, line)
            nursery.cancel_scope.cancel()
    finally:
        guest.listeners.remove(pass_on)
        # QEMU's end is seen before its last events are read: whoever shares is told of it all the same.
        if guest.ending and guest.ending.how == "stopped" and not heard_end:
            pass_on({"event": "SHUTDOWN", "data": {"guest": False, "reason": "host-qmp-quit"}, "timestamp": _now()})
        _tell_at_once(stream, to_tell)


def _tell_at_once(stream: trio.SocketStream, events: "trio.MemoryReceiveChannel[Event]") -> None:
    """Send what is left to tell, as far as it can be sent without waiting."""
    with suppress(OSError, trio.WouldBlock):
        while True:
            os.write(stream.socket.fileno(), msgspec.json.encode(events.receive_nowait()) + b"\n")


def _now() -> dict[str, int]:
    microseconds = time.time_ns() // 1000
    return {"seconds": microseconds // 1_000_000, "microseconds": microseconds % 1_000_000}


async def _tell_events(
    stream: trio.SocketStream, sending: trio.Lock, events: "trio.MemoryReceiveChannel[Event]"
) -> None:
    async for event in events:
        await _send(stream, sending, event)


async def _answer(guest: "Guest", stream: trio.SocketStream, sending: trio.Lock, line: bytes) -> None:
    answer: dict[str, object]
    number: object = None
    try:
        request = msgspec.json.decode(line, type=dict[str, Any])
        number = request.get("id")
        command, arguments = str(request["execute"]), dict(request.get("arguments") or {})
        if command == "qmp_capabilities":  # agreed long ago
            answer = {"return": {}}
        else:
            answer = {"return": await guest.monitor.execute(command, arguments, answer_s=ANSWER_S)}
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        answer = {"error": {"class": "GenericError", "desc": f"this is not a QMP command: {error}"}}
    except CommandError as error:
        answer = {"error": {"class": "GenericError", "desc": error.message.partition(": ")[2]}}
    except MonitorError:
        return  # QEMU is gone, and so is this session in a moment
    await _send(stream, sending, {**answer, "id": number})


async def _lines(stream: trio.SocketStream) -> AsyncIterator[bytes]:
    rest = b""
    while len(rest) < _LONGEST_COMMAND:
        chunk = b""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            chunk = await stream.receive_some(65536)
        if not chunk:
            return
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


async def _send(stream: trio.SocketStream, sending: trio.Lock, message: object) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with sending:
            await stream.send_all(msgspec.json.encode(message) + b"\n")
