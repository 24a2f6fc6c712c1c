"""Threads of the kernel are moved one by one, and each gets back what it had."""

import pytest

from qlaunch.host.kernel_threads import movable_threads
from qlaunch.host.tree import Tree
from qlaunch.steps.kernel_threads import KernelThread
from qlaunch.steps.kind import Refused
from tests.fakes.host import FakeHost
from tests.step_cases import CASES

KTHREAD, BOUND = 0x00200000, 0x04000000


def allowed(host: FakeHost) -> dict[str, str]:
    return {path.split("/")[2]: text.rpartition("\t")[2] for path, text in host.files.items()}


def test_a_thread_of_another_node_keeps_to_its_node() -> None:
    host, kind = CASES["kthread"].host(), KernelThread()
    assert kind.merge(kind.read(host, "12 kswapd1"), ["4-5 of 0-7"]) == "6-7"
    assert kind.merge(kind.read(host, "12 kswapd1"), ["4-5 of 0-7", "6-7 of 0-7"]) == "4-7"


def test_a_number_that_is_another_s_by_now_is_left_alone() -> None:
    host, kind = CASES["kthread"].host(), KernelThread()
    host.files["/proc/11/status"] = host.files["/proc/11/status"].replace("Name:\toom_reaper", "Name:\tbash")
    assert kind.read(host, "11 oom_reaper") is None
    assert kind.settle(None, "0-7", "4-5 of 0-7", ()) is None


def test_one_that_belongs_to_its_cpu_is_counted() -> None:
    with pytest.raises(Refused, match="belongs to its CPU"):
        KernelThread().write(CASES["kthread"].host(), "13 Bound", "0-3")


def test_what_a_partition_made_of_it_is_no_foreign_change() -> None:
    kind = KernelThread()
    assert kind.settle("0-7", "0-3", "4-5 of 0-7", ()) == "0-3"
    assert kind.settle("0-3,6-7", "0-3", "4-5 of 0-7", ()) == "0-3"
    assert kind.is_kept("0-3,6-7", "0-3", "4-5 of 0-7")
    assert not kind.is_kept("0-3,5-7", "0-3", "4-5 of 0-7")
    assert not kind.is_kept("0-1", "0-3", "4-5 of 0-7")


def test_only_threads_that_may_be_moved_are_found_and_no_process_is_recorded() -> None:
    stats = {
        1: ("init", 0),
        2: ("kthreadd", KTHREAD),
        10: ("a) S 1 2 (b", KTHREAD),
        11: ("ksoftirqd/0", KTHREAD | BOUND),
        12: ("irq/9-acpi", KTHREAD),
        13: ("vhost-77", KTHREAD),
    }
    files = {f"/proc/{pid}/stat": f"{pid} ({name}) S 0 0 0 0 -1 {flags} 0 0" for pid, (name, flags) in stats.items()}
    tree = Tree.holding(files, {}, record=True)
    assert movable_threads(tree) == {2: "kthreadd", 10: "a) S 1 2 (b"}
    assert tree.record is not None
    assert not any("init" in text for text in tree.record.files.values())
