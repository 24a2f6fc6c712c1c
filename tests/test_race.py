"""What the race in the lab makes of timings: lanes side by side are one time, and binding drivers is the kernel's."""

import pytest

from qlaunch.run.timings import Part
from qlaunch.steps.waits import KERNEL, SYSTEMD, Wait
from tests.lab.race import covered, halved

PARTS = [
    Part("without gdm.service", "devices", 0.0, 1.5, (Wait(SYSTEMD, 0.5, 1.0), Wait(SYSTEMD, 1.0, 1.25))),
    Part("pool of 2M pages", "memory", 0.25, 0.75, (Wait(KERNEL, 0.25, 0.5),)),
    Part("0b:00 to vfio-pci", "devices/pci", 1.5, 9.0, (Wait(KERNEL, 2.0, 4.0), Wait(KERNEL, 5.0, 8.5))),
    Part("virtual functions of eth0", "devices/vf", 1.5, 4.5, (Wait(KERNEL, 1.75, 4.25),)),
    Part("eth0 up", "devices/vf", 4.5, 6.0, (Wait(KERNEL, 4.75, 6.0),)),
]


def test_lanes_that_run_side_by_side_count_once() -> None:
    assert covered([(1.0, 1.5), (1.5, 9.0), (1.25, 2.0), (1.3, 1.4), (20.0, 22.0)]) == 10.0
    assert covered([]) == 0.0
    assert halved(PARTS).whole == 9.0


def test_what_is_left_out_is_the_system_call_that_binds_and_no_more_of_its_step() -> None:
    """From 2.0 to 4.0 both bind; from 4.75 to 6.0 the link comes up, which counts, beside a bind from 5.0 on."""
    assert halved(PARTS[2:4]).without_binds == pytest.approx((2.0 - 1.5) + (5.0 - 4.0) + (9.0 - 8.5))
    assert halved(PARTS).without_binds == pytest.approx(2.0 + (6.0 - 4.0) + (9.0 - 8.5))


def test_what_a_step_that_binds_waits_for_besides_the_kernel_is_not_left_out() -> None:
    waits = (Wait(KERNEL, 1.0, 2.0), Wait(SYSTEMD, 2.0, 3.0))
    assert halved([Part("0b:00 to vfio-pci", "devices/pci", 1.0, 3.5, waits)]).without_binds == pytest.approx(1.5)


def test_what_waits_for_nobody_is_qlaunch_s_own() -> None:
    """Of the pool's lane a moment counts in which the other lane waits for systemd."""
    assert halved(PARTS[:2]).own == pytest.approx(0.5 + 0.25 + 0.25)
    assert halved(PARTS[4:]).own == pytest.approx(0.25)
