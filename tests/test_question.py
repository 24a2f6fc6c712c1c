"""`console NAME -c query-…`: its short way says what the long one says, and imports next to nothing."""

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from qlaunch.cli import question
from qlaunch.cli.parser import parse
from qlaunch.errors import MonitorError
from qlaunch.host.folders import find_folders
from qlaunch.host.runtime import runtime_folder
from qlaunch.run import open_wire
from qlaunch.run.open_wire import LOCK
from qlaunch.run.show import show
from tests.live import DEAF, PATIENCE_S, Desk
from tests.terminal import Terminal

# All that a question may import on top of the interpreter's own start.
LIGHT = {"qlaunch", "qlaunch.cli", "qlaunch.cli.question", "qlaunch.host", "qlaunch.host.runtime", "_socket"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk on which the machine ``deaf`` runs; each test leaves it as it was."""
    desk = Desk(tmp_path_factory.mktemp("d"))
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    yield desk
    desk.qlaunch("down", "--force", "deaf", expect=None)


def imported(desk: Desk, *words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def ways(desk: Desk, *words: str) -> list[tuple[int, str, str]]:
    """Give what the short way and the long one say; -k, which asks for the long one, changes nothing else here."""
    done = [desk.qlaunch("console", "deaf", *more, *words, expect=None) for more in ([], ["-k"])]
    return [(one.returncode, one.stdout, one.stderr) for one in done]


@pytest.mark.qemu
def test_a_question_imports_next_to_nothing(up: Desk) -> None:
    bare = imported(up, "-c", "import runpy")
    words = ["-m", "qlaunch", "console", "deaf", "-c", "query-status"]
    assert imported(up, *words) - bare <= LIGHT
    assert {"msgspec", "argparse", "threading"} <= imported(up, *words, "-k")


def test_how_answers_look_on_a_terminal_is_found_out_without_msgspec(desk: Desk) -> None:
    extra = imported(desk, "-c", "import qlaunch.cli.terminal") - imported(desk, "-c", "import runpy, time")
    assert extra <= LIGHT | {"qlaunch.cli.terminal"}


@pytest.mark.qemu
@pytest.mark.parametrize(
    "words",
    [
        ["-c", "query-status"],
        ["-p", "-c", "query-status"],
        ["-c", "query-name", "-c", "query-block", "--command", "query-pci"],
        ["-c", "query-name", "-c", "query-cpus-fast", "--plain"],
        ["-c", "query-nonsense"],
        ["-c", "query-status", "-H"],
        ["-c", "query-cpu-model-expansion"],  # it wants arguments
        ["-c", "query-qmp-schema"],  # it is long
    ],
    ids=" ".join,
)
def test_the_short_way_says_what_the_long_one_says(up: Desk, words: list[str]) -> None:
    short, long = ways(up, *words)
    assert short == long


@pytest.mark.qemu
@pytest.mark.parametrize("columns", [30, 200])
def test_on_a_terminal_it_is_folded_and_coloured_as_in_the_long_way(up: Desk, columns: int) -> None:
    said = []
    for more in ([], ["-k"]):
        words = ["console", "deaf", *more, "-c", "query-status"]
        with Terminal(*words, cwd=up.folder, env=up.environment, columns=columns) as terminal:
            assert terminal.end() == 0
            said.append(terminal.raw)
    assert said[0] == said[1]
    assert "\x1b[" in said[0]


@pytest.mark.qemu
def test_a_question_beside_an_open_console_says_that_it_shares(up: Desk) -> None:
    with Terminal("console", "deaf", cwd=up.folder, env=up.environment) as terminal:
        terminal.wait_for("deaf>")
        short, long = ways(up, "-c", "query-status")
        terminal.type("\x04")
        assert terminal.end() == 0
    assert short == long
    assert "this one shares the supervisor's session" in short[2]
    assert ways(up, "-c", "query-status")[0][2] == ""


@pytest.mark.qemu
def test_a_machine_without_a_supervisor_is_asked_in_the_long_way(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    os.kill(desk.record("deaf")["supervisor"]["pid"], signal.SIGKILL)
    try:
        short, long = ways(desk, "-p", "-c", "query-name")
        assert short == long == (0, '{"name":"deaf"}\n', "")
    finally:
        desk.qlaunch("down", "--force", "deaf")


@pytest.mark.parametrize(
    "line",
    [
        "console m -c query-status",
        "console -c query-status m -c query-name",
        "console m --plain --command query-status",
        "console -p -c query-status my.machine",
    ],
)
def test_the_short_way_reads_a_command_line_as_the_grammar_does(line: str) -> None:
    options = parse(line.split())
    assert question.read(line.split()) == (options.name, options.command, options.plain)


@pytest.mark.parametrize(
    "line",
    [
        "console m",
        "console m -c",
        "console -c query-status",
        "console m n -c query-status",
        "console m -c quit",
        "console m -c query-status -k",
        "console m -c query-status -c stop",
        "console m -c query-x'y",
        "console m -cquery-status",
        "console ./m.toml -c query-status",
        "console m.toml -c query-status",
        "console .. -c query-status",
        "console -- m -c query-status",
        "console m -w -c query-status",
        "serial m -c query-status",
    ],
)
def test_all_else_is_for_the_long_way(line: str) -> None:
    assert question.read(line.split()) is None


@contextmanager
def supervisor(folder: Path, answer: bytes, *, hangs: bool = False) -> Iterator[list[bytes]]:
    """Listen as the supervisor of the machine ``m`` does, give one answer, and hang up unless told otherwise."""
    (folder / "m").mkdir()
    heard: list[bytes] = []
    leave = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/m/control.sock")
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(answer)
                if hangs:
                    leave.wait(PATIENCE_S)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            leave.set()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "hangs", "printed"),
    [
        (b"1\n\0", False, "1\n"),
        ("“é”\n\0".encode(), True, "“é”\n"),
        (b'{"error":"this is not a request"}\n', False, None),
        (b'{\n  "half', False, None),
        (b"", False, None),
        (b"late", True, None),
        (b"\xff\n\0", False, None),
    ],
)
def test_an_answer_is_printed_whole_or_not_at_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    printed: str | None,
    *,
    hangs: bool,
) -> None:
    monkeypatch.setenv("QLAUNCH_RUNTIME_DIR", str(tmp_path))
    if printed is None:
        monkeypatch.setattr(question, "_ANSWER_S", 0.1)
    with supervisor(tmp_path, answer, hangs=hangs) as heard:
        status = question.ask(["console", "m", "-p", "-c", "query-status", "-c", "query-name"])
    assert status == (None if printed is None else 0)
    assert capsys.readouterr().out == (printed or "")
    asked = b'{"ask":"show","commands":["query-status","query-name"],"width":null,"colour":false}\n'
    assert heard == [asked]


@pytest.mark.parametrize(("uid", "taken"), [(0, True), (1000, True), (1001, False)])
def test_what_another_user_answers_is_not_printed(uid: int, monkeypatch: pytest.MonkeyPatch, *, taken: bool) -> None:
    class Connection:
        def getsockopt(self, *_: int) -> bytes:
            return struct.pack("3i", 4242, uid, 100)

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert question._is_ours(Connection()) is taken  # type: ignore[arg-type]


@pytest.mark.parametrize("only_looks", [True, False])
def test_a_question_is_not_taken_for_a_console_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, only_looks: bool
) -> None:
    path = tmp_path / LOCK
    with path.open("w") as held, path.open("r+") as wanted:
        fcntl.flock(held, fcntl.LOCK_SH)
        let_go = fcntl.LOCK_UN if only_looks else fcntl.LOCK_SH
        monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(held, let_go))
        assert open_wire._is_free(wanted.fileno()) is only_looks


def test_nobody_is_asked_where_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLAUNCH_RUNTIME_DIR", str(tmp_path))
    assert question.ask(["console", "m", "-c", "query-status"]) is None


def answered(folder: Path, *commands: str, value: object = None) -> str:
    async def execute(command: str) -> object:
        return {"asked": command} if value is None else value

    async def ask() -> str:
        return await show(execute, str(folder), commands, None, colour=False)

    return trio.run(ask)


def test_the_supervisor_answers_questions_and_nothing_that_changes_anything(tmp_path: Path) -> None:
    assert answered(tmp_path, "query-a", "query-b") == '{"asked":"query-a"}\n{"asked":"query-b"}\n'
    with pytest.raises(MonitorError, match="more than a question"):
        answered(tmp_path, "query-a", "quit")


@pytest.mark.parametrize("value", ["x" * 100_000, "\ud800"])
def test_the_supervisor_leaves_what_is_long_or_no_json_to_the_console(tmp_path: Path, value: object) -> None:
    with pytest.raises(MonitorError):
        answered(tmp_path, "query-a", value=value)


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("environ", [{}, {"XDG_RUNTIME_DIR": "/run/user/1000"}, {"QLAUNCH_RUNTIME_DIR": "/r"}])
def test_both_ways_look_in_the_same_folder(environ: dict[str, str], uid: int) -> None:
    assert runtime_folder(environ, uid) == find_folders(environ, uid).runtime
