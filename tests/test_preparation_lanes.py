"""What of a preparation waits for what: devices for whoever holds them, and for nobody else."""

from typing import Any

import pytest

from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import systemd, values
from qlaunch.preparation.wish import Wish
from tests.sites import machine

LINK = "/etc/systemd/system/display-manager.service"
FILES = {
    "/sys/class/vtconsole/vtcon1/name": "(M) frame buffer device",
    "/sys/class/vtconsole/vtcon1/bind": "1",
    "/proc/iomem": "a0000000-afffffff : 0000:0b:00.0\n  a0000000-a07fffff : simple-framebuffer",
    "/sys/bus/pci/devices/0000:0b:00.0/class": "0x030000",
    "/sys/bus/platform/drivers/simple-framebuffer/bind": "",
}
LINKS = {
    "/sys/bus/platform/drivers/simple-framebuffer/simple-framebuffer.0": "../simple-framebuffer.0",
}


def lanes(shown_by: str | None = "gdm.service", **host: Any) -> dict[str, str]:
    links = LINKS | ({LINK: f"/usr/lib/systemd/system/{shown_by}"} if shown_by else {})
    wish = Wish(
        name="m",
        uuid="7b9b5c62-9e0a-5d5d-8f57-3c1f0a0c0d5e",
        machine=machine(host=host, pci=[{"host": "0b:00"}]),
        facts=HostFacts(Tree.holding(FILES, links)),
        runtime="/run/qlaunch/m",
    )
    return {step.kind: step.lane for theme in (systemd.steps, values.steps) for step in theme(wish)}


@pytest.mark.parametrize(
    ("shown_by", "stop"),
    [
        ("gdm.service", ["gdm.service"]),
        ("sddm.service", ["sddm.service"]),
        ("gdm.service", ["display-manager.service", "gdm.service"]),
        (None, ["display-manager.service"]),
    ],
)
def test_a_login_screen_is_of_the_graphics_cards_branch(shown_by: str | None, stop: list[str]) -> None:
    assert lanes(shown_by, services={"stop": stop}) == {"service": "devices/pci"}


@pytest.mark.parametrize("shown_by", ["sddm.service", None])
@pytest.mark.parametrize(
    "stop", [["gdm.service"], ["display-manager.service", "sshd.service"], ["alice/sound.service"]]
)
def test_every_device_waits_for_a_service_that_may_hold_it(shown_by: str | None, stop: list[str]) -> None:
    assert lanes(shown_by, services={"stop": stop}) == {"service": "devices"}


def test_every_device_waits_for_modules_which_wait_for_what_is_shown() -> None:
    """What has no branch stands between branches: all of those before it end first."""
    found = lanes(services={"stop": ["gdm.service"]}, vtconsoles="unbind", modules={"unload": ["nvidia"]})
    drawing = dict.fromkeys(("service", "vtconsole", "framebuffer"), "devices/pci")
    assert found == drawing | {"module": "devices"}
