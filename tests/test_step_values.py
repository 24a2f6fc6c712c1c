"""Values and pools: what the kernel prints otherwise than it was written, and what others do to a pool meanwhile."""

from pathlib import Path

from qlaunch.journal.engine import HostChanges
from qlaunch.journal.file import Journal
from qlaunch.journal.leases import Leases
from qlaunch.steps.step import Step
from qlaunch.steps.sysfs import Sysfs
from tests.fakes.host import FakeHost

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
