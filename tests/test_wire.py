"""The console's QMP session against servers that are late, rude, chatty, or gone."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qlaunch.errors import CommandError, MonitorError
from qlaunch.run.wire import BusyError, Wire

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
Serve = Callable[[socket.socket, dict[str, Any]], None]


@contextmanager
def wire_to(serve: Serve, greeting: bytes = GREETING, heard: list[Any] | None = None) -> Iterator[Wire]:
    """A session with a server that answers each command by a function; closing its end when that raises EOFError."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        with theirs, theirs.makefile("rb") as lines:
            theirs.sendall(greeting)
            for line in lines:
                request = json.loads(line)
                try:
                    (say if request["execute"] == "qmp_capabilities" else serve)(theirs, request)
                except (EOFError, BrokenPipeError, ConnectionResetError):
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with Wire(ours, hear=(heard if heard is not None else []).append) as wire:
            wire.start(0.5)
            yield wire
    finally:
        ours.close()
        thread.join()


def say(connection: socket.socket, request: dict[str, Any], answer: object = None) -> None:
    connection.sendall(json.dumps({"return": answer, "id": request["id"]}).encode() + b"\r\n")


def test_events_between_the_bytes_of_an_answer_harm_nothing() -> None:
    def serve(connection: socket.socket, request: dict[str, Any]) -> None:
        whole = (
            b'{"event": "STOP", "data": {}}\r\n' + json.dumps({"return": 42, "id": request["id"]}).encode() + b"\r\n"
        )
        for byte in whole:
            connection.sendall(bytes([byte]))

    heard: list[Any] = []
    with wire_to(serve, heard=heard) as wire:
        assert wire.execute("query-status") == 42
    assert [event["event"] for event in heard] == ["STOP"]


def test_an_answer_of_twenty_megabytes_comes_whole() -> None:
    with wire_to(lambda connection, request: say(connection, request, "x" * (20 << 20))) as wire:
        assert wire.execute("query-status") == "x" * (20 << 20)


def test_answers_in_another_order_find_their_questions() -> None:
    waiting: list[dict[str, Any]] = []

    def serve(connection: socket.socket, request: dict[str, Any]) -> None:
        waiting.append(request)
        if len(waiting) == 2:
            for one in reversed(waiting):
                say(connection, one, one["execute"])

    got: dict[str, object] = {}
    with wire_to(serve) as wire:
        threads = [threading.Thread(target=lambda name=name: got.update({name: wire.execute(name)})) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {"a": "a", "b": "b"}


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    late: list[dict[str, Any]] = []

    def serve(connection: socket.socket, request: dict[str, Any]) -> None:
        if request["execute"] == "slow":
            late.append(request)
            return
        say(connection, late[0], "late")
        say(connection, request, "right")

    with wire_to(serve) as wire:
        with pytest.raises(MonitorError, match=r"did not answer slow within 0\.05 s"):
            wire.execute("slow", seconds=0.05)
        assert wire.execute("quick") == "right"


def test_a_refusal_is_qemu_s_own_sentence() -> None:
    def serve(connection: socket.socket, request: dict[str, Any]) -> None:
        told = {"error": {"class": "GenericError", "desc": "no such thing"}, "id": request["id"]}
        connection.sendall(json.dumps(told).encode() + b"\r\n")

    with wire_to(serve) as wire, pytest.raises(CommandError, match="QEMU refused x: no such thing"):
        wire.execute("x")


@pytest.mark.parametrize("garbage", [b"\x00\xff}{\r\n", b"[1]\r\n", b'"text"\r\n', b"\r\n"])
def test_garbage_ends_the_session_and_is_told(garbage: bytes) -> None:
    with wire_to(lambda connection, _: connection.sendall(garbage)) as wire:
        with pytest.raises(MonitorError, match="ended during x"):
            wire.execute("x")
        wire.wait_for_end()
        assert wire.garbage


def test_a_hang_up_in_the_middle_of_an_answer_ends_the_session() -> None:
    def serve(connection: socket.socket, _: dict[str, Any]) -> None:
        connection.sendall(b'{"return": [1, 2')
        raise EOFError

    ended = threading.Event()
    with wire_to(serve) as wire:
        wire.on_end = ended.set
        with pytest.raises(MonitorError, match="ended during x"):
            wire.execute("x")
        assert ended.wait(5)
        with pytest.raises(MonitorError):
            wire.execute("y")


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b"[]\r\n", b'{"error": "not up yet"}\n', b"\xff\r\n"])
def test_a_greeting_of_something_else_is_told(greeting: bytes) -> None:
    with pytest.raises(MonitorError, match="monitor|not up yet"), wire_to(say, greeting):
        pass


def test_a_monitor_that_is_busy_is_told_from_one_that_is_gone() -> None:
    with pytest.raises(BusyError, match="did not open its monitor"), wire_to(say, b""):
        pass


def test_ten_thousand_commands_and_a_hundred_thousand_events_leave_the_memory_flat() -> None:
    import tracemalloc

    event = b'{"event": "RTC_CHANGE", "data": {"offset": 1}, "timestamp": {"seconds": 1, "microseconds": 1}}\r\n' * 10

    def serve(connection: socket.socket, request: dict[str, Any]) -> None:
        connection.sendall(event)
        say(connection, request, {})

    class Counted(list[Any]):
        heard = 0

        def append(self, _: object) -> None:
            Counted.heard += 1

    sizes = []
    tracemalloc.start()
    try:
        with wire_to(serve, heard=Counted()) as wire:
            for number in range(10_000):
                wire.execute("query-status")
                if number % 1000 == 999:
                    sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert Counted.heard == 100_000
    assert sizes[-1] - sizes[1] < 100_000
