"""The shield without systemd: in memory for each layout, and for real where this host has cpusets of v1."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import shield
from qlaunch.preparation.wish import Wish
from qlaunch.steps.cgroup import Controller, Group, Pen
from qlaunch.steps.host import LocalHost
from tests.fakes.cgroup import CgroupHost
from tests.sites import machine

V1, V2 = "/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"
REAL = Path(V1)


def wish(mounts: str, *folders: str, booted: bool = False, **host: object) -> Wish:
    files = {
        "/proc/self/mountinfo": mounts,
        "/sys/devices/system/cpu/online": "0-7",
        "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu memory",
        **{f"{V2}/{folder}/cgroup.procs": "" for folder in folders},
    }
    if booted:
        files["/run/systemd/system/x"] = ""
    made = machine(cpu={"pin": "4,5", "emulator": "0"}, host={"shield": True, **host})
    return Wish(name="ada", uuid="", machine=made, facts=HostFacts(Tree.holding(files, {})), runtime="/run/qlaunch/ada")


UNIFIED = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
CPUSET = "31 1 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (wish(UNIFIED, booted=True), ["scope", "shield"]),
        (wish(UNIFIED, "openrc.sshd"), ["cgroup-controller", "cgroup", "cgroup-shield", "cgroup-cpus"]),
        (wish(UNIFIED), ["cgroup-controller", "cgroup", "cgroup-shield"]),
        (wish(CPUSET, booted=True), ["cgroup", "cgroup-shield"]),
        (wish(CPUSET), ["cgroup", "cgroup-shield"]),
        (wish(""), []),
    ],
    ids=["systemd", "v2-with-groups", "v2", "systemd-on-v1", "v1", "nothing"],
)
def test_the_way_is_chosen_by_what_the_host_has(made: Wish, kinds: list[str]) -> None:
    found = list(shield.steps(made))
    assert [step.kind for step in found] == kinds
    assert {step.moment for step in found} <= {"after-launch"}
    codes = [problem.code for problem in shield.refusals(made)]
    assert codes == ([] if kinds else ["no-cpuset"])


def test_what_others_grouped_already_loses_the_guests_cpus_and_guests_do_not() -> None:
    *_, last = shield.steps(wish(UNIFIED, "openrc.sshd", "qlaunch-bob", "qlaunch-host", "qlaunch:host"))
    assert last.claims == {f"{V2}/openrc.sshd": "4-5 of 0-7"}


def test_a_shield_that_leaves_the_host_nothing_is_refused() -> None:
    made = machine(cpu={"pin": "0,1,2,3,4,5,6,7"}, host={"shield": True})
    facts = HostFacts(Tree.holding({"/sys/devices/system/cpu/online": "0-7", "/proc/self/mountinfo": CPUSET}, {}))
    problems = shield.refusals(Wish(name="ada", uuid="", machine=made, facts=facts, runtime="/run/qlaunch/ada"))
    assert [problem.code for problem in problems] == ["no-cpu-left"]


def test_kernel_threads_stay_and_everything_else_moves_and_comes_back() -> None:
    host, pen = CgroupHost(V1, is_v2=False), Pen()
    pen.write(host, V1, "0-3")
    assert host.groups == {V1: ["2"], f"{V1}/qlaunch:host": ["1", "30", "31"]}
    assert host.files[f"{V1}/qlaunch:host/cpuset.mems"] == "0-1"
    pen.write(host, V1, None)
    assert host.groups == {V1: ["1", "2", "30", "31"]}


def test_on_v2_the_controller_is_handed_on_first() -> None:
    host, controller, pen = CgroupHost(V2, is_v2=True), Controller(), Pen()
    key = f"{V2}/cgroup.subtree_control"
    controller.write(host, key, "cpuset")
    assert controller.read(host, key) == "cpuset"
    Group().write(host, f"{V2}/qlaunch-ada of 30 on 0,4-5", "active")
    pen.write(host, V2, "0-3")
    assert host.groups == {V2: ["2"], f"{V2}/qlaunch-ada": ["30"], f"{V2}/qlaunch:host": ["1", "31"]}
    pen.write(host, V2, None)
    Group().write(host, f"{V2}/qlaunch-ada of 30 on 0,4-5", None)
    controller.write(host, key, "")
    assert host.groups == {V2: ["1", "2", "30", "31"]}
    assert controller.read(host, key) == ""


def test_a_process_that_ends_while_it_is_moved_is_no_failure() -> None:
    host = CgroupHost(V1, is_v2=False)
    host.folders.discard("/proc/31")
    Pen().write(host, V1, "0-3")
    assert host.groups[f"{V1}/qlaunch:host"] == ["1", "30"]


@pytest.fixture
def root() -> Iterator[str]:
    """A group of the real hierarchy that stands for its root, so that no process of this host is touched."""
    if os.geteuid() != 0 or not os.access(f"{V1}/cpuset.cpus", os.W_OK) or os.cpu_count() == 1:
        pytest.skip("needs root, cpusets of v1, and two CPUs")
    path = REAL / f"test-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    for name in ("cpuset.mems", "cpuset.cpus"):
        (path / name).write_text((REAL / name).read_text())
    yield str(path)
    for folder in sorted(path.glob("*/"), reverse=True):
        with suppress(OSError):
            folder.rmdir()
    path.rmdir()


def allowed(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Cpus_allowed_list:"))


def test_the_kernel_moves_tasks_away_and_back_twice(root: str) -> None:
    host, pen, group = LocalHost(), Pen(), Group()
    everything = Path(root, "cpuset.cpus").read_text().strip()
    with subprocess.Popen(["sleep", "600"]) as other, subprocess.Popen(["sleep", "600"]) as qemu:
        try:
            for process in (other, qemu):
                Path(root, "cgroup.procs").write_text(str(process.pid))
            key = f"{root}/qlaunch-ada of {qemu.pid} on 1"
            for _ in range(2):
                group.write(host, key, "active")
                wanted = pen.merge(pen.read(host, root), [f"1 of {everything}"])
                pen.write(host, root, wanted)
                assert (pen.read(host, root), group.read(host, key)) == (wanted, "active")
                assert (allowed(other.pid), allowed(qemu.pid)) == ("0", "1")
                pen.write(host, root, None)
                group.write(host, key, None)
                assert (pen.read(host, root), group.read(host, key)) == (None, None)
                assert (allowed(other.pid), allowed(qemu.pid)) == (everything, everything)
                assert not [entry for entry in Path(root).iterdir() if entry.is_dir()]
        finally:
            for process in (other, qemu):
                process.kill()
                process.wait()
