"""A QMP server with bad manners, for what a real QEMU does only when it is ill.

Its good manners are checked against QEMU's.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
Answer = Callable[["FakeQmp", dict[str, Any]], Awaitable[None]]


class FakeQmp:
    """One connection: what was asked, and how to answer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.asked: list[str] = []

    async def send(self, message: object, *, pause_after: int | None = None) -> None:
        """Send a message; with ``pause_after`` in two pieces, other tasks running in between."""
        data = json.dumps(message).encode() + b"\r\n"
        if pause_after is not None:
            await self.stream.send_all(data[:pause_after])
            await trio.testing.wait_all_tasks_blocked()
            data = data[pause_after:]
        await self.stream.send_all(data)

    async def requests(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield requests as they come: a stream of JSON objects with or without line ends, as qemu.qmp sends them."""
        decoder, text = json.JSONDecoder(), ""
        async for chunk in self.stream:
            text += chunk.decode()
            while text.strip():
                try:
                    request, end = decoder.raw_decode(text.lstrip())
                except json.JSONDecodeError:
                    break
                text = text.lstrip()[end:]
                self.asked.append(request["execute"])
                yield request


async def agree(connection: FakeQmp, request: dict[str, Any]) -> None:
    """Answer every command with an empty success."""
    await connection.send({"return": {}, "id": request.get("id")})


@asynccontextmanager
async def serve_qmp(
    path: Path, answer: Answer = agree, *, greeting: bytes | None = None
) -> AsyncIterator[list[FakeQmp]]:
    """Serve on a socket for as long as the block runs; gives the connections that came."""
    connections: list[FakeQmp] = []
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listener.bind(str(path))
    listener.listen(4)

    async def converse(stream: trio.SocketStream) -> None:
        connection = FakeQmp(stream)
        connections.append(connection)
        try:
            async with stream:
                await stream.send_all(json.dumps(GREETING).encode() + b"\r\n" if greeting is None else greeting)
                async with aclosing(connection.requests()) as requests:
                    async for request in requests:
                        await (agree if request["execute"] == "qmp_capabilities" else answer)(connection, request)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, converse, [trio.SocketListener(listener)])
        yield connections
        nursery.cancel_scope.cancel()
