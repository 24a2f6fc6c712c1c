"""The vCPUs' threads in an isolated partition: in memory with the kernel's rules; for real in the lab."""

import errno
import os
from collections.abc import Callable

import pytest

from qlaunch.errors import HostError
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import kernel, systemd
from qlaunch.preparation.wish import Wish
from qlaunch.steps import partition
from qlaunch.steps.partition import Partition
from tests.fakes.partition import GROUP, KEY, SCOPE, PartitionHost
from tests.sites import machine

UNIFIED = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
CPUSET = "31 1 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"


def wish(mounts: str = UNIFIED, release: str = "6.12.1", **cpu: object) -> Wish:
    files = {
        "/proc/self/mountinfo": mounts,
        "/proc/sys/kernel/osrelease": release,
        "/sys/devices/system/cpu/online": "0-7",
        "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu memory",
        "/run/systemd/system/x": "",
    }
    made = machine(cpu={"pin": "4,5", "emulator": "0", **cpu}, host={"shield": "isolated"})
    facts = HostFacts(Tree.holding(files, {}))
    return Wish(name="a b", uuid="", machine=made, facts=facts, runtime="/run/qlaunch/a b")


def codes(made: Wish) -> list[str]:
    return [problem.code for problem in kernel.refusals(made)]


def test_the_vcpus_alone_are_in_it() -> None:
    host = PartitionHost()
    Partition().write(host, KEY, "isolated")
    assert host.files[f"{GROUP}/cgroup.threads"].split() == ["31", "32"]
    assert host.files[f"{SCOPE}/cgroup.threads"].split() == ["30", "33"]
    assert Partition().read(host, KEY) == "isolated"


def test_a_partition_that_the_kernel_calls_invalid_is_a_failure_with_its_reason() -> None:
    host = PartitionHost()
    host.reactions[f"{GROUP}/cpuset.cpus"] = lambda _text: None
    with pytest.raises(HostError, match="cannot be isolated: .* invalid"):
        Partition().write(host, KEY, "isolated")


def test_a_kernel_without_exclusive_cpus_is_a_failure() -> None:
    host = PartitionHost()
    del host.files[f"{SCOPE}/cpuset.cpus.exclusive"]
    with pytest.raises(HostError, match="has no cpuset.cpus.exclusive"):
        Partition().write(host, KEY, "isolated")


def test_a_group_that_systemd_removes_meanwhile_is_gone() -> None:
    host = PartitionHost()
    Partition().write(host, KEY, "isolated")
    remove = host.remove_folder

    def vanish(path: str) -> None:
        remove_threads(host)
        remove(path)
        raise FileNotFoundError(2, "No such file or directory", path)

    host.remove_folder = vanish  # type: ignore[method-assign]
    Partition().write(host, KEY, None)
    assert Partition().read(host, KEY) is None


def go(host: PartitionHost) -> None:
    """Let the group's files go, as the kernel removes them: before the group itself."""
    host.files = {path: text for path, text in host.files.items() if not path.startswith(f"{GROUP}/")}


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
@pytest.mark.parametrize("change", range(1, 7))
def test_a_group_whose_files_go_before_it_does_is_waited_for(change: int, number: int) -> None:
    host, seen, waited = PartitionHost(), [], []
    Partition().write(host, KEY, "isolated")

    def fail(_number: int, path: str, _text: str) -> None:
        seen.append(path)
        if len(seen) == change:
            go(host)
        if len(seen) >= change:
            raise OSError(number, os.strerror(number), path)

    def wait(condition: Callable[[], bool], timeout_s: float) -> bool:
        waited.append((condition(), timeout_s))
        host.folders.discard(GROUP)
        return condition()

    host.fail = fail
    host.wait = wait  # type: ignore[method-assign]
    Partition().write(host, KEY, None)
    assert waited == [(False, partition.REMOVED_S)]
    assert Partition().read(host, KEY) is None


def test_a_group_that_stays_without_its_files_is_a_failure() -> None:
    host, waited = PartitionHost(), []
    Partition().write(host, KEY, "isolated")

    def fail(_number: int, path: str, _text: str) -> None:
        go(host)
        raise OSError(errno.ENODEV, "No such device", path)

    def wait(condition: Callable[[], bool], timeout_s: float) -> bool:  # noqa: ARG001 - as Host
        waited.append(condition())
        return condition()

    host.fail = fail
    host.wait = wait  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No such device"):
        Partition().write(host, KEY, None)
    assert waited == [False]


def test_a_thread_that_ends_while_it_is_moved_needs_no_group() -> None:
    host = PartitionHost()
    Partition().write(host, KEY, "isolated")

    def fail(_number: int, path: str, text: str) -> None:
        if text == "31":
            host.files[f"{GROUP}/cgroup.threads"] = "32"
            raise ProcessLookupError(3, "No such process", path)

    host.fail = fail
    Partition().write(host, KEY, None)
    assert Partition().read(host, KEY) is None
    assert "31" not in host.files[f"{SCOPE}/cgroup.threads"].split()


def remove_threads(host: PartitionHost) -> None:
    host.files[f"{GROUP}/cgroup.threads"] = ""


def test_it_is_the_last_step_of_a_shield() -> None:
    *_, last = kernel.steps(wish())
    assert last.claims == {r"/sys/fs/cgroup/qlaunch-a\x20b.scope/vcpus of {qemu} with 2 on 4-5": "isolated"}
    assert not codes(wish())


def test_what_it_lacks_is_said_before_anything_is_touched() -> None:
    assert codes(wish(release="6.1.0-38-amd64")) == ["no-partition"]
    assert codes(wish(CPUSET)) == ["no-partition"]
    assert codes(wish(pin_shared=True)) == ["isolated-shared"]


def test_irqbalance_is_stopped_by_systemd_and_told_without() -> None:
    files = {"/run/irqbalance/x": "", "/proc/self/mountinfo": CPUSET, "/sys/devices/system/cpu/online": "0-7"}
    made = machine(cpu={"pin": "4,5"}, host={"irq": True})
    for booted, kinds, told in ((True, ["service"], []), (False, [], ["irqbalance"])):
        tree = Tree.holding(files | ({"/run/systemd/system/x": ""} if booted else {}), {})
        one = Wish(name="ada", uuid="", machine=made, facts=HostFacts(tree), runtime="/run/qlaunch/ada")
        assert [step.kind for step in systemd.steps(one)] == kinds
        assert [problem.code for problem in systemd.refusals(one)] == told
