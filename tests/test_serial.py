"""The serial console over a real QEMU and in a real terminal."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qlaunch.run.serial_log import SerialLog, bound
from tests.live import DEAF, DEMO, PATIENCE_S, Desk
from tests.terminal import Terminal


def at_the_port(desk: Desk, *words: str) -> Terminal:
    return Terminal("serial", "demo", *words, cwd=desk.folder, env=desk.environment, columns=120)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk on which the demo machine has printed its report; one boot for all who leave it running."""
    desk = Desk(tmp_path_factory.mktemp("d"))
    try:
        desk.machine("demo", DEMO)
        desk.qlaunch("up", "demo", "--detach")
        with desk.serial("demo") as serial:
            serial.wait_for("end of report")
        yield desk
    finally:
        desk.close()


@pytest.mark.qemu
def test_ctrl_bracket_has_a_menu_and_twice_leaves_the_machine_running(up: Desk) -> None:
    with at_the_port(up, "-n", "0") as terminal:
        assert "end of report" not in terminal.wait_for("Ctrl-] for the menu")
        terminal.type("\x1d")
        terminal.wait_for("q leave")
        terminal.type("b")
        terminal.wait_for("break sent")
        terminal.type("\x1dl")
        terminal.wait_for("log on: demo-serial.log")
        terminal.type("\x1d\x1d")
        assert terminal.end() == 0
    assert "running" in up.qlaunch("list").stdout
    assert (up.folder / "demo-serial.log").exists()


@pytest.mark.qemu
def test_one_types_and_the_others_read(up: Desk) -> None:
    with at_the_port(up) as first:
        first.wait_for("end of report")
        first.wait_for("Ctrl-] for the menu")
        with at_the_port(up) as second:
            second.wait_for("somebody else types at this port")
            second.wait_for("end of report")
            second.wait_for("Ctrl-] for the menu")
            second.type("\x1dq")
            assert second.end() == 0
        first.type("\x1dq")
        assert first.end() == 0


@pytest.mark.qemu
def test_a_port_that_another_program_holds_is_read(up: Desk) -> None:
    with up.serial("demo"):
        with at_the_port(up) as terminal:
            terminal.wait_for("another program is connected to this port")
            terminal.wait_for("end of report")
            terminal.type("\x1dq")
            assert terminal.end() == 0


@pytest.mark.qemu
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_restored_when_the_console_is_killed(up: Desk, number: signal.Signals) -> None:
    with at_the_port(up) as terminal:
        terminal.wait_for("Ctrl-] for the menu")
        terminal.process.send_signal(number)
        assert terminal.end() == 128 + number
        assert "\x1b[?25h" in terminal.raw


@pytest.mark.qemu
def test_who_reads_types_once_the_line_is_free_and_hears_the_end(up: Desk) -> None:
    log = up.folder / "mine.log"
    with at_the_port(up) as first, at_the_port(up, "--log", str(log)) as second:
        first.wait_for("Ctrl-] for the menu")
        second.wait_for("Ctrl-] for the menu")
        first.type("\x1dq")
        assert first.end() == 0
        second.type("r")
        second.wait_for("end of report")
        second.type("q")
        second.wait_for("demo is gone")
        assert second.end() == 0
    assert b"end of report" in log.read_bytes()


@pytest.mark.qemu
def test_a_pipe_types_and_hears_until_qemu_is_killed(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    desk.qlaunch("up", "demo", "--detach")
    pipe = subprocess.Popen(
        [sys.executable, "-m", "qlaunch", "serial", "demo"],
        cwd=desk.folder,
        env=desk.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert pipe.stdout
    while b"end of report" not in (line := pipe.stdout.readline()):
        assert line
    os.kill(desk.record("demo")["qemu"]["pid"], signal.SIGKILL)
    assert b"demo is gone" in pipe.communicate(timeout=PATIENCE_S)[1]
    assert pipe.returncode == 0


@pytest.mark.qemu
def test_a_machine_without_a_serial_port_or_its_log_is_told(desk: Desk) -> None:
    desk.machine("demo", DEAF + "[serial]\nlog = false\n")
    desk.qlaunch("up", "demo", "--detach")
    assert "set serial.log = true" in desk.qlaunch("serial", "demo", expect=3).stderr
    desk.qlaunch("down", "--force", "demo")


def test_the_log_is_bounded_and_its_readers_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    with path.open("wb", buffering=0) as qemu:
        qemu.write(b"old\n" * 100_000)
        with SerialLog(str(path)) as early:
            qemu.write(b"".join(b"line %d\n" % number for number in range(100_000)))
            bound(str(path), keep=100_000)
            assert path.stat().st_blocks * 512 < 150_000
            qemu.write(b"last\n")
            with SerialLog(str(path)) as late:
                assert late.tail(2) == b"line 99999\nlast\n"
                assert late.tail(0) == b""
                assert b"\0" not in late.tail(10**6)
                qemu.write(b"more\n")
                assert late.read() == b"more\n"
                assert late.read() == b""
            assert early.read().endswith(b"last\nmore\n")


def test_a_log_that_is_empty_has_no_tail(tmp_path: Path) -> None:
    (tmp_path / "serial.log").touch()
    with SerialLog(str(tmp_path / "serial.log")) as log:
        assert log.tail(10) == b""
