"""`status` tells what somebody has changed since a machine changed it."""

import os
from pathlib import Path

import pytest

from qlaunch.journal.drift import Drift, changes_in_force, shielded_cpus
from qlaunch.journal.engine import HostChanges
from qlaunch.journal.file import Journal, read_journal
from qlaunch.journal.leases import Leases
from qlaunch.steps import KINDS
from qlaunch.steps.step import Step
from qlaunch.values.cpus import CpuSet
from tests.fakes.host import FakeHost
from tests.step_cases import CASES


class Running:
    """Machines that run on one host."""

    def __init__(self, folder: Path, host: FakeHost) -> None:
        self.folder, self.host = folder, host

    def up(self, name: str, kind: str, claims: dict[str, str]) -> None:
        (self.folder / name).mkdir()
        journal = Journal.open(str(self.folder / name), name, "1")
        changes = HostChanges(self.host, journal, self.leases(name), lambda _text: None)
        changes.carry_out([Step(kind=kind, summary=f"{name}'s", claims=claims, lane="one")])
        os.close(journal._descriptor)

    def leases(self, name: str) -> Leases:
        return Leases(str(self.folder), name, "1")

    def drift(self, name: str) -> list[Drift]:
        return [found for change in self.look(name) for found in change.drift]

    def look(self, name: str) -> list:  # type: ignore[type-arg]
        return changes_in_force(self.host, read_journal(str(self.folder / name)), self.leases(name))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nothing_has_drifted_as_long_as_nobody_touches_it(kind: str, tmp_path: Path) -> None:
    case = CASES[kind]
    running = Running(tmp_path, case.host())
    running.up("ada", kind, case.claims)
    assert not running.drift("ada")
    if case.second:
        running.up("bob", kind, case.second)
        assert not running.drift("ada")
        assert not running.drift("bob")


def test_a_value_that_somebody_set_back_is_told_with_the_one_that_is_right(tmp_path: Path) -> None:
    running = Running(tmp_path, CASES["governor"].host())
    running.up("ada", "governor", {"/scaling_governor": "performance"})
    running.host.files["/scaling_governor"] = "powersave"
    assert [str(found) for found in running.drift("ada")] == [
        "/scaling_governor is 'powersave', not 'performance' (ada's)"
    ]


def test_what_is_shared_names_the_others_and_is_right_with_any_of_them(tmp_path: Path) -> None:
    running = Running(tmp_path, FakeHost({"/one": "0-7"}))
    running.up("ada", "irq", {"/one": "4-5"})
    running.up("bob", "irq", {"/one": "6-7"})
    assert running.look("ada")[0].shared_with == ("bob",)
    running.host.files["/one"] = "0-3,6-7"  # bob is just coming, or going
    assert not running.drift("ada")
    assert [found.wanted for found in running.drift("bob")] == ["0-3"]


def test_an_interrupt_that_has_gone_is_no_news_and_a_card_that_has_gone_is(tmp_path: Path) -> None:
    running = Running(tmp_path, FakeHost({"/one": "0-7", "/card": "amdgpu"}))
    running.up("ada", "irq", {"/one": "4-5"})
    running.up("bob", "sysfs", {"/card": "vfio-pci"})
    running.host.files.clear()
    assert not running.drift("ada")
    assert [str(found) for found in running.drift("bob")] == ["/card is gone, not 'vfio-pci' (bob's)"]


def test_what_the_kernel_made_of_a_value_is_what_it_stays(tmp_path: Path) -> None:
    host = FakeHost({"/rounded": "0"})
    host.reactions["/rounded"] = lambda _text: host.files.update({"/rounded": "98"})
    running = Running(tmp_path, host)
    running.up("ada", "sysfs", {"/rounded": "99"})
    assert not running.drift("ada")


def test_the_cpus_of_a_shield_are_those_of_its_claims(tmp_path: Path) -> None:
    running = Running(tmp_path, CASES["shield"].host())
    running.up("ada", "shield", CASES["shield"].claims)
    assert shielded_cpus(read_journal(str(tmp_path / "ada")).active) == CpuSet.parse("4-5")
