"""Values and pools: what the kernel prints otherwise than it was written, and what others do to a pool meanwhile."""

from itertools import permutations
from pathlib import Path

import pytest

from qlaunch.journal.engine import HostChanges
from qlaunch.journal.file import Journal
from qlaunch.journal.leases import Leases
from qlaunch.steps.step import Step
from qlaunch.steps.sysfs import Sysfs
from tests.fakes.host import FakeHost, Killed
from tests.test_journal_states import raise_at

PORTS = "/proc/sys/net/ipv4/ip_local_port_range"
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"


def machine(folder: Path, host: FakeHost, name: str) -> HostChanges:
    (folder / name).mkdir(exist_ok=True)
    journal = Journal.open(str(folder / name), name, "1")
    return HostChanges(host, journal, Leases(str(folder), name, "1"), lambda _text: None)


def pages(number: int) -> list[Step]:
    return [Step(kind="hugepages", summary="pages", claims={POOL: str(number)}, lane="memory")]


def test_numbers_that_the_kernel_sets_apart_by_tabs_are_the_same_numbers() -> None:
    host, kind = FakeHost({PORTS: "32768\t60999"}), Sysfs()
    original = kind.read(host, PORTS)
    assert original == "32768 60999"
    wanted = kind.merge(original, ["1024  65000"])
    host.files[PORTS] = "1024\t65000"
    assert kind.read(host, PORTS) == wanted
    assert kind.settle(kind.read(host, PORTS), original, "1024  65000", []) == original


def test_pages_that_an_administrator_adds_between_two_machines_are_his(tmp_path: Path) -> None:
    host = FakeHost({POOL: "0"})
    ada, bob = machine(tmp_path, host, "ada"), machine(tmp_path, host, "bob")
    ada.carry_out(pages(10))
    host.files[POOL] = "110"
    bob.carry_out(pages(10))
    assert host.files[POOL] == "120"
    assert not ada.undo()
    assert host.files[POOL] == "110"
    assert not bob.undo()
    assert host.files[POOL] == "100"


def test_pages_that_an_administrator_takes_between_two_machines_stay_gone(tmp_path: Path) -> None:
    host = FakeHost({POOL: "50"})
    ada, bob = machine(tmp_path, host, "ada"), machine(tmp_path, host, "bob")
    ada.carry_out(pages(10))
    host.files[POOL] = "20"
    bob.carry_out(pages(10))
    assert host.files[POOL] == "30"
    assert not bob.undo()
    assert host.files[POOL] == "20"


@pytest.mark.parametrize("admins", [50, 5])
@pytest.mark.parametrize("order", ["bob ada", "ada bob"])
def test_pages_that_were_given_back_unheard_are_not_given_back_again(tmp_path: Path, admins: int, order: str) -> None:
    host = FakeHost({POOL: "10"})
    machines = {name: machine(tmp_path, host, name) for name in ("ada", "bob")}
    machines["ada"].carry_out(pages(10))
    machines["bob"].carry_out(pages(3))
    host.files[POOL] = str(23 + admins)
    host.kill_after = raise_at(len(host.changes) + 1, Killed())
    with pytest.raises(Killed):
        machines["ada"].undo()
    host.kill_after = raise_at(0, Killed())
    assert host.files[POOL] == str(13 + admins)
    machines["ada"] = machine(tmp_path, host, "ada")
    for name in order.split():
        assert not machines[name].undo()
    assert host.files[POOL] == str(10 + admins)


def test_a_start_counts_no_pages_that_were_given_back_unheard(tmp_path: Path) -> None:
    host = FakeHost({POOL: "0"})
    ada, bob = machine(tmp_path, host, "ada"), machine(tmp_path, host, "bob")
    ada.carry_out(pages(8192))
    host.kill_after = raise_at(len(host.changes) + 1, Killed())
    with pytest.raises(Killed):
        ada.undo()
    host.kill_after = raise_at(0, Killed())
    bob.carry_out(pages(4096))
    assert host.files[POOL] == "4096"
    assert not machine(tmp_path, host, "ada").undo()
    assert host.files[POOL] == "4096"
    assert not bob.undo()
    assert host.files[POOL] == "0"


def test_a_pool_that_could_not_shrink_whole_gives_the_rest_back_later(tmp_path: Path) -> None:
    host = FakeHost({POOL: "10"})
    ada = machine(tmp_path, host, "ada")
    ada.carry_out(pages(10))
    host.files[POOL] = "70"
    host.reactions[POOL] = lambda _text: host.files.update({POOL: "64"})
    assert len(ada.undo()) == 1
    host.reactions.clear()
    assert not machine(tmp_path, host, "ada").undo()
    assert host.files[POOL] == "60"


def test_what_was_given_back_is_not_touched_again_over_what_was_not(tmp_path: Path) -> None:
    """One of two nodes is given back; what somebody does to it before the next try is his."""
    other = POOL.replace("2048", "1048576")
    host = FakeHost({POOL: "0", other: "0"})
    ada = machine(tmp_path, host, "ada")
    ada.carry_out([Step(kind="hugepages", summary="pages", claims={POOL: "10", other: "1"}, lane="memory")])
    busy = OSError(16, "Device or resource busy", POOL)
    host.reactions[POOL] = lambda _text: (_ for _ in ()).throw(busy)
    assert [left.key for left in ada.undo()] == [POOL]
    assert host.files == {POOL: "10", other: "0"}
    host.reactions.clear()
    host.files[other] = "1"
    leased = Leases(str(tmp_path), "bob", "1").of("hugepages")
    assert list(leased) == [POOL]
    assert not machine(tmp_path, host, "ada").undo()
    assert host.files == {POOL: "0", other: "1"}


def killed_up(folder: Path, host: FakeHost, name: str, number: int) -> None:
    """Be killed between the record and the write."""
    host.fail = raise_at(len(host.changes) + 1, Killed())
    with pytest.raises(Killed):
        machine(folder, host, name).carry_out(pages(number))
    host.fail = raise_at(0, Killed())


def killed_down(folder: Path, host: FakeHost, name: str) -> None:
    """Be killed between the write and the record."""
    host.kill_after = raise_at(len(host.changes) + 1, Killed())
    with pytest.raises(Killed):
        machine(folder, host, name).undo()
    host.kill_after = raise_at(0, Killed())


@pytest.mark.parametrize("order", [*permutations(["ada", "bob", "cyd"])], ids="-".join)
@pytest.mark.parametrize("admins", [0, 7])
def test_claims_that_nobody_knows_to_be_there_are_counted_by_what_is_there(
    tmp_path: Path, admins: int, order: tuple[str, ...]
) -> None:
    host = FakeHost({POOL: "10"})
    machine(tmp_path, host, "bob").carry_out(pages(9))
    host.files[POOL] = str(19 + admins)
    killed_up(tmp_path, host, "ada", 5)
    killed_up(tmp_path, host, "cyd", 4)
    killed_down(tmp_path, host, "bob")
    assert host.files[POOL] == str(10 + admins)
    for name in order:
        assert not machine(tmp_path, host, name).undo()
    assert host.files[POOL] == str(10 + admins)


def test_an_undo_that_could_not_write_forgets_what_it_had_meant_to_leave(tmp_path: Path) -> None:
    host = FakeHost({POOL: "0"})
    ada = machine(tmp_path, host, "ada")
    ada.carry_out(pages(8192))
    host.files[POOL] = "17192"
    host.fail = raise_at(len(host.changes) + 1, OSError(16, "Device or resource busy", POOL))
    assert [left.reason for left in ada.undo()] == [
        f"{POOL}: device or resource busy; of what it is, 8192 are the machine's"
    ]
    host.fail = raise_at(0, Killed())
    host.files[POOL] = "8192"  # the administrator has taken his own back
    assert not machine(tmp_path, host, "ada").undo()
    assert host.files[POOL] == "0"


def test_pages_whose_undo_was_killed_before_the_write_are_given_back(tmp_path: Path) -> None:
    host = FakeHost({POOL: "10"})
    ada = machine(tmp_path, host, "ada")
    ada.carry_out(pages(10))
    host.files[POOL] = "70"
    host.fail = raise_at(len(host.changes) + 1, Killed())
    with pytest.raises(Killed):
        ada.undo()
    host.fail = raise_at(0, Killed())
    assert not machine(tmp_path, host, "ada").undo()
    assert host.files[POOL] == "60"
