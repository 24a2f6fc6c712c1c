"""The supervisor's own socket, ``control.sock``: short questions of other qlaunch commands, one JSON line each way.

    {"ask": "status"}                                -> {"status": {…}}
    {"ask": "execute", "command": …, "arguments": …} -> {"return": …} or {"error": "…"}
    {"ask": "show", "commands": [query-…]}           -> the answers in text, and a NUL byte (see show.py)
    {"ask": "attach", "device": {…}} or "detach"     -> {"return": "what was done"} or {"error": "…"}
    {"ask": "share"}                                 -> QMP from here on, with a greeting and events (see share.py)
    {"ask": "stop", "timeout_s": …, "force": …}      -> {"say": "…"} as it goes, then {"ended": {…}} once the host is
    restored

So that several can talk to a machine at once: QMP itself serves a single client and lets the second one hang.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec
import trio

from qlaunch.duty import Plugged
from qlaunch.errors import MonitorError, QlaunchError
from qlaunch.run.share import share_monitor

if TYPE_CHECKING:
    from qlaunch.run.supervisor import Supervisor

_LONGEST_REQUEST = 1 << 20


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    ask: Literal["status", "execute", "show", "attach", "detach", "share", "stop"]
    command: str = ""
    arguments: dict[str, object] = {}
    commands: list[str] = []
    width: int | None = None  # of the terminal, 0 where there is none; None: each answer on one line
    colour: bool = False
    device: Plugged = Plugged()
    pci: str = ""  # a PCI slot or function, instead of a USB device
    timeout_s: float | None = None
    force: bool = False


class Farewells:
    """Those who asked for the end and wait for it. Their sockets outlive the nursery, to hear the last word."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def add(self, waiting: socket.socket) -> Callable[[str], None]:
        """Keep a socket, and give a listener that passes sentences on to it."""
        self._sockets.append(waiting)
        return lambda text: _send_now(waiting, {"say": text})

    def send(self, last_word: object) -> None:
        """Say the last word to all and close."""
        for waiting in self._sockets:
            with suppress(OSError):
                _send_now(waiting, last_word)
            waiting.close()


async def serve_control(
    supervisor: "Supervisor", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the socket until cancelled."""
    path = supervisor.duty.socket("control")
    with suppress(FileNotFoundError):  # left by a supervisor that was killed
        os.unlink(path)
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(16)
    task_status.started()

    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                await _answer(supervisor, stream)

    await trio.serve_listeners(answer, [trio.SocketListener(listener)])


async def _answer(supervisor: "Supervisor", stream: trio.SocketStream) -> None:
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_REQUEST:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return
        line += chunk
    try:
        request = msgspec.json.decode(line, type=Request)
    except msgspec.MsgspecError as error:
        await _send(stream, {"error": f"this is not a request: {error}"})
        return
    match request.ask:
        case "status":
            await _send(stream, {"status": await _status(supervisor)})
        case "execute":
            await _send(stream, await _execute(supervisor, request))
        case "show":
            await _show(supervisor, request, stream)
        case "attach" | "detach":
            await _send(stream, await _plug(supervisor, request))
        case "share":
            await _share(supervisor, stream)
        case "stop":
            waiting = socket.socket(fileno=os.dup(stream.socket.fileno()))
            supervisor.voice.add(supervisor.farewells.add(waiting))
            supervisor.stop(timeout_s=request.timeout_s, force=request.force)


async def _execute(supervisor: "Supervisor", request: Request) -> dict[str, object]:
    guest = supervisor.guest
    if guest is None:
        return {"error": "the machine is not up yet"}
    try:
        return {"return": await guest.monitor.execute(request.command, request.arguments)}
    except MonitorError as error:
        return {"error": error.message}


async def _show(supervisor: "Supervisor", request: Request, stream: trio.SocketStream) -> None:
    guest = supervisor.guest
    if guest is None:
        await _send(stream, {"error": "the machine is not up yet"})
        return
    try:
        from qlaunch.run.show import show  # noqa: PLC0415 - for who is asked such a thing

        ask, runtime = guest.monitor.execute, supervisor.duty.runtime
        text = await show(ask, runtime, request.commands, request.width, colour=request.colour)
    except (ImportError, QlaunchError) as error:  # an upgrade since the start may have moved what is imported
        await _send(stream, {"error": str(error)})
        return
    await stream.send_all(text.encode() + b"\0")


async def _share(supervisor: "Supervisor", stream: trio.SocketStream) -> None:
    if supervisor.guest is None:
        await _send(stream, {"error": "the machine is not up yet"})
    else:
        await share_monitor(supervisor.guest, stream)


async def _plug(supervisor: "Supervisor", request: Request) -> dict[str, object]:
    attaches = request.ask == "attach"
    try:
        if request.pci:
            act_on = supervisor.pci.attach if attaches else supervisor.pci.detach
            return {"return": await act_on(request.pci)}
        act = supervisor.hotplug.attach if attaches else supervisor.hotplug.detach
        return {"return": await act(request.device)}
    except QlaunchError as error:
        return {"error": error.message, "hint": error.hint}


async def _status(supervisor: "Supervisor") -> dict[str, object]:
    answer = await _execute(supervisor, Request(ask="execute", command="query-status"))
    state = answer.get("return")
    guest = supervisor.guest
    return {
        "state": state.get("status") if isinstance(state, dict) else "not answering",
        "agent": bool(guest and guest.agent_open),
        "resets": guest.resets if guest else 0,
    }


async def _send(stream: trio.SocketStream, message: object) -> None:
    await stream.send_all(msgspec.json.encode(message) + b"\n")


def _send_now(waiting: socket.socket, message: object) -> None:
    """Send without waiting: whoever does not read loses lines, and never delays the supervisor."""
    waiting.send(msgspec.json.encode(message) + b"\n", socket.MSG_DONTWAIT)
