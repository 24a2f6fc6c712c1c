"""The guest agent, real manners and bad ones: it hangs, lies about its protocol, is not there."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from qlaunch.run.agent import ask_agent_to_shut_down
from qlaunch.run.loop import run_in_trio

Behaviour = Callable[[trio.SocketStream, list[bytes]], Awaitable[None]]


def ask(path: Path, behaviour: Behaviour) -> tuple[bool, list[bytes]]:
    """Ask a fake agent; give whether it was reached, and what it was told."""
    told: list[bytes] = []

    async def run() -> bool:
        listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await listener.bind(str(path))
        listener.listen()

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                await behaviour(stream, told)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listener)])
            asked = await ask_agent_to_shut_down(str(path), 0.5)
            with trio.move_on_after(0.5):  # what was sent last may still be under way
                while asked and not any(b"guest-shutdown" in line for line in told):
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        return asked

    return run_in_trio(run), told


async def answer_sync(stream: trio.SocketStream, told: list[bytes]) -> None:
    async for chunk in stream:
        told.append(bytes(chunk))
        if b"guest-sync-delimited" in chunk:
            token = json.loads(chunk.lstrip(b"\xff"))["arguments"]["id"]
            await stream.send_all(b'garbage of a session before\n\xff{"return": ' + str(token).encode() + b"}\n")


async def hang(stream: trio.SocketStream, told: list[bytes]) -> None:
    told += [bytes(chunk) async for chunk in stream]


async def hang_up(stream: trio.SocketStream, told: list[bytes]) -> None:
    told.append(bytes(await stream.receive_some()))


async def lie(stream: trio.SocketStream, told: list[bytes]) -> None:
    told.append(bytes(await stream.receive_some()))
    await stream.send_all(b'{"return": 1}\n' * 10000)


def test_an_agent_that_proves_itself_is_told_to_shut_down(tmp_path: Path) -> None:
    asked, told = ask(tmp_path / "agent", answer_sync)
    assert asked
    assert told[0].startswith(b"\xff")
    assert json.loads(told[-1]) == {"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}}


@pytest.mark.parametrize("behaviour", [hang, hang_up, lie], ids=lambda behaviour: behaviour.__name__)
def test_an_agent_that_does_not_prove_itself_is_not_waited_for(tmp_path: Path, behaviour: Behaviour) -> None:
    asked, told = ask(tmp_path / "agent", behaviour)
    assert not asked
    assert not any(b"guest-shutdown" in line for line in told)


def test_no_agent_at_all_is_no_error(tmp_path: Path) -> None:
    assert run_in_trio(lambda: ask_agent_to_shut_down(str(tmp_path / "none"), 0.5)) is False
