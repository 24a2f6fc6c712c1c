"""The hand-over of PCI functions: one function and never its twin, and words for every refusal."""

import pytest

from qlaunch.errors import HostError
from qlaunch.steps.kind import ForeignChangeError
from qlaunch.steps.pci_driver import PciDriver
from tests.fakes.host import FakeHost
from tests.fakes.pci import DEVICES, add_function, graphics_card

CARD = "0000:0b:00.0"


def test_a_twin_keeps_its_driver() -> None:
    host, kind = FakeHost(), PciDriver()
    for address in ("0000:01:00.0", "0000:02:00.0"):
        add_function(host, address, "amdgpu", group=1)
    kind.write(host, "0000:01:00.0", "vfio-pci override=vfio-pci")
    assert kind.read(host, "0000:01:00.0") == "vfio-pci override=vfio-pci"
    assert kind.read(host, "0000:02:00.0") == "amdgpu"


def test_the_way_back_names_the_old_driver_until_it_has_the_function() -> None:
    host, kind = graphics_card(), PciDriver()
    kind.write(host, CARD, "vfio-pci override=vfio-pci")
    host.changes.clear()
    kind.write(host, CARD, "amdgpu")
    assert [(path.rpartition("/")[2], text.strip()) for path, text in host.changes] == [
        ("driver_override", "amdgpu"),
        ("unbind", CARD),
        ("drivers_probe", CARD),
        ("driver_override", ""),
    ]
    assert kind.read(host, CARD) == "amdgpu"


def test_an_override_that_was_there_is_there_again() -> None:
    host, kind = graphics_card(), PciDriver()
    host.files[f"{DEVICES}/{CARD}/driver_override"] = "amdgpu"
    before = kind.read(host, CARD)
    kind.write(host, CARD, kind.merge(before, ["vfio-pci"]))
    kind.write(host, CARD, before)
    assert kind.read(host, CARD) == before == "amdgpu override=amdgpu"


def test_a_held_card_is_not_touched_and_its_holder_is_named() -> None:
    host, kind = graphics_card(), PciDriver()
    host.held[CARD] = ["Xorg (process 812)"]
    with pytest.raises(HostError, match=f"{CARD} is held open by Xorg \\(process 812\\)"):
        kind.write(host, CARD, "vfio-pci override=vfio-pci")
    assert kind.is_halfway(kind.read(host, CARD), "amdgpu", "vfio-pci")
    kind.write(host, CARD, "amdgpu")
    assert kind.read(host, CARD) == "amdgpu"


def test_a_driver_that_does_not_take_the_function_is_said() -> None:
    host, kind = graphics_card(), PciDriver()
    host.reactions["/sys/bus/pci/drivers_probe"] = lambda _text: None
    with pytest.raises(HostError, match="the driver vfio-pci did not take"):
        kind.write(host, CARD, "vfio-pci override=vfio-pci")


def test_a_driver_module_is_loaded_first() -> None:
    host, kind = graphics_card(), PciDriver()
    host.folders.discard("/sys/bus/pci/drivers/vfio-pci")

    def modprobe(argv: list[str]) -> str:
        host.folders.add(f"/sys/bus/pci/drivers/{argv[1]}")
        return ""

    host.programs["modprobe"] = modprobe
    kind.write(host, CARD, "vfio-pci override=vfio-pci")
    assert host.changes[0] == ("modprobe", "vfio-pci")


def test_a_device_that_has_gone_is_a_sentence() -> None:
    kind = PciDriver()
    assert kind.read(FakeHost(), CARD) is None
    with pytest.raises(HostError, match="has gone"):
        kind.write(FakeHost(), CARD, "amdgpu")


def test_a_driver_that_somebody_else_gave_it_stays() -> None:
    with pytest.raises(ForeignChangeError):
        PciDriver().settle("xe", "amdgpu", "vfio-pci", [])
