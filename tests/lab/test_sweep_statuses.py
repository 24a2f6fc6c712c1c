"""The sweep itself, without an emulated host: where no kill came, what a command said of itself counts."""

import os
import re
import select
import signal
from contextlib import suppress
from typing import Any

import pytest

from tests.lab import sweep

CAMERA = "def photograph(): return {}\ndef difference(before, after): return []\n"


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What each verb ends with."""
    given: dict[str, int] = {}
    monkeypatch.setattr(sweep, "main", lambda argv: given.get(argv[0], 0))
    monkeypatch.setattr(sweep, "processes", lambda _: [])
    return given


def swept(phase: str) -> dict[str, Any]:
    return sweep.sweep(CAMERA, phase, "swept", first=1, most=3, stride=1)


@pytest.mark.parametrize("phase", ["start", "end", "recover"])
@pytest.mark.usefixtures("statuses")
def test_a_sweep_without_points_is_whole_when_all_went_well(phase: str) -> None:
    assert swept(phase) == {"points": [], "whole": True, "left": []}


@pytest.mark.parametrize(
    ("phase", "verb"),
    [("start", "up"), ("start", "down"), ("start", "recover"), ("end", "up"), ("end", "down"), ("recover", "up"),
     ("recover", "recover")],
)  # fmt: skip
def test_a_command_that_fails_where_no_kill_came_is_told(phase: str, verb: str, statuses: dict[str, int]) -> None:
    statuses[verb] = 3
    found = swept(phase)
    assert found["whole"] is False
    assert found["left"][0].startswith(verb)
    assert "status 3" in found["left"][0]


def test_a_command_that_hangs_is_told_with_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_: list[str]) -> int:
        if os.fork() == 0:  # as a supervisor that outlives its command
            select.select([], [], [])
        return wait_in_vain()

    def wait_in_vain() -> int:
        select.select([], [], [])
        return 0

    monkeypatch.setattr(sweep, "main", hang)
    monkeypatch.setattr(sweep, "DEADLINE_S", 3)
    found = swept("start")
    standing = [int(pid) for pid in re.findall(r"process (\d+):", found["left"][0])]
    for pid in standing:
        with suppress(ProcessLookupError):  # the command itself was killed
            os.kill(pid, signal.SIGKILL)
    assert len(standing) == 2
    assert not found["whole"]
    assert found["points"] == ["point 1"]
    assert "qlaunch up swept --detach had not ended after" in found["left"][0]
    assert found["left"][0].count("in hang") == 2
    assert "in wait_in_vain" in found["left"][0]
