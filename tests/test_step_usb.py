"""USB devices and event devices as changes to the host: what is found, taken, given back, and left alone."""

import pytest

from qlaunch.steps.input import AS_IT_IS, Input
from qlaunch.steps.kind import ForeignChangeError
from qlaunch.steps.usb import GUEST, Usb
from qlaunch.values.access import Access
from tests.fakes.host import FakeHost
from tests.fakes.usb import DEVICES, desk, plug_in, pull

HEADSET = "1-2 1038:12ad"
BOUND = "1.0=snd-usb-audio 1.1=none 1.2=usbhid"
FREE = "1.0=none 1.1=none 1.2=none"


def test_the_drivers_of_all_interfaces_are_taken_and_put_back() -> None:
    host, kind = desk(), Usb()
    assert kind.read(host, HEADSET) == BOUND
    assert kind.merge(BOUND, [GUEST]) == FREE
    kind.write(host, HEADSET, FREE)
    assert kind.read(host, HEADSET) == FREE
    kind.write(host, HEADSET, BOUND)
    assert kind.read(host, HEADSET) == BOUND
    # The interface that had no driver is left alone.
    assert [text for _, text in host.changes] == ["0 False", "2 False", "0 True", "2 True"]


def test_an_interface_that_qemu_has_counts_as_one_without_a_driver() -> None:
    host = desk()
    host.symlinks[f"{DEVICES}/1-2:1.0/driver"] = "../../bus/usb/drivers/usbfs"
    assert Usb().read(host, HEADSET) == "1.0=none 1.1=none 1.2=usbhid"


def test_another_device_in_the_same_port_is_not_this_one() -> None:
    host = desk()
    pull(host, "1-2")
    assert Usb().read(host, HEADSET) is None
    plug_in(host, "1-2", "046d:c547", ["usbhid"])
    assert Usb().read(host, HEADSET) is None


@pytest.mark.parametrize(
    ("current", "settled"),
    [
        (None, None),
        (BOUND, BOUND),
        (FREE, BOUND),
        ("1.0=none 1.1=none 1.2=usbhid", BOUND),
        ("1.0=other 1.1=none 1.2=usbhid", "1.0=other 1.1=none 1.2=usbhid"),
    ],
    ids=["unplugged", "replugged", "free", "killed halfway", "another driver has it"],
)
def test_what_an_undo_makes_of_a_device(current: str | None, settled: str | None) -> None:
    assert Usb().settle(current, BOUND, GUEST, []) == settled


def test_interfaces_that_were_not_there_are_somebody_elses_change() -> None:
    with pytest.raises(ForeignChangeError):
        Usb().settle("2.0=none", BOUND, GUEST, [])


def test_an_event_device_keeps_its_group_and_its_mode() -> None:
    host, kind = FakeHost(), Input()
    host.owners["/dev/input/event3"] = Access(0, 104, 0o660)
    wanted = kind.merge(kind.read(host, "/dev/input/event3"), ["1000"])
    kind.write(host, "/dev/input/event3", wanted)
    assert host.owners["/dev/input/event3"] == Access(1000, 104, 0o660)
    assert kind.merge("0:104 440", ["1000"]) == "1000:104 440"
    assert kind.merge("0:104 660", [AS_IT_IS]) == "0:104 660"


def test_an_event_device_that_has_gone_needs_nothing() -> None:
    assert Input().settle(None, "0:104 660", "1000", []) is None
    assert Input().settle("0:104 660", "0:104 660", "1000", []) == "0:104 660"
