"""A shield with an isolated partition, and huge pages that cannot be had, against the real kernel."""

from collections.abc import Iterator

import pytest

from qlaunch.values.cpus import CpuSet
from tests.lab import faults
from tests.lab.host import LabHost

pytestmark = pytest.mark.lab

MACHINE = """
[machine]
accel = "kvm"
[boot]
app = "probe"
[cpu]
topology = { cores = 1, threads = 2 }
features = ["+topoext"]
pin = "4,5"
emulator = "0-1"
[memory]
size = "128M"
[shutdown]
resend_s = 1
[host]
shield = "isolated"
"""
ISOLATED = "/sys/fs/cgroup/cpuset.cpus.isolated"
SCOPE = "/sys/fs/cgroup/qlaunch-calm.scope"


@pytest.fixture
def calm(host: LabHost) -> Iterator[LabHost]:
    host.machine("calm", MACHINE)
    yield host
    host.run("qlaunch", "down", "calm", "--force", expect=None)


def allowed(host: LabHost, *programs: str) -> list[str]:
    """Where threads of the kernel may run."""
    files = " ".join(f"/proc/$(pgrep -x {program})/status" for program in programs)
    return host.shell(f"grep -h Cpus_allowed_list {files}").split()[1::2]


def test_the_vcpus_are_in_a_partition_and_all_else_is_out_of_it_twice(calm: LabHost) -> None:
    theirs = "kswapd0", "kswapd1", "kthreadd"
    before = allowed(calm, *theirs)
    for _ in range(2):
        calm.qlaunch("up", "calm", "--detach")
        threads = calm.shell(f"for t in $(cat {SCOPE}/vcpus/cgroup.threads); do cat /proc/$t/comm; done 2>/dev/null")
        found = calm.read(f"{SCOPE}/vcpus/cpuset.cpus.partition"), calm.read(ISOLATED)
        others = calm.read(f"{SCOPE}/cpuset.cpus.effective")
        pins = calm.json("status", "calm")
        kernel = [CpuSet.parse(cpus) for cpus in allowed(calm, *theirs)]
        said = calm.qlaunch("logs", "calm").out
        calm.qlaunch("down", "calm", "--force")
        assert found == ("isolated", "4-5")
        assert {"CPU 0/KVM", "CPU 1/KVM"} <= set(threads.splitlines())
        assert others == "0-1"
        assert {thread["name"]: thread["allowed"] for thread in pins["threads"]}["CPU 1/KVM"] == "5"
        assert not [change["drift"] for change in pins["changes"] if change["drift"]]
        assert pins["shield"]["left"] == []
        assert not any({4, 5} & set(cpus) for cpus in kernel), kernel
        assert "processes may run there" in said
        assert calm.read(ISOLATED) == ""
        assert allowed(calm, *theirs) == before


def test_a_shield_beside_a_partition_comes_and_goes(calm: LabHost) -> None:
    calm.machine("other", MACHINE.replace('pin = "4,5"', 'pin = "6,7"').replace('"isolated"', "true"))
    calm.qlaunch("up", "calm", "--detach")
    calm.qlaunch("up", "other", "--detach")
    both = calm.read(ISOLATED), calm.read("/sys/fs/cgroup/system.slice/cpuset.cpus.effective")
    kernel = allowed(calm, "kswapd0", "kthreadd")
    calm.qlaunch("down", "calm", "--force")
    one = calm.read(ISOLATED), calm.read("/sys/fs/cgroup/system.slice/cpuset.cpus.effective")
    drift = [change["drift"] for change in calm.json("status", "other")["changes"] if change["drift"]]
    calm.qlaunch("down", "other", "--force")
    assert both == ("4-5", "0-3")
    assert kernel == ["0-3", "0-3"]
    assert one == ("", "0-5")
    assert drift == []


def test_a_kill_of_both_is_undone_by_recover(calm: LabHost) -> None:
    calm.qlaunch("up", "calm", "--detach")
    status = calm.json("status", "calm")
    calm.kill(status["supervisor_pid"])
    calm.kill(status["pid"])
    calm.qlaunch("recover")
    assert calm.read(ISOLATED) == ""


def test_what_somebody_changed_is_told_while_it_runs(calm: LabHost) -> None:
    calm.qlaunch("up", "calm", "--detach")
    calm.shell("echo 33 > /proc/sys/vm/stat_interval")
    calm.run("systemd-run", "--quiet", "--unit=game", "--slice=game.slice", "sleep", "1000")
    told = calm.qlaunch("status", "calm").out
    calm.run("systemctl", "stop", "game", "game.slice")
    calm.shell("echo 120 > /proc/sys/vm/stat_interval")
    calm.qlaunch("down", "calm", "--force")
    assert "/proc/sys/vm/stat_interval is '33', not '120'" in told
    assert "not all as they were made" in told


def test_huge_pages_of_broken_memory_become_transparent_ones(host: LabHost) -> None:
    free = int(host.shell("awk '/MemFree/ {print int($2 / 1024)}' /proc/meminfo"))
    with faults.fragmented(host, min(free - 700, 3000)):
        left = int(host.shell("awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo")) - 64
        text = MACHINE.replace('"isolated"', "false").replace('"128M"', f'"{left & ~1}M"\nhugepages = "2M"')
        host.machine("strict", text)
        host.machine("easy", text.replace('"2M"', '"2M"\non_missing = "smaller"'))
        host.shell("echo 0 > /proc/sys/vm/compaction_proactiveness")
        strict = host.qlaunch("up", "strict", "--detach", expect=None)
        easy = host.qlaunch("up", "easy", "--detach", expect=None)
        host.qlaunch("down", "easy", "--force", expect=None)
    host.shell("echo 20 > /proc/sys/vm/compaction_proactiveness")
    assert strict.status == 3, strict.err
    assert "pages are missing" in strict.err
    assert easy.status == 0, easy.err
    assert "going on without them" in easy.err
