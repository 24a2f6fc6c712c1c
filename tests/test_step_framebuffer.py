"""What the firmware left on a card: taken off when the card goes to a guest, and only then; brought back, or gone."""

from typing import Any

import pytest

from qlaunch.host.facts import HostFacts
from qlaunch.preparation.values import steps
from qlaunch.preparation.wish import Wish
from qlaunch.steps.framebuffer import Framebuffer
from qlaunch.steps.kind import ForeignChangeError
from tests.hosts import build
from tests.sites import machine
from tests.step_cases import boot_framebuffer

KEY = "efi-framebuffer/efi-framebuffer.0"
DRIVER = "/sys/bus/platform/drivers/efi-framebuffer"
DEVICE = "/sys/bus/platform/devices/efi-framebuffer.0"


def wanted(**sections: Any) -> list[str]:
    """The framebuffers that a machine takes off the desktop's cards; BOOTFB lies on 0b:00.0 there."""
    made = build.load("desktop-two-ccx")
    made.links[f"{DRIVER}/efi-framebuffer.0"] = "../../../../devices/platform/efi-framebuffer.0"
    wish = Wish(name="m", uuid="", machine=machine(**sections), facts=HostFacts(made.tree()), runtime="/run/qlaunch/m")
    return [key for step in steps(wish) if step.kind == "framebuffer" for key in step.claims]


def test_it_is_taken_off_a_card_that_goes_to_the_guest() -> None:
    assert wanted(pci=[{"host": "0b:00"}], host={"vtconsoles": "unbind"}) == [KEY]


@pytest.mark.parametrize(
    "sections",
    [
        {"pci": [{"host": "0b:00"}]},
        {"pci": [{"host": "0d:00.3"}], "host": {"vtconsoles": "unbind"}},
        {"host": {"vtconsoles": "unbind"}},
    ],
    ids=["consoles stay", "another card", "no card"],
)
def test_it_stays_where_it_is_in_nobodys_way(sections: dict[str, Any]) -> None:
    assert wanted(**sections) == []


def test_it_is_unbound_once_and_bound_again() -> None:
    host, kind = boot_framebuffer(), Framebuffer()
    kind.write(host, KEY, "unbound")
    kind.write(host, KEY, "unbound")
    assert kind.read(host, KEY) == "unbound"
    kind.write(host, KEY, "bound")
    assert kind.read(host, KEY) == "bound"
    assert host.changes == [(f"{DRIVER}/unbind", "efi-framebuffer.0"), (f"{DRIVER}/bind", "efi-framebuffer.0")]


def test_one_that_the_cards_own_driver_has_removed_is_not_missed() -> None:
    host, kind = boot_framebuffer(), Framebuffer()
    kind.write(host, KEY, "unbound")
    host.folders.discard(DEVICE)
    assert kind.settle(kind.read(host, KEY), "bound", "unbound", []) is None
    kind.write(host, KEY, "bound")
    assert len(host.changes) == 1


def test_there_is_no_third_state_that_somebody_else_could_have_made() -> None:
    with pytest.raises(ForeignChangeError):
        Framebuffer().settle("elsewhere", "bound", "unbound", [])
