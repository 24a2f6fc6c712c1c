"""The console over a real QEMU: by hand in a terminal, and from scripts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.live import DEAF, PATIENCE_S, Desk
from tests.terminal import Terminal

pytestmark = pytest.mark.qemu


@pytest.fixture
def up(desk: Desk) -> Iterator[Desk]:
    """A desk on which the machine ``deaf`` runs."""
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    yield desk
    desk.qlaunch("down", "--force", "deaf", expect=None)


def at_the_prompt(desk: Desk, *words: str, columns: int = 80) -> Terminal:
    terminal = Terminal("console", "deaf", *words, cwd=desk.folder, env=desk.environment, columns=columns)
    terminal.wait_for("deaf>")
    return terminal


def test_scripts_get_json_and_a_status(up: Desk) -> None:
    assert up.qlaunch("console", "deaf", "-p", "-c", "query-name").stdout == '{"name":"deaf"}\n'
    assert '\n  "name"' in up.qlaunch("console", "deaf", typed="# a remark\n\nquery-name").stdout
    refused = up.qlaunch("console", "deaf", typed="nonsense\nquery-name\n", expect=6)
    assert refused.stdout == ""
    assert "QEMU refused nonsense: The command nonsense has not been found" in refused.stderr
    assert "deaf" in up.qlaunch("console", "deaf", "-k", typed="nonsense\nquery-name\n", expect=6).stdout
    up.qlaunch("console", "deaf", typed="stop now", expect=2)
    up.qlaunch("console", "deaf", typed="transaction(\n", expect=2)
    assert "aborted" in up.qlaunch("console", "deaf", typed="transaction(\n  abort\n)\n", expect=6).stderr
    assert up.qlaunch("console", "deaf", "-H", "-c", "info name").stdout == "deaf\n"
    up.qlaunch("console", "deaf", typed="")
    up.qlaunch("console", "deaf", "--watch", "-c", "stop", expect=2)
    quiet = up.qlaunch("console", "deaf", "--log", "log", "-c", "query-name")
    assert "qmp_capabilities" not in quiet.stderr
    assert '<- {"return": {"name": "deaf"}' in (up.folder / "log").read_text()
    assert "qmp_capabilities" in up.qlaunch("console", "deaf", "-v", "--log", "log", "-c", "query-name").stderr
    assert (up.folder / "log").read_text().count('-> {"execute":"query-name"') == 2
    assert "cannot write" in up.qlaunch("console", "deaf", "--log", "no/log", "-c", "query-name", expect=3).stderr


def test_garbage_that_is_piped_in_is_refused_in_words(up: Desk) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qlaunch", "console", "deaf"],
        cwd=up.folder,
        env={**up.environment, "PYTHONUTF8": "1"},
        input=bytes(range(128, 256)) + b"\x00\n",
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode in (2, 6)
    assert b"Traceback" not in done.stderr
    assert b"error: " in done.stderr


def test_help_explains_a_command_from_qemu_s_schema(up: Desk) -> None:
    told = up.qlaunch("console", "deaf", "-c", "help blockdev-add driver=qcow2").stdout
    assert "cluster" not in told.splitlines()[0]
    assert told.startswith("blockdev-add driver=… file=…")
    assert "lazy-refcounts" in told
    assert "discard                  may be left out; ignore|unmap" in told
    near = up.qlaunch("console", "deaf", "-c", "help query-statu", expect=2)
    assert "no QMP command 'query-statu'" in near.stderr


def test_names_arguments_values_and_devices_complete(up: Desk) -> None:
    with at_the_prompt(up) as terminal:
        for keys, offer in [
            ("query-stat", "query-status"),
            ("blockdev-add dri", "driver="),
            ("blockdev-add driver=qco", "qcow2"),
            ("blockdev-add driver=qcow2 cache.", "no-flush="),
            ("device_add driver=virtio-rng", "virtio-rng-pci"),
            ("device_add driver=virtio-rng-pci max-b", "max-bytes="),
            ("device_del id=pan", "panic0"),
            ("qom-get path=/machine/peripheral/pan", "/machine/peripheral/panic0"),
            ("qom-get path=/machine/peripheral/panic0 property=", "type"),
            ("hmp info ver", "show the version of QEMU"),
            ("events BLOCK_IO", "BLOCK_IO_ERROR"),
            ("transaction(\rblockdev-b", "blockdev-backup"),
        ]:
            terminal.type(keys)
            terminal.wait_for(offer)
            terminal.type("\x03")
            terminal.wait_for("deaf>")
        terminal.type("\x04")
        assert terminal.end() == 0


def test_events_are_told_above_the_prompt_and_can_be_chosen(up: Desk) -> None:
    with at_the_prompt(up) as terminal:
        terminal.type("system_reset\r")
        terminal.wait_for("RESET: the guest was reset from outside")
        terminal.type("stop\r")
        terminal.wait_for("STOP")
        terminal.type("events RES*\r")
        terminal.wait_for("deaf>")
        terminal.type("cont\r")
        assert "STOP" not in terminal.wait_for("RESUME")
        terminal.type("exit\r")
        assert terminal.end() == 0


def test_a_long_answer_is_folded_and_more_shows_it_whole(up: Desk) -> None:
    with at_the_prompt(up) as terminal:
        terminal.type("query-commands\r")
        assert len(terminal.wait_for("more lines: more").splitlines()) < 40
        assert "\x1b[34m" in terminal.raw
        terminal.type("more\r")
        assert terminal.wait_for('"query-status"').count("\n") > 60
        terminal.type("exit\r")
        assert terminal.end() == 0


def test_history_is_kept_and_searched_and_is_for_its_owner_alone(up: Desk) -> None:
    with at_the_prompt(up) as terminal:
        terminal.type("query-uuid\r")
        terminal.wait_for("UUID")
        terminal.type("exit\r")
        assert terminal.end() == 0
    with at_the_prompt(up) as terminal:
        terminal.type("\x12uui")
        terminal.wait_for("query-uuid")
        terminal.type("\r\r")
        terminal.wait_for("UUID")
        terminal.type("\x04")
        assert terminal.end() == 0
    assert (up.state / ".console-history").stat().st_mode & 0o777 == 0o600


def test_quit_asks_back_and_ends_the_machine_at_the_second_time(up: Desk) -> None:
    with at_the_prompt(up) as terminal:
        terminal.type("quit\r")
        terminal.wait_for("say it again")
        terminal.type("quit\r")
        assert terminal.end() == 0
    assert "deaf                 off" in up.qlaunch("list").stdout


@pytest.mark.parametrize("columns", [20, 80])
def test_a_qemu_that_dies_under_the_prompt_is_told_and_ends_it_with_status_6(up: Desk, columns: int) -> None:
    with at_the_prompt(up, columns=columns) as terminal:
        os.kill(up.record("deaf")["qemu"]["pid"], signal.SIGKILL)
        assert terminal.end() == 6
        told = terminal.raw.replace("\r\n", " ")
        assert "deaf is gone: QEMU died without a word" in told


def test_a_machine_that_is_ended_elsewhere_ends_the_prompt_and_says_why(up: Desk) -> None:
    with at_the_prompt(up) as first, at_the_prompt(up) as second:
        assert "shares the supervisor's session" in second.screen.text
        up.qlaunch("down", "deaf", "--force")
        for terminal in (first, second):
            assert terminal.end() == 6
            assert "deaf is gone: it was ended" in terminal.raw


def test_two_consoles_both_hear_and_both_are_answered(up: Desk) -> None:
    with at_the_prompt(up) as first, at_the_prompt(up) as second:
        second.type("query-name\r")
        second.wait_for('"deaf"')
        second.type("nonsense\r")
        second.wait_for("QEMU refused nonsense: The command nonsense has not been found")
        first.type("stop\r")
        first.wait_for("STOP")
        second.wait_for("STOP")
        assert '"paused"' in up.qlaunch("console", "deaf", "-c", "query-status").stdout
        for terminal in (first, second):
            terminal.type("\x04")
            assert terminal.end() == 0
    assert "shares" not in up.qlaunch("console", "deaf", "-c", "query-status").stderr


def test_a_second_console_without_a_supervisor_waits_for_the_first(up: Desk) -> None:
    os.kill(up.record("deaf")["supervisor"]["pid"], signal.SIGKILL)
    with at_the_prompt(up) as first:
        second = Terminal("console", "deaf", "-c", "query-name", cwd=up.folder, env=up.environment)
        with second:
            second.wait_for("no supervisor is there to share with")
            first.type("\x04")
            assert first.end() == 0
            assert second.end() == 0
            assert '"deaf"' in second.raw


def test_watching_gives_events_as_json_to_a_pipe(up: Desk) -> None:
    watch = subprocess.Popen(
        [sys.executable, "-m", "qlaunch", "console", "deaf", "--watch", "-e", "STOP", "-v"],
        cwd=up.folder,
        env=up.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stderr
    assert watch.stdout
    assert "qmp_capabilities" in watch.stderr.readline()
    assert "return" in watch.stderr.readline()
    up.qlaunch("pause", "deaf")
    assert '"event":"STOP"' in watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=PATIENCE_S)
    assert watch.returncode == 130


def test_a_window_that_closes_ends_the_console_and_nothing_else(up: Desk) -> None:
    with at_the_prompt(up) as terminal:
        terminal.hang_up()
        terminal.process.wait(PATIENCE_S)
    up.qlaunch("console", "deaf", "-c", "query-status")
