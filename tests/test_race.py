"""What the race in the lab makes of timings: lanes side by side are one time, and binding drivers is the kernel's."""

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from qlaunch.run.timings import Part
from qlaunch.steps.waits import KERNEL, SYSTEMD, Wait
from tests.lab.race import covered, halved, middle, replayed

PARTS = [
    Part("without gdm.service", "devices", 0.0, 1.5, (Wait(SYSTEMD, 0.5, 1.0), Wait(SYSTEMD, 1.0, 1.25))),
    Part("pool of 2M pages", "memory", 0.25, 0.75, (Wait(KERNEL, 0.25, 0.5),)),
    Part("0b:00 to vfio-pci", "devices/pci", 1.5, 9.0, (Wait(KERNEL, 2.0, 4.0), Wait(KERNEL, 5.0, 8.5))),
    Part("virtual functions of eth0", "devices/vf", 1.5, 4.5, (Wait(KERNEL, 1.75, 4.25),)),
    Part("eth0 up", "devices/vf", 4.5, 6.0, (Wait(KERNEL, 4.75, 6.0),)),
]
SECONDS = st.integers(0, 8).map(float)


def scheduled(rows: Sequence[tuple[str, float, float]]) -> list[Part]:
    """What the engine makes of lanes, gaps and durations: branches begin where what is before them ended."""
    ends: dict[str, dict[str, float]] = {}
    before: dict[str, float] = {}
    branched: dict[str, bool] = {}
    parts = []
    for lane, gap, duration in rows:
        name = lane.partition("/")[0]
        if branched.get(name) != ("/" in lane):
            before[name] = max(ends.get(name, {}).values(), default=0.0)
            ends[name] = {}
        branched[name] = "/" in lane
        began = ends[name].get(lane, before[name]) + gap
        ends[name][lane] = began + duration
        parts.append(
            Part(f"{lane} to vfio-pci", lane, began, began + duration, (Wait(KERNEL, began, began + duration),))
        )
    return parts


ROWS = st.lists(
    st.tuples(st.sampled_from(["cpu", "devices", "devices/pci", "devices/vf"]), SECONDS, SECONDS), min_size=1
)


@given(ROWS)
def test_with_nothing_left_out_it_is_as_it_was(rows: list[tuple[str, float, float]]) -> None:
    parts = scheduled(rows)
    whole = max(part.ended for part in parts) - min(part.began for part in parts)
    assert halved(parts).whole == whole
    assert halved(parts).without_binds <= whole


@given(ROWS)
def test_with_a_wait_left_out_it_is_as_if_its_step_had_not_had_it(rows: list[tuple[str, float, float]]) -> None:
    parts, without = scheduled(rows), scheduled([(lane, gap, 0.0) for lane, gap, _ in rows])
    whole = max(part.ended for part in without) - min(part.began for part in parts)
    assert replayed(parts, lambda _part, _wait: True) == whole


def test_what_overlaps_counts_once() -> None:
    assert covered([(1.0, 1.5), (1.5, 9.0), (1.25, 2.0), (1.3, 1.4), (20.0, 22.0)]) == 10.0
    assert covered([]) == 0.0
    twice = (Wait(KERNEL, 0.0, 4.0), Wait(KERNEL, 1.0, 2.0))
    assert halved([Part("0b:00 to vfio-pci", "devices/pci", 0.0, 10.0, twice)]).without_binds == 6.0


def test_what_is_left_out_is_the_system_call_that_binds_and_no_more_of_its_step() -> None:
    assert halved(PARTS[2:3]).without_binds == pytest.approx(7.5 - 2.0 - 3.5)
    assert halved(PARTS[3:]).without_binds == pytest.approx(3.0 + 1.5)


def test_making_functions_binds_nothing_and_is_told_for_itself() -> None:
    assert halved(PARTS[3:]).without_making == pytest.approx(3.0 - 2.5 + 1.5)
    assert halved(PARTS[2:3]).without_making == halved(PARTS[2:3]).without_binds
    assert halved(PARTS).without_making == pytest.approx(1.5 + 2.0)


def test_what_comes_after_a_bind_begins_earlier_without_it_whatever_other_lanes_do() -> None:
    beside = [*PARTS[2:4], Part("a pool of 2M pages", "memory", 1.5, 4.5)]
    assert halved(beside).without_making == pytest.approx(4.5 - 1.5)
    assert halved([*beside, PARTS[4]]).without_making == pytest.approx(4.5 - 1.5)
    alone = [Part("0b:00 to vfio-pci", "x", 0.0, 1.0, (Wait(KERNEL, 0.0, 1.0),)), Part("awake", "x", 1.25, 2.0)]
    assert halved([*alone, Part("a pool", "memory", 0.0, 0.5)]).without_binds == pytest.approx(0.25 + 0.75)


def test_what_needs_qemu_s_process_follows_all_that_is_done_before() -> None:
    """On the way back it is the other way round."""
    assert halved(PARTS).without_binds == pytest.approx(1.5 + 3.0 + 1.5)
    late = Part("QEMU in a scope of its own", "quiet/shield", 12.0, 13.0)
    assert halved([late, *PARTS]).without_binds == pytest.approx(1.5 + 3.0 + 1.5 + 1.0)
    first = Part("undo: QEMU in a scope of its own", "quiet/shield", -3.0, -2.0)
    assert halved([*PARTS, first]).whole == pytest.approx(9.0 + 1.0)


def test_what_goes_on_beside_qemu_s_launch_counts_as_far_as_it_is_waited_for() -> None:
    there = [Part("a pool", "memory", 0.0, 2.0), Part("QEMU in a scope of its own", "quiet/shield", 5.0, 6.0)]
    assert halved([*there, Part("eth0 up", "functions", 2.0, 4.0)]).whole == 3.0
    slow = Part("eth0 up", "functions", 2.0, 8.0, (Wait(KERNEL, 2.5, 7.5),))
    assert (halved([*there, slow]).whole, halved([*there, slow]).own) == (5.0, 3.0)
    back = [Part("undo: eth0 up", "functions", 0.0, 2.0), Part("undo: QEMU in its scope", "quiet/shield", 0.25, 1.0)]
    assert halved([*back, Part("undo: a pool", "memory", 2.25, 3.0)]).whole == pytest.approx(2.0 + 0.75)


def test_what_a_step_that_binds_waits_for_besides_the_kernel_is_not_left_out() -> None:
    waits = (Wait(KERNEL, 1.0, 2.0), Wait(SYSTEMD, 2.0, 3.0))
    assert halved([Part("0b:00 to vfio-pci", "devices/pci", 1.0, 3.5, waits)]).without_binds == pytest.approx(1.5)


def test_where_nobody_is_waited_for_the_rest_is_qlaunch_s_own() -> None:
    assert halved(PARTS[:2]).own == pytest.approx(1.5 - 0.5 - 0.25)
    assert halved(PARTS[4:]).own == pytest.approx(0.25)
    assert halved([]) == (0.0, 0.0, 0.0, 0.0)


def test_of_several_runs_each_time_is_the_one_in_the_middle_of_its_kind() -> None:
    runs = [halved(PARTS), halved(PARTS[:2]), halved(PARTS[2:])]
    assert middle(runs) == (7.5, 4.5, 2.0, 2.0)
