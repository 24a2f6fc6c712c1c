"""PCI devices by what they are: the one that is meant, or a sentence that says between which ones to choose."""

from pathlib import Path
from typing import Any

import pytest

from qlaunch.errors import Problem
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.machine.load import Loaded
from qlaunch.selection import choose_devices
from tests.sites import machine

# Two equal cards behind ports of their own, one of them with sound beside its picture, and a disk.
DEVICES = {
    "0000:00:01.0": ("8086:1901", "060400", None),
    "0000:00:03.1": ("1022:1483", "060400", None),
    "0000:0b:00.0": ("1002:73bf", "030000", "0000:00:01.0"),
    "0000:0b:00.1": ("1002:ab28", "040300", "0000:00:01.0"),
    "0000:0c:00.0": ("1002:73bf", "030000", "0000:00:03.1"),
    "0000:0d:00.0": ("144d:a808", "010802", "0000:00:03.1"),
}
PCI_IDS = """1002  AMD/ATI
\t73bf  Navi 21 [Radeon RX 6800]
\tab28  Navi 21 HDMI Audio
144d  Samsung
\ta808  NVMe SSD
C 01  Mass storage
\t08  Non-Volatile memory controller
C 03  Display controller
\t00  VGA compatible controller
"""


@pytest.fixture
def facts(tmp_path: Path) -> HostFacts:
    folder = tmp_path / "sys/bus/pci/devices"
    folder.mkdir(parents=True)
    for address, (identity, kind, above) in DEVICES.items():
        place = tmp_path / "sys/devices/pci0000:00" / (above or "") / address
        place.mkdir(parents=True, exist_ok=True)
        vendor, device = identity.split(":")
        for name, text in {"vendor": vendor, "device": device, "class": kind}.items():
            (place / name).write_text(f"0x{text}\n")
        (folder / address).symlink_to(f"../../../{place.relative_to(tmp_path / 'sys')}")
    names = tmp_path / "usr/share/misc/pci.ids"
    names.parent.mkdir(parents=True)
    names.write_text(PCI_IDS)
    return HostFacts(Tree(str(tmp_path)))


def choose(facts: HostFacts, *wanted: dict[str, Any]) -> tuple[list[str], list[Problem]]:
    loaded = choose_devices(Loaded("ada", "ada.toml", machine(pci=list(wanted))), facts)
    return [str(pci.host) for pci in loaded.machine.pci], list(loaded.warnings)


@pytest.mark.parametrize(
    ("wanted", "slot"),
    [
        ({"id": "144d:a808"}, "0000:0d:00"),
        ({"id": "1002:73bf", "nth": 1}, "0000:0c:00"),
        ({"kind": "display", "nth": 0}, "0000:0b:00"),
        ({"kind": "audio"}, "0000:0b:00"),
        ({"kind": "nvme"}, "0000:0d:00"),
        ({"match": "samsung.*ssd"}, "0000:0d:00"),
        ({"match": "Radeon", "behind": "00:01.0"}, "0000:0b:00"),
        ({"kind": "display", "behind": "00:03.1"}, "0000:0c:00"),
        ({"match": "^Non-Volatile"}, "0000:0d:00"),
    ],
    ids=str,
)
def test_the_one_that_is_meant_is_found(facts: HostFacts, wanted: dict[str, Any], slot: str) -> None:
    assert choose(facts, wanted) == ([slot], [])


def test_twins_are_told_and_not_guessed(facts: HostFacts) -> None:
    _, (problem,) = choose(facts, {"id": "1002:73bf"})
    assert problem.code == "pci-twins"
    assert problem.message == "2 PCI devices are 1002:73bf: at 0000:0b:00, 0000:0c:00"
    assert problem.hint == 'say which: host = "0000:0b:00", or nth = 0, or behind = "0000:00:01.0"'


def test_what_is_not_there_is_told(facts: HostFacts) -> None:
    assert [one.message for one in choose(facts, {"id": "10de:2684"}, {"kind": "display", "nth": 2})[1]] == [
        "no PCI device is 10de:2684",
        "there are 2 devices that are display, counted from 0: at 0000:0b:00, 0000:0c:00",
    ]


def test_a_bridge_is_never_meant(facts: HostFacts) -> None:
    _, (problem,) = choose(facts, {"id": "1022:1483"})
    assert problem.message == "no PCI device is 1022:1483"


def test_one_device_is_not_handed_over_twice(facts: HostFacts) -> None:
    _, (problem,) = choose(facts, {"host": "0b:00"}, {"kind": "audio"})
    assert problem.message == "audio is 0000:0b:00, which an entry before hands over already"


def test_whoever_asks_twice_is_told_once(facts: HostFacts) -> None:
    once = choose_devices(Loaded("ada", "ada.toml", machine(pci=[{"id": "1002:73bf"}])), facts)
    assert choose_devices(once, facts).warnings == once.warnings


def test_an_address_is_left_as_it_is(facts: HostFacts) -> None:
    loaded = Loaded("ada", "ada.toml", machine(pci=[{"host": "7f:00"}]))
    assert choose_devices(loaded, facts) is loaded
