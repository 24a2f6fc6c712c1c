"""What becomes of a started QEMU and of the host when the supervisor itself fails."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from qlaunch.errors import HostError, MonitorError, RestoreError
from qlaunch.run import launch, loop, process, session
from qlaunch.run.folder import Record, RunFolder
from qlaunch.run.hotplug import _held_nodes
from qlaunch.run.launch import Running
from qlaunch.run.pinning import pin_threads
from qlaunch.run.process import ProcessId, identify
from qlaunch.run.session import _supervise, undo_dead
from qlaunch.run.signals import EarlySignals
from qlaunch.run.tasks import Tasks
from qlaunch.run.timings import Clock
from qlaunch.run.voice import Voice
from tests.fakes.running import FakeRunning


class NoChanges:
    """Notes that the host was given back."""

    undone = False

    def undo(self) -> None:
        self.undone = True


class Stage:
    """A process in the place of QEMU, and a supervisor that makes a mistake."""

    def __init__(self, folder: Path) -> None:
        self.changes = NoChanges()
        self._folder = RunFolder(f"{folder}/run/m")
        self._folder.claim()
        self._voice = Voice(f"{folder}/log")
        self._qemu = subprocess.Popen(["tail", "-f", "/dev/null"])
        self.process = identify(self._qemu.pid)
        self._pidfd = os.pidfd_open(self._qemu.pid)

    def fail(self, *, is_child: bool) -> None:
        duty = FakeRunning().duty([])
        running = Running(
            folder=self._folder,
            record=Record(supervisor=identify(os.getpid()), qemu=self.process, duty=duty),
            process=self.process,
            pidfd=self._pidfd,
            is_child=is_child,
            changes=cast("Any", self.changes),
            clock=Clock(),
        )
        _supervise(running, self._voice, EarlySignals(), Tasks())

    def end(self) -> None:
        self._qemu.kill()
        self._qemu.wait()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.end()


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the collector was told to look at nothing of what is there: it is not to be told so of all tests."""
    told: list[str] = []
    monkeypatch.setattr("gc.freeze", lambda: told.append("freeze"))
    return told


@pytest.fixture
def scopes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machines whose empty scopes were ended."""
    ended: list[str] = []
    for module in (launch, session):
        monkeypatch.setattr(module, "end_empty_scope", ended.append)
    return ended


@pytest.fixture
def mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_in_trio(_act: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(loop, "run_in_trio", run_in_trio)


@pytest.mark.parametrize("is_child", [False, True])
def test_a_supervisor_that_cannot_be_imported_ends_what_it_started_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, is_child: bool
) -> None:
    monkeypatch.setitem(sys.modules, "qlaunch.run.supervisor", None)
    with pytest.raises(ImportError):
        stage.fail(is_child=is_child)
    assert (stage.process.is_alive(), stage.changes.undone) == (not is_child, is_child)


@pytest.mark.usefixtures("mistake")
@pytest.mark.parametrize("is_child", [False, True])
def test_a_mistake_ends_a_guest_that_never_ran_and_leaves_one_that_runs(stage: Stage, *, is_child: bool) -> None:
    with pytest.raises(ZeroDivisionError):
        stage.fail(is_child=is_child)
    assert (stage.process.is_alive(), stage.changes.undone) == (not is_child, is_child)


@pytest.mark.usefixtures("mistake")
def test_what_was_imported_is_not_looked_through_for_garbage(stage: Stage, frozen: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        stage.fail(is_child=True)
    assert frozen == ["freeze"]


@pytest.mark.usefixtures("mistake")
@pytest.mark.parametrize("is_child", [False, True])
def test_a_mistake_after_the_end_of_qemu_gives_the_host_back(
    stage: Stage, scopes: list[str], *, is_child: bool
) -> None:
    stage.end()
    with pytest.raises(ZeroDivisionError):
        stage.fail(is_child=is_child)
    assert stage.changes.undone
    assert scopes == ["m"]


def test_what_the_dead_left_is_undone_with_the_scope_of_their_qemu(
    tmp_path: Path, scopes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object) -> None:
        raise RestoreError("the host is not as it was")

    record = Record(supervisor=ProcessId(1, 1), duty=FakeRunning().duty([]))
    monkeypatch.setattr(session, "undo_left", fail)
    with pytest.raises(RestoreError):
        undo_dead(RunFolder(f"{tmp_path}/m"), record, print)
    assert scopes == ["m"]


def test_a_qemu_that_ends_while_it_is_looked_at_is_told(stage: Stage) -> None:
    stage.end()
    pins = FakeRunning().duty([]).pins
    with pytest.raises(MonitorError, match="ended while its threads were pinned"):
        pin_threads(stage.process.pid, type(pins)(emulator="0"), {}, {})
    with pytest.raises(HostError, match="cannot see what QEMU"):
        _held_nodes(stage.process.pid)


@pytest.mark.usefixtures("mistake")
def test_a_qemu_that_does_not_end_is_told_after_a_while(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (process, launch):
        monkeypatch.setattr(module, "KILLED_S", 0.1)
    monkeypatch.setattr(ProcessId, "send", lambda *_words: None)  # as where it is inside the kernel
    with pytest.raises(HostError, match="was killed and does not end"):
        process.end_process(stage.process)
    with pytest.raises(HostError, match="was killed and does not end"):
        stage.fail(is_child=True)
    assert not stage.changes.undone  # it holds what would be given back


def test_a_signal_is_for_the_very_process(stage: Stage) -> None:
    ProcessId(stage.process.pid, stage.process.start + 1).send(cast("Any", 9))
    assert stage.process.is_alive()
