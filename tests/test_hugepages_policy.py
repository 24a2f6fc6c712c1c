"""Huge pages that cannot be had: no start, transparent ones, or smaller ones, as the machine's file says."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from qlaunch.devices.memory import Memory
from qlaunch.errors import HostError
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.machine.load import Loaded
from qlaunch.plan import Plan, make_plan
from qlaunch.run import launch
from qlaunch.steps.hugepages import Hugepages
from qlaunch.steps.step import Step
from qlaunch.values.size import Size
from tests.fakes.host import FakeHost
from tests.sites import found, machine
from tests.test_steps import Stage

if TYPE_CHECKING:
    from qlaunch.run.changes import Changes

POOL, COMPACT, RELEASE = "/pool", "/proc/sys/vm/compact_memory", "/proc/sys/kernel/osrelease"


def pool(*reached: int) -> FakeHost:
    """A pool that a growth brings to the next of these sizes: memory is broken up."""
    host = FakeHost({POOL: "10", COMPACT: "", RELEASE: "6.6.8"})
    sizes = iter(reached)
    host.reactions[POOL] = lambda text: host.files.update({POOL: str(min(int(text), next(sizes)))})
    return host


def test_memory_is_compacted_as_long_as_it_helps_and_told_each_time() -> None:
    host = pool(12, 14, 14, 16)
    Hugepages().write(host, POOL, "16")
    assert host.told == [f"{got} of 6 huge pages so far; memory is being compacted" for got in (2, 4, 4)]


def test_what_compaction_does_not_win_is_a_failure_with_numbers() -> None:
    with pytest.raises(HostError, match="6 pages are missing, and 4 could be had"):
        Hugepages().write(pool(12, 14, 14, 14), POOL, "16")


def test_a_compaction_that_hangs_is_given_up() -> None:
    host = pool(12, 12, 12, 12)

    def hang(_text: str) -> None:
        raise TimeoutError(110, "Connection timed out", COMPACT)

    host.reactions[COMPACT] = hang
    with pytest.raises(HostError, match="2 could be had"):
        Hugepages().write(host, POOL, "16")


def test_beside_zfs_memory_is_not_compacted_by_a_kernel_that_crashes_over_it() -> None:
    host = pool(12)
    host.folders.add("/sys/module/zfs")
    with pytest.raises(HostError) as caught:
        Hugepages().write(host, POOL, "16")
    assert "ZFS" in caught.value.hint
    assert not host.told
    host.files[RELEASE] = "6.7.5"
    host.reactions[POOL] = lambda text: host.files.update({POOL: text})
    Hugepages().write(host, POOL, "16")


@pytest.mark.parametrize(
    ("pages", "policy", "instead"),
    [
        ("2M", "fail", None),
        ("2M", "thp", "thp"),
        ("2M", "smaller", "thp"),
        ("1G", "smaller", "2M"),
        ("1G", "thp", "thp"),
        ("thp", "smaller", None),
        (False, "thp", None),
    ],
)
def test_what_comes_instead(pages: str, policy: str, instead: str | None) -> None:
    assert Memory(size=Size(1 << 30), hugepages=pages, on_missing=policy).instead == instead  # type: ignore[arg-type]


def plan(policy: str, *, pages: str = "1G", gigantic: bool = True, governor: bool = False) -> Plan:
    sizes = {2048: 0} | ({1048576: 0} if gigantic else {})
    files = {"/proc/meminfo": "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB"}
    for size in sizes:
        for name in ("nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages"):
            files[f"/sys/kernel/mm/hugepages/hugepages-{size}kB/{name}"] = "0"
    policies = "/sys/devices/system/cpu/cpufreq/policy0"
    files |= {f"{policies}/affected_cpus": "0", f"{policies}/scaling_governor": "powersave"}
    memory = {"size": "4G", "hugepages": pages, "on_missing": policy}
    made = machine(memory=memory, host={"governor": "performance"} if governor else {})
    here = msgspec.structs.replace(found(made), facts=HostFacts(Tree.holding(files, {})))
    return make_plan(Loaded("ada", "/ada.toml", made), here)


def backing(one: Plan) -> str:
    return next(word for word in one.argv if '"ram0"' in word)


def test_a_plan_knows_what_comes_instead() -> None:
    first = plan("smaller")
    assert first.instead
    assert first.instead.instead
    assert first.instead.instead.instead is None
    assert '"hugetlbsize":1073741824' in backing(first)
    assert '"hugetlbsize":2097152' in backing(first.instead)
    assert "hugetlb" not in backing(first.instead.instead)
    assert plan("fail").instead is None


def test_pages_that_the_host_does_not_have_at_all_are_replaced_with_a_word() -> None:
    made = plan("smaller", gigantic=False)
    assert '"hugetlbsize":2097152' in backing(made)
    told = [problem for problem in made.problems if problem.code == "no-hugepages"]
    assert [(problem.severity, problem.hint) for problem in told] == [("warning", "hugepages = 2M instead")]
    assert [
        problem.severity for problem in plan("fail", gigantic=False).problems if problem.code == "no-hugepages"
    ] == ["error"]


class Pools:
    """Changes of which those to pools of these sizes fail."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.made: list[str] = []
        self.taken_back = 0

    def make(self, steps: Sequence[Step], *, stop: Callable[[], bool]) -> bool:
        for step in steps:
            if any(f"hugepages-{size}kB" in key for key in step.claims for size in self.missing):
                raise HostError("4 pages are missing")
            self.made.append(f"{step.kind} {step.summary}")
        return not stop()

    def take_back(self) -> None:
        self.taken_back += 1
        self.made.clear()


@pytest.mark.parametrize(
    ("missing", "pages", "times"),
    [((), "1073741824", 0), (("1048576",), "2097152", 1), (("1048576", "2048"), "", 2)],
)
def test_the_next_plan_takes_over_before_anything_else_is_touched(
    missing: tuple[str, ...], pages: str, times: int
) -> None:
    changes, said = Pools(*missing), list[str]()
    held = launch._make_all(cast("Changes", changes), plan("smaller", governor=True), said.append, lambda: False)
    assert (f'"hugetlbsize":{pages}' if pages else '"memory-backend-ram"') in backing(held)
    assert changes.taken_back == times == len(said)
    assert [name.split()[0] for name in changes.made] == ["hugepages", "governor"] if pages else ["governor"]


def test_without_a_policy_nothing_comes_instead() -> None:
    with pytest.raises(HostError, match="pages are missing"):
        launch._make_all(cast("Changes", Pools("1048576")), plan("fail"), lambda _text: None, lambda: False)


@pytest.mark.parametrize("order", [("ada", "bob"), ("bob", "ada")], ids="-then-".join)
def test_pages_that_somebody_adds_between_two_machines_stay(tmp_path: Path, order: tuple[str, str]) -> None:
    stage = Stage(tmp_path, "hugepages")
    stage.host = FakeHost({POOL: "10"})
    stage.up("ada", {POOL: "5"})
    stage.host.files[POOL] = "18"
    stage.up("bob", {POOL: "7"})
    assert stage.host.files[POOL] == "25"
    for name in order:
        stage.down(name)
    assert stage.host.files[POOL] == "13"
