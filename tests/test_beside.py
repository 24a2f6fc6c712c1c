"""Changes beside QEMU's start: it does not wait for them, its guest does, and they are given back whatever happens."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qlaunch.errors import HostError
from qlaunch.run.beside import Beside
from qlaunch.run.changes import Changes
from qlaunch.run.folder import RunFolder
from qlaunch.steps import host as hosts
from qlaunch.steps.step import Moment, Step
from tests.fakes.host import FakeHost

PATIENCE_S = 30.0


def link(name: str, moment: Moment = "beside-launch") -> Step:
    return Step(kind="link", summary=f"{name} up", claims={name: "up"}, lane=f"of {name}", moment=moment)


EARLY, CARD, NEXT, LATE = link("early", "before-launch"), link("card"), link("next"), link("late", "after-launch")
STEPS = [EARLY, CARD, NEXT, LATE]


class Site:
    """A host whose links are down, and one machine's changes to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = FakeHost({})
        self.host.netlink.states = dict.fromkeys(("early", "card", "next", "late"), "down")
        monkeypatch.setattr(hosts, "LocalHost", lambda _say: self.host)
        (folder / "ada").mkdir()
        self.changes = Changes(RunFolder(str(folder / "ada")), lambda _text: None)

    @property
    def up(self) -> set[str]:
        return {name for name, state in self.host.netlink.states.items() if state == "up"}

    def at(self, name: str, act: Callable[[], object]) -> None:
        """Do something when a link is about to be set up."""

        def look(_number: int, path: str, text: str) -> None:
            if (path, text) == (name, "up"):
                act()

        self.host.fail = look


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def refuse(**_stop: Callable[[], bool]) -> None:
    raise OSError(22, "Invalid argument", "card")


def test_a_launch_does_not_wait_for_them_and_the_guest_does(site: Site) -> None:
    launched = threading.Event()
    site.at("card", lambda: launched.wait(PATIENCE_S))
    assert site.changes.make(STEPS)
    site.changes.begin(STEPS, stop=lambda: False)
    assert site.up == {"early"}
    launched.set()
    assert site.changes.make(STEPS, qemu=7)
    assert site.up == {"early", "card", "next", "late"}


def test_what_fails_beside_the_launch_fails_the_start_and_all_is_given_back(site: Site) -> None:
    site.at("card", refuse)
    assert site.changes.make(STEPS)
    site.changes.begin([CARD], stop=lambda: False)
    with pytest.raises(HostError, match="card up: .*invalid argument"):
        site.changes.make(STEPS, qemu=7)
    assert site.up == {"early", "late"}
    site.changes.undo()
    assert not site.up


def test_they_are_given_back_before_what_was_made_before_the_launch(site: Site) -> None:
    site.changes.make(STEPS)
    site.changes.begin(STEPS, stop=lambda: False)
    site.changes.make(STEPS, qemu=7)
    site.host.changes.clear()
    site.changes.undo()
    assert site.host.changes[-1][0] == "early"
    assert len(site.host.changes) == len(STEPS)


def test_an_end_while_one_is_on_its_way_waits_for_it_and_gives_it_back(site: Site) -> None:
    """As of a QEMU that cannot be started."""
    begun, ends = threading.Event(), threading.Event()

    def late() -> None:
        begun.set()
        ends.wait(PATIENCE_S)

    site.at("card", late)
    site.changes.make(STEPS)
    site.changes.begin(STEPS, stop=lambda: False)
    assert begun.wait(PATIENCE_S)
    ends.set()
    site.changes.undo()
    assert not site.up


def test_none_is_begun_once_they_are_given_up() -> None:
    told = []

    def carry_out(*, stop: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not stop() and time.monotonic() < end:
            pass
        told.append(stop())

    Beside(carry_out, lambda: False).give_up()
    Beside(carry_out, lambda: True).wait()
    assert told == [True, True]


def test_a_failure_of_what_is_given_up_is_nobody_s_any_more() -> None:
    Beside(refuse, lambda: False).give_up()


def test_without_a_thread_they_are_made_before_the_launch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    site.changes.begin([CARD], stop=lambda: False)
    assert site.up == {"card"}
    site.changes.make([], qemu=7)
    site.changes.undo()
    assert not site.up
