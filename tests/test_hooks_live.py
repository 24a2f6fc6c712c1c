"""Hooks and helpers beside a real QEMU: each at its moment, and none left, whoever dies and when."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qlaunch.steps.marked import find_marked
from tests.live import DEAF, PATIENCE_S, Desk

pytestmark = pytest.mark.qemu

# Binds the socket that it is given and notes this; stays until it is ended.
SERVES = """#!/bin/sh
exec {python} -c '
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: (note(sys.argv[3] + " ended"), os._exit(0)))
def note(text): open(sys.argv[1], "a").write(text + "\\n")
note(sys.argv[3] + " started")
if sys.argv[2] != "-":
    socket.socket(socket.AF_UNIX).bind(sys.argv[2])
while True: signal.pause()
' "$@"
"""
KILLS_ITS_SUPERVISOR = "kill -9 $PPID"


class Companions:
    """A machine with a hook, a helper that QEMU waits for and one that it does not; each notes what it does."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.notes = desk.folder / "notes"
        self.serves = desk.folder / "serves"
        self.serves.write_text(SERVES.replace("{python}", sys.executable))
        self.serves.chmod(0o755)

    def sidecar(self, name: str, socket: str = "-", more: str = "") -> str:
        argv = [str(self.serves), str(self.notes), socket, name]
        ready = f'socket = "{socket}"\n' if socket != "-" else ""
        return f"[[sidecar]]\ncommand = {argv}\n{ready}{more}\n"

    def hook(self, start: str = "", stop: str = "") -> str:
        note = "echo {} >> " + str(self.notes)
        first = ["sh", "-c", f"{note.format('hook started')}; {start}"]
        last = ["sh", "-c", f"{note.format('hook stopped')}; {stop}"]
        return f"[[hook]]\nstart = {first}\nstop = {last}\n"

    def text(self, *sections: str) -> str:
        return DEAF + "".join(
            sections or (self.hook(), self.sidecar("first", f"{self.desk.folder}/s"), self.sidecar("second"))
        )

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def running(self, number: int, name: str = "m") -> list[int]:
        return find_marked(f"QLAUNCH_SIDECAR={self.desk.runtime}/{name}/sidecar{number}-serves")

    def assert_gone(self) -> None:
        assert self.running(0) == self.running(1) == []
        self.desk.assert_clean()


@pytest.fixture
def companions(desk: Desk) -> Companions:
    return Companions(desk)


def until(condition: Callable[[], object]) -> None:
    """Look until it holds: what processes do tells nobody."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


def test_each_comes_at_its_moment_and_goes_in_reverse(companions: Companions) -> None:
    desk = companions.desk
    desk.machine("m", companions.text())
    said = desk.qlaunch("up", "m", "--detach").stderr
    assert said.index("sidecar0-serves is ready") < said.index("the guest runs")
    assert companions.noted()[:2] == ["hook started", "first started"]
    until(lambda: len(companions.noted()) == 3)
    qemu = Path(f"/proc/{desk.record('m')['qemu']['pid']}/stat").read_text().split()[21]
    assert [len(companions.running(number)) for number in (0, 1)] == [1, 1]
    started = Path(f"/proc/{companions.running(0)[0]}/stat").read_text().split()[21]
    assert int(started) <= int(qemu)
    desk.qlaunch("down", "m")
    notes = companions.noted()
    assert notes.index("second ended") < notes.index("first ended")
    assert sorted(notes) == sorted(
        ["hook started", "first started", "second started", "second ended", "first ended", "hook stopped"]
    )
    companions.assert_gone()


def test_a_hook_hears_which_machine_it_is_for(companions: Companions) -> None:
    desk = companions.desk
    tell = f'echo "$QLAUNCH_MACHINE $QLAUNCH_HOOK $MORE" >> {companions.notes}'
    desk.machine("m", companions.text(companions.hook(tell, tell) + 'environment = { MORE = "and more" }\n'))
    desk.qlaunch("up", "m", "--detach")
    desk.qlaunch("down", "m")
    assert companions.noted() == ["hook started", "m start and more", "hook stopped", "m stop and more"]


def test_a_hook_that_fails_ends_the_start_and_its_way_back_is_run(companions: Companions) -> None:
    desk = companions.desk
    desk.machine("m", companions.text(companions.hook("echo no display >&2; exit 3")))
    refused = desk.qlaunch("up", "m", expect=3)
    assert "no display" in refused.stderr
    assert companions.noted() == ["hook started", "hook stopped"]
    companions.assert_gone()


def test_a_hook_that_hangs_is_killed_with_what_it_started(companions: Companions) -> None:
    desk = companions.desk
    desk.machine(
        "m",
        companions.text(companions.hook(f"sleep 600 {desk.folder} 2>/dev/null & sleep 86399; :") + "timeout_s = 0.5\n"),
    )
    refused = desk.qlaunch("up", "m", expect=3)
    assert "had not ended after 0.5 s, and was killed" in refused.stderr
    assert companions.noted() == ["hook started", "hook stopped"]
    companions.assert_gone()


def test_a_hook_whose_way_back_fails_is_exit_4_until_it_works(companions: Companions) -> None:
    desk = companions.desk
    broken = desk.folder / "broken"
    broken.touch()
    desk.machine("m", companions.text(companions.hook(stop=f"test ! -e {broken}")))
    desk.qlaunch("up", "m", "--detach")
    left = desk.qlaunch("down", "m", expect=4)
    assert "try again: qlaunch recover m" in left.stderr
    broken.unlink()
    desk.qlaunch("recover", "m")
    assert companions.noted() == ["hook started", "hook stopped", "hook stopped"]
    companions.assert_gone()


@pytest.mark.parametrize("socket", [True, False])
def test_a_helper_that_cannot_be_started_ends_the_start(companions: Companions, *, socket: bool) -> None:
    desk = companions.desk
    broken = '[[sidecar]]\ncommand = ["sh", "-c", "echo no such port; exit 1"]\n'
    broken = f'{broken}socket = "{desk.folder}/t"\n' if socket else '[[sidecar]]\ncommand = ["nothing-like-it"]\n'
    desk.machine("m", companions.text(companions.hook(), companions.sidecar("first", f"{desk.folder}/s"), broken))
    refused = desk.qlaunch("up", "m", expect=3)
    assert ("no such port" if socket else "nothing-like-it is not installed") in refused.stderr
    assert "first ended" in companions.noted()
    assert "hook stopped" in companions.noted()
    companions.assert_gone()


def test_a_helper_that_dies_is_told_and_started_again(companions: Companions) -> None:
    desk = companions.desk
    desk.machine("m", companions.text(companions.sidecar("only", more='restart = "on-failure"')))
    up = desk.up("m")
    desk.hear(up, "the guest runs")
    until(lambda: companions.noted() == ["only started"])
    os.kill(companions.running(0)[0], signal.SIGKILL)
    desk.hear(up, r"sidecar0-serves has ended \(ended by SIGKILL\); it is started again")
    until(lambda: companions.noted() == ["only started"] * 2)
    desk.qlaunch("down", "m")
    assert up.wait() == 0
    companions.assert_gone()


def test_helpers_outlive_their_supervisor_and_are_taken_over(companions: Companions) -> None:
    desk = companions.desk
    first, second = companions.sidecar("first", f"{desk.folder}/s"), companions.sidecar("second")
    third = companions.sidecar("third", more='restart = "always"')
    desk.machine("m", companions.text(first, second, third))
    desk.qlaunch("up", "m", "--detach")
    until(lambda: len(companions.noted()) == 3)
    before = [companions.running(number) for number in range(3)]
    os.kill(desk.record("m")["supervisor"]["pid"], signal.SIGKILL)
    for number in (1, 2):  # while nobody watches
        os.kill(before[number][0], signal.SIGKILL)
    said = desk.qlaunch("up", "m", "--detach").stderr
    assert "taking over QEMU" in said
    until(lambda: companions.running(2))
    assert companions.running(0) == before[0]
    assert companions.running(1) == []  # its policy is that it stays away
    desk.qlaunch("down", "m")
    assert companions.running(2) == []
    companions.assert_gone()


@pytest.mark.parametrize("verb", ["recover", "up", "down"])
@pytest.mark.parametrize("moment", ["hook", "first", "second", "both"])
def test_a_kill_at_each_moment_of_the_start_leaves_nothing(companions: Companions, moment: str, verb: str) -> None:
    desk = companions.desk
    once = f"mkdir {desk.folder}/once 2>/dev/null && {KILLS_ITS_SUPERVISOR}; true; "
    kill = [f'[[sidecar]]\ncommand = ["sh", "-c", "{once} exec sleep 600 {desk.folder}"]\n' for _ in range(2)]
    sections = {
        "hook": [companions.hook(once), companions.sidecar("first", f"{desk.folder}/s")],
        "first": [companions.hook(), f'{kill[0]}socket = "{desk.folder}/s"\n'],
        "second": [companions.hook(), companions.sidecar("first", f"{desk.folder}/s"), kill[1]],
        "both": [companions.hook(), companions.sidecar("first", f"{desk.folder}/s"), companions.sidecar("second")],
    }[moment]
    desk.machine("m", companions.text(*sections))
    desk.qlaunch("up", "m", "--detach", expect=0 if moment == "both" else None)
    record = desk.record("m")
    if moment == "both":
        os.kill(record["supervisor"]["pid"], signal.SIGKILL)
        os.kill(record["qemu"]["pid"], signal.SIGKILL)
    until(lambda: not Path(f"/proc/{record['supervisor']['pid']}/cwd").exists() or moment != "both")
    if verb == "up" and moment == "first":  # it never makes its socket: not a machine that can come up
        verb = "recover"
    if verb == "recover" and moment != "both" and record.get("running"):  # the helper was slower than the guest
        verb = "down"
    desk.qlaunch(verb, "m", *(["--detach"] if verb == "up" else []))
    if verb == "up":
        desk.qlaunch("down", "m")
    notes = companions.noted()
    assert notes.count("hook stopped") == notes.count("hook started")
    companions.assert_gone()


def test_a_kill_while_the_way_back_is_run_is_made_good(companions: Companions) -> None:
    desk = companions.desk
    once = f"mkdir {desk.folder}/once 2>/dev/null && {KILLS_ITS_SUPERVISOR}; true"
    desk.machine("m", companions.text(companions.hook(stop=once), companions.sidecar("first", f"{desk.folder}/s")))
    desk.qlaunch("up", "m", "--detach")
    desk.qlaunch("down", "m", expect=None)
    desk.qlaunch("recover", expect=0)
    assert companions.noted().count("hook stopped") >= 1
    companions.assert_gone()
