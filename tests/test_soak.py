"""Memory that stays flat over 10,000 commands and 100,000 events, and answers of 20 MB.

Whatever is kept of each command or event would cost megabytes in half of a run; the bound is one.
"""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from qlaunch.devices.monitor import PEOPLE
from qlaunch.duty import Duty
from qlaunch.run.loop import run_in_trio
from qlaunch.run.qmp import open_monitor
from tests.fakes.qmp import GREETING, FakeQmp, agree, serve_qmp
from tests.live import DEAF, PATIENCE_S, Desk
from tests.test_guest import a_running_machine

COMMANDS, EVENTS, BATCH = 10_000, 100_000, 1000
FLAT_KIB = 1024
BIG = 20 << 20
EVENT = b'{"event":"RTC_CHANGE","data":{"offset":1},"timestamp":{"seconds":1,"microseconds":1}}\r\n'


def memory_kib(pid: int | str = "self") -> int:
    """The memory of a process that is its own, not a file's."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def assert_flat(sizes: list[int]) -> None:
    """No growth in the second half."""
    assert sizes[-1] - sizes[len(sizes) // 2] < FLAT_KIB, sizes


class Console:
    """A console with its ends in pipes."""

    def __init__(self, desk: Desk, *words: str) -> None:
        command = [sys.executable, "-m", "qlaunch", "console", *words, "-p"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=desk.folder, env=desk.environment, stdin=pipe, stdout=pipe)

    def ask(self, line: str, times: int) -> None:
        """Ask the same many times, and read as many answers."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line}\n".encode() * times)
        self.process.stdin.flush()
        for _ in range(times):
            assert self.process.stdout.readline().startswith((b"{", b"[")), line

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=PATIENCE_S)


@pytest.mark.qemu
def test_ten_thousand_commands_leave_both_consoles_and_the_supervisor_as_they_were(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    supervisor = desk.record("deaf")["supervisor"]["pid"]
    with Console(desk, "deaf") as first, Console(desk, "deaf") as second:
        first.ask("query-status", 1)
        pids = (first.process.pid, second.process.pid, supervisor)
        sizes: list[list[int]] = []
        # The second one shares the supervisor's session, which hears of each stop and cont too.
        for _ in range(COMMANDS // BATCH):
            for console in (first, second):
                console.ask("query-status", BATCH - 2)
                console.ask("stop", 1)
                console.ask("cont", 1)
            sizes.append([memory_kib(pid) for pid in pids])
    for column in zip(*sizes, strict=True):
        assert_flat(list(column))
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


@pytest.mark.qemu
def test_a_dump_of_twenty_megabytes_through_the_supervisor_leaves_its_session_whole(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    with Console(desk, "deaf") as first:
        first.ask("query-status", 1)
        done = desk.qlaunch("console", "deaf", "-c", "hmp xp /3000000xb 0")
        assert "shares the supervisor's session" in done.stderr
        assert len(done.stdout) > BIG
        assert done.stdout.splitlines()[-1].startswith("00000000002dc6")
    assert "deaf: running" in desk.qlaunch("status", "deaf").stdout
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


def test_a_hundred_thousand_events_leave_the_supervisors_session_as_it_was(tmp_path: Path) -> None:
    async def answer(connection: FakeQmp, request: dict[str, object]) -> None:
        await connection.stream.send_all(EVENT * BATCH)
        await agree(connection, request)

    async def run() -> list[int]:
        sizes = []
        path = tmp_path / "qmp.sock"
        async with serve_qmp(path, answer), open_monitor(str(path), greeting_s=60, answer_s=60) as monitor:
            for _ in range(EVENTS // BATCH):
                await monitor.execute("query-status")
                for _ in range(BATCH):
                    await monitor.event()
                sizes.append(memory_kib())
        return sizes

    assert_flat(run_in_trio(run))


Answer = Callable[[socket.socket, object], None]


@contextmanager
def a_monitor_for_people(duty: Duty, answer: Answer) -> Iterator[None]:
    """A fake QEMU's second socket, for one console."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(duty.socket(PEOPLE))
    listener.listen()

    def serve() -> None:
        session = listener.accept()[0]
        with session, session.makefile("rb") as lines:
            session.sendall(msgspec.json.encode(GREETING) + b"\n")
            for line in lines:
                request = msgspec.json.decode(line)
                if request["execute"] == "qmp_capabilities":
                    session.sendall(msgspec.json.encode({"return": {}, "id": request["id"]}) + b"\n")
                    session.sendall(EVENT)
                else:
                    answer(session, request["id"])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)
        listener.close()


def test_a_hundred_thousand_events_leave_a_console_that_talks_as_it_was(desk: Desk) -> None:
    def answer(session: socket.socket, number: object) -> None:
        session.sendall(EVENT * (EVENTS // COMMANDS) + msgspec.json.encode({"return": {}, "id": number}) + b"\n")

    sizes = []
    with a_monitor_for_people(a_running_machine(desk), answer), Console(desk, "fake") as console:
        for _ in range(COMMANDS // BATCH):
            console.ask("query-status", BATCH)
            sizes.append(memory_kib(console.process.pid))
    assert_flat(sizes)


def test_an_answer_of_twenty_megabytes_goes_through_a_piped_console_whole(desk: Desk) -> None:
    def answer(session: socket.socket, number: object) -> None:
        session.sendall(msgspec.json.encode({"return": {"it": "x" * BIG}, "id": number}) + b"\n")

    with a_monitor_for_people(a_running_machine(desk), answer):
        assert desk.qlaunch("console", "fake", "-p", typed="query-status").stdout == f'{{"it":"{"x" * BIG}"}}\n'
