"""Every kind of change keeps the same promises: as found after an undo, after a failure, and after a kill anywhere."""

import errno
import os
from pathlib import Path

import pytest

from qlaunch.errors import HostError
from qlaunch.journal.engine import HostChanges
from qlaunch.journal.file import Journal
from qlaunch.journal.leases import Leases
from qlaunch.steps import KINDS, kind_named
from qlaunch.steps.kind import Kind
from qlaunch.steps.step import Step
from tests.fakes.host import FakeHost, Killed
from tests.step_cases import CASES

# More changes than any case makes; a case that makes more fails the test that counts them.
MOST_CHANGES = 40
# What the kernel's files answer, and a write that was given up.
ERRORS = [
    *(errno.EBUSY, errno.EIO, errno.ENOSPC, errno.EPERM, errno.EACCES, errno.ENODEV),
    *(errno.EINVAL, errno.EROFS, errno.ETIMEDOUT),
]


class Stage:
    """One host with machines on it, whose journals are real files."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        self.host = CASES[kind].host()
        self.found = state(self.host)
        self.journals: dict[str, Journal] = {}

    def open(self, name: str) -> HostChanges:
        if name in self.journals:
            os.close(self.journals.pop(name)._descriptor)  # as the end of its process does
        (self.folder / name).mkdir(exist_ok=True)
        self.journals[name] = Journal.open(str(self.folder / name), name, "1")
        return HostChanges(self.host, self.journals[name], Leases(str(self.folder), name, "1"), lambda _text: None)

    def up(self, name: str, claims: dict[str, str]) -> None:
        self.open(name).carry_out([Step(kind=self.kind, summary=self.kind, claims=claims, lane="one")])

    def down(self, name: str) -> None:
        assert not self.open(name).undo()
        self.journals.pop(name).close()
        assert not list((self.folder / name).iterdir())


def state(host: FakeHost) -> object:
    """Everything that a host in memory has, apart from what was done to it."""
    return {
        name: repr(sorted(value.items() if isinstance(value, dict) else value))
        for name, value in vars(host).items()
        if isinstance(value, (dict, set)) and name not in ("reactions", "usb_reactions", "programs")
    } | {
        # In which group a process is ends with the process: there is no way back, and none is needed.
        "files": repr(sorted((path, text) for path, text in host.files.items() if not path.endswith("/cgroup"))),
        "functions": repr(host.netlink.functions),
        "states": repr(host.netlink.states),
        "links": repr((host.own_links.links, host.nftables.tables)),
        "units": repr((host.systemd.states, host.systemd.limits)),
    }


@pytest.fixture(params=sorted(KINDS))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    return Stage(tmp_path, request.param)


def test_every_kind_has_a_case() -> None:
    assert sorted(CASES) == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_the_name_that_the_journal_finds_it_by(name: str) -> None:
    kind = kind_named(name)
    assert isinstance(kind, Kind)
    assert kind.name == name


def test_a_step_is_undone_and_undoing_again_changes_nothing(stage: Stage) -> None:
    stage.up("ada", CASES[stage.kind].claims)
    assert len(stage.host.changes) < MOST_CHANGES
    changes = stage.open("ada")
    assert not changes.undo()
    assert state(stage.host) == stage.found
    number = len(stage.host.changes)
    assert not changes.undo()
    assert len(stage.host.changes) == number


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_failure_at_any_change_is_undone(stage: Stage, error: int) -> None:
    for number in range(1, MOST_CHANGES):
        stage.host = CASES[stage.kind].host()

        def fail(count: int, path: str, _text: str, number: int = number) -> None:
            if count == number:
                raise OSError(error, os.strerror(error), path)

        stage.host.fail = fail
        try:
            stage.up("ada", CASES[stage.kind].claims)
        except HostError:
            stage.down("ada")
            assert state(stage.host) == stage.found, number
        else:
            stage.host.fail = lambda *_: None
            stage.down("ada")
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_change_of_the_way_there_is_undone(stage: Stage, after: bool) -> None:  # noqa: FBT001
    for number in range(1, MOST_CHANGES):
        stage.host = CASES[stage.kind].host()
        kill_at(stage.host, number, after=after)
        try:
            stage.up("ada", CASES[stage.kind].claims)
        except Killed:
            stage.down("ada")
            assert state(stage.host) == stage.found, number
        else:
            kill_at(stage.host, 0, after=after)
            stage.down("ada")
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_change_of_the_way_back_is_undone(stage: Stage, after: bool) -> None:  # noqa: FBT001
    for number in range(1, MOST_CHANGES):
        stage.host = CASES[stage.kind].host()
        stage.up("ada", CASES[stage.kind].claims)
        kill_at(stage.host, len(stage.host.changes) + number, after=after)
        try:
            stage.down("ada")
        except Killed:
            stage.down("ada")
            assert state(stage.host) == stage.found, number
        else:
            assert state(stage.host) == stage.found
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("order", [("ada", "bob"), ("bob", "ada")], ids="-then-".join)
def test_two_machines_leave_in_any_order(stage: Stage, order: tuple[str, ...]) -> None:
    case = CASES[stage.kind]
    if case.second is None:
        stage.up("ada", case.claims)
        with pytest.raises(HostError):
            stage.up("bob", case.claims)
        return
    stage.up("ada", case.claims)
    stage.up("bob", case.second)
    for name in order:
        stage.down(name)
    assert state(stage.host) == stage.found


def kill_at(host: FakeHost, number: int, *, after: bool) -> None:
    def kill(count: int, _path: str, _text: str) -> None:
        if count == number:
            raise Killed

    if after:
        host.kill_after = kill
    else:
        host.fail = kill
