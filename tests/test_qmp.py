"""The monitor against servers that are late, rude, or gone."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from qlaunch.errors import CommandError, MonitorError
from qlaunch.run.loop import run_in_trio
from qlaunch.run.qmp import open_monitor
from tests.fakes.qmp import FakeQmp, agree, serve_qmp


def talk(
    path: Path,
    answer: Callable[[FakeQmp, dict[str, Any]], Awaitable[None]],
    *,
    greeting: bytes | None = None,
    patience_s: float = 30,
) -> object:
    """Serve, connect, and run one command; who never answers is given little time."""

    async def run() -> object:
        async with serve_qmp(path, answer, greeting=greeting):
            async with open_monitor(str(path), greeting_s=patience_s, answer_s=patience_s) as monitor:
                return await monitor.execute("query-status", {"a": 1})

    return run_in_trio(run)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "qmp.sock"


def test_an_answer_comes_back(path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, Any]) -> None:
        await connection.send({"return": request["arguments"], "id": request["id"]})

    assert talk(path, answer) == {"a": 1}


def test_an_answer_in_pieces_with_an_event_before_it_comes_back(path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, Any]) -> None:
        event = {"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 1}}
        await connection.send(event, pause_after=9)
        await connection.send({"return": 42, "id": request["id"]}, pause_after=3)

    assert talk(path, answer) == 42


def test_an_answer_of_twenty_megabytes_comes_back(path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, Any]) -> None:
        await connection.send({"return": "x" * (20 << 20), "id": request["id"]})

    assert talk(path, answer) == "x" * (20 << 20)


def test_a_refusal_is_told_in_qemu_s_own_words(path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, Any]) -> None:
        await connection.send({"error": {"class": "GenericError", "desc": "no such thing"}, "id": request["id"]})

    with pytest.raises(CommandError, match="QEMU refused query-status: no such thing"):
        talk(path, answer)


def test_no_answer_ends_at_the_deadline(path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, Any]) -> None:
        del connection, request

    with pytest.raises(MonitorError, match=r"QEMU did not answer query-status within 0\.3 s"):
        talk(path, answer, patience_s=0.3)


def test_a_hang_up_instead_of_an_answer_is_told(path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, Any]) -> None:
        del request
        await connection.stream.aclose()

    with pytest.raises(MonitorError, match="the connection to QEMU ended during query-status"):
        talk(path, answer)


def test_garbage_instead_of_an_answer_is_told(path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, Any]) -> None:
        del request
        await connection.stream.send_all(b"\x00\xffgarbage}{\r\n")

    with pytest.raises(MonitorError, match="the connection to QEMU ended during query-status"):
        talk(path, answer)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b'{"QMP": 5}\r\n', b"[]\r\n"])
def test_a_greeting_of_something_else_is_told(path: Path, greeting: bytes) -> None:
    with pytest.raises(MonitorError, match="monitor"):
        talk(path, agree, greeting=greeting)


def test_a_silent_monitor_ends_at_the_deadline(path: Path) -> None:
    with pytest.raises(MonitorError, match=r"did not open its monitor .* within 0\.3 s"):
        talk(path, agree, greeting=b"", patience_s=0.3)


def test_no_socket_at_all_is_told(path: Path) -> None:
    async def run() -> None:
        async with open_monitor(str(path), greeting_s=1):
            pytest.fail("nobody listens")

    with pytest.raises(MonitorError, match="closed its monitor"):
        run_in_trio(run)
