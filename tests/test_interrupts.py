"""Interrupts of passed-through functions, as /proc/interrupts names them."""

from pathlib import Path

from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import quiet
from qlaunch.preparation.wish import Wish
from qlaunch.run.interrupts import guide, vfio_interrupts
from tests.sites import machine

TEXT = """            CPU0       CPU1
   9:          0          0   IO-APIC   9-fasteoi   acpi
  16:          5          0   IO-APIC  16-fasteoi   vfio-intx(0000:06:02.0)
  17:          5          0   IO-APIC  17-fasteoi   snd_intel8x0, vfio-intx(0000:06:02.0)
  48:          1          0 PCI-MSI-0000:00:1f.2   0-edge      ahci[0000:00:1f.2]
  60:          1          0 IR-PCI-MSI-0000:0b:00.0   0-edge      vfio-msi[0](0000:0b:00.0)
  61:          7          2 IR-PCI-MSIX-0000:01:00.0   0-edge      vfio-msix[0](0000:01:00.0)
  62:          7          2 IR-PCI-MSIX-0000:01:00.0   3-edge      vfio-msix[3](0000:01:00.0)
  63:          7          2 IR-PCI-MSIX-0000:02:00.0   0-edge      vfio-msix[0](0000:02:00.0)
"""


def test_each_is_found_with_its_place_in_its_function_and_others_are_left() -> None:
    found = vfio_interrupts(TEXT, ["0000:01:00.0", "0000:0b:00.0", "0000:06:02.0"])
    assert found == [
        (60, 0, "0000:0b:00.0"),
        (61, 0, "0000:01:00.0"),
        (62, 3, "0000:01:00.0"),
    ]
    assert vfio_interrupts(TEXT, []) == []


def test_new_ones_go_to_the_guests_cpus_and_those_that_are_made_anew_again(tmp_path: Path) -> None:
    (tmp_path / "interrupts").write_text(TEXT)
    (tmp_path / "irq").mkdir()
    (tmp_path / "irq/default_smp_affinity").write_text("0000000f\n")
    files = {number: tmp_path / f"irq/{number}/smp_affinity_list" for number in (61, 62)}
    for file in files.values():
        file.parent.mkdir()
        file.write_text("0-3\n")
    moved, seen = guide(["0000:01:00.0"], [4, 5], set(), str(tmp_path))
    assert (moved, [file.read_text().strip()[0] for file in files.values()]) == (2, ["4", "5"])
    files[61].write_text("6\n")  # somebody has moved it
    files[62].write_text("0-3\n")  # the guest has turned MSI off and on
    moved, seen = guide(["0000:01:00.0"], [4, 5], seen, str(tmp_path))
    assert (moved, files[61].read_text(), files[62].read_text()[0]) == (1, "6\n", "5")
    files[62].unlink()
    assert guide(["0000:01:00.0"], [4, 5], seen, str(tmp_path)) == (0, seen)


def test_those_of_another_guest_s_devices_are_not_moved_away() -> None:
    files = {f"/proc/irq/{number}/smp_affinity_list": "0-7" for number in (9, 61)}
    tree = Tree.holding(files, {}, ["/proc/irq/61/vfio-msix[0](0000:01:00.0)", "/proc/irq/9/acpi"])
    wish = Wish(
        name="ada",
        uuid="",
        machine=machine(cpu={"pin": "4,5"}, host={"irq": True}),
        facts=HostFacts(tree),
        runtime="/run/qlaunch/ada",
    )
    (step,) = quiet.steps(wish)
    assert list(step.claims) == ["/proc/irq/default_smp_affinity", "/proc/irq/9/smp_affinity_list"]
