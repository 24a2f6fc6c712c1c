"""Several machines at once: side by side up and down, each with its own failure, and nothing of one in another."""

import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests.live import DEAF, Desk

pytestmark = pytest.mark.qemu
NAMES = ("one", "two", "three")
BROKEN = DEAF.replace("[qemu]", '[qemu]\nextra = ["-device", "no-such-device"]')


def up(desk: Desk, *names: str, expect: int = 0) -> str:
    for name in names:
        desk.machine(name, BROKEN if name == "broken" else DEAF)
    return desk.qlaunch("up", "--detach", *names, expect=expect).stderr


def supervisors(desk: Desk) -> dict[str, int]:
    return {name: desk.record(name)["supervisor"]["pid"] for name in NAMES}


def pipes(pid: int) -> set[str]:
    links = (os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith("pipe:")}


def test_machines_come_up_side_by_side_and_go_down_so(desk: Desk) -> None:
    said = up(desk, *NAMES)
    assert all(f"{name}: the guest runs" in said for name in NAMES)
    for name in NAMES:
        assert msgspec.json.decode(desk.qlaunch("status", "--json", name).stdout)["state"] == "running"
    desk.qlaunch("down", "--force", *NAMES)
    desk.assert_clean()


def test_no_supervisor_holds_the_pipe_of_another(desk: Desk) -> None:
    up(desk, *NAMES)
    held = [pipes(pid) for pid in supervisors(desk).values()]
    assert len(set.union(*held)) == sum(map(len, held))
    desk.qlaunch("down", "--force", *NAMES)


def test_one_that_fails_stops_no_other(desk: Desk) -> None:
    said = up(desk, "one", "broken", "two", expect=5)
    assert "no-such-device" in said
    assert all(f"{name}: the guest runs" in said for name in ("one", "two"))
    desk.qlaunch("down", "--force", "one", "two")
    desk.assert_clean()


def test_down_ends_those_without_a_supervisor_too_and_tells_of_one_that_is_not_there(desk: Desk) -> None:
    up(desk, *NAMES)
    os.kill(supervisors(desk)["two"], signal.SIGKILL)
    said = desk.qlaunch("down", "--force", *NAMES, "nowhere", expect=3).stderr
    assert "nowhere is not running" in said
    desk.assert_clean()


def test_down_says_of_one_drawing_and_several_machines_that_it_cannot(desk: Desk) -> None:
    up(desk, "one", "two")
    assert "one drawing shows one machine" in desk.qlaunch("down", "--timings=x.svg", "one", "two", expect=2).stderr
    assert "running" in desk.qlaunch("status", "one").stdout
    desk.qlaunch("down", "--force", "one", "two")


def test_the_status_of_down_is_of_the_first_in_the_line_that_failed(desk: Desk) -> None:
    said = desk.qlaunch("down", "nowhere", "elsewhere", expect=3).stderr
    assert 0 < said.index("elsewhere is not running") < said.index("error: nowhere is not running")
