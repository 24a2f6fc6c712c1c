"""A machine with the whole of [host]: all of it in force while it runs, none of it afterwards, whoever dies."""

import pytest

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
pin = "4,5"
emulator = "0-1"
[memory]
size = "128M"
hugepages = "2M"
node = 1
[shutdown]
resend_s = 1
[host]
governor = "performance"
irq = true
shield = true
vtconsoles = "unbind"
services = { stop = ["display-manager.service"] }
sysfs = { "/sys/module/kvm/parameters/ignore_msrs" = "1", "/sys/kernel/mm/transparent_hugepage/enabled" = "never" }
sysctl = { "vm.stat_interval" = "120" }
"""
POLICY = "/sys/devices/system/cpu/cpufreq/policy{}/scaling_governor"
POOL = "/sys/devices/system/node/node{}/hugepages/hugepages-2048kB/nr_hugepages"
IN_FORCE = {
    POLICY.format(4): "performance",
    POLICY.format(2): "schedutil",
    POOL.format(1): "64",
    POOL.format(0): "0",
    "/sys/fs/cgroup/system.slice/cpuset.cpus.effective": "0-3,6-7",
    "/sys/fs/cgroup/user.slice/cpuset.cpus.effective": "0-3,6-7",
    "/proc/irq/default_smp_affinity": "cf",
    "/proc/sys/kernel/watchdog_cpumask": "0-3,6-7",
    "/proc/sys/vm/stat_interval": "120",
    "/sys/module/kvm/parameters/ignore_msrs": "Y",
}


@pytest.fixture
def calm(host: LabHost) -> LabHost:
    host.machine("calm", MACHINE)
    return host


def read_all(host: LabHost) -> dict[str, str]:
    """The values as they are now; a file that is not there, as of a controller that nothing uses, is a dash."""
    names = " ".join(IN_FORCE)
    said = host.shell(f"for f in {names}; do cat $f 2>/dev/null || echo -; done")
    return dict(zip(IN_FORCE, said.split(), strict=True))


def test_all_of_it_is_in_force_while_the_guest_runs(calm: LabHost) -> None:
    calm.qlaunch("up", "calm", "--detach")
    found = read_all(calm)
    shielded = calm.shell("grep -h Cpus_allowed_list /proc/$(pgrep -x systemd-journal)/status").split()[1]
    kernel = calm.shell("grep -h Cpus_allowed_list /proc/2/status /proc/$(pgrep -x rcu_preempt)/status").split()
    scope = calm.shell("cat /proc/$(pgrep ql-calm)/cgroup")
    display = calm.run("systemctl", "is-active", "display-manager", expect=None).out.strip()
    calm.qlaunch("down", "calm", "--force")
    assert found == IN_FORCE
    assert shielded == "0-3,6-7"
    assert kernel == ["Cpus_allowed_list:", "0-3,6-7"] * 2
    assert "/qlaunch-calm.scope" in scope
    assert display == "inactive"


def test_two_machines_share_and_the_last_one_out_gives_back(calm: LabHost) -> None:
    calm.machine("other", MACHINE.replace('pin = "4,5"', 'pin = "6,7"'))
    calm.qlaunch("up", "calm", "--detach")
    calm.qlaunch("up", "other", "--detach")
    both = calm.read("/sys/fs/cgroup/system.slice/cpuset.cpus.effective")
    pool = calm.read(POOL.format(1))
    calm.qlaunch("down", "calm", "--force")
    one = calm.read("/sys/fs/cgroup/system.slice/cpuset.cpus.effective")
    display = calm.run("systemctl", "is-active", "display-manager", expect=None).out.strip()
    calm.qlaunch("down", "other", "--force")
    assert (both, pool, one, display) == ("0-3", "128", "0-5", "inactive")


def test_a_value_that_somebody_changed_stays_and_is_told(calm: LabHost) -> None:
    calm.qlaunch("up", "calm", "--detach")
    calm.shell("echo 33 > /proc/sys/vm/stat_interval")
    said = calm.qlaunch("down", "calm", "--force").err
    left = calm.read("/proc/sys/vm/stat_interval")
    calm.shell("echo 1 > /proc/sys/vm/stat_interval")
    assert "somebody has set /proc/sys/vm/stat_interval to '33' since, which stays" in said
    assert left == "33"


# Three of a kernel's; tests/test_steps.py has nine at each write of each kind.
@pytest.mark.parametrize("error", ["EBUSY", "EIO", "EROFS"])
def test_a_write_that_is_refused_undoes_the_rest(calm: LabHost, error: str) -> None:
    ended = faults.refused(calm, "/proc/sys/vm/stat_interval", error, "qlaunch", "up", "calm", "--detach")
    assert ended.status == 3
    assert "/proc/sys/vm/stat_interval" in ended.err
    assert "Traceback" not in ended.err


# systemd takes it for a process like any other, which then never leaves the scope.
DEAD = """
import os, tempfile
from qlaunch.journal.engine import HostChanges
from qlaunch.journal.file import Journal
from qlaunch.journal.leases import Leases
from qlaunch.steps.host import LocalHost
from qlaunch.steps.step import Step
from qlaunch.steps.systemd import SystemBus

root = tempfile.mkdtemp(dir="/run")
os.mkdir(f"{root}/dead")
pid = os.fork()
if not pid:
    os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
host = LocalHost(print)
journal = Journal.open(f"{root}/dead", "dead", "1")
changes = HostChanges(host, journal, Leases(root, "dead", "1"), print)
scope = f"qlaunch-dead.scope of {pid} on 0-1"
changes.carry_out([Step(kind="scope", summary="a scope", claims={scope: "active"}, lane="quiet")])
os.waitpid(pid, 0)
print(host.systemd.state("qlaunch-dead.scope"))
print(changes.undo(), host.systemd.state("qlaunch-dead.scope"))
journal.close()
os.removedirs(f"{root}/dead")
"""


def test_a_scope_whose_process_dies_while_it_is_made_does_not_stay(host: LabHost) -> None:
    said = host.run("python3", "-P", "-c", DEAD).out.splitlines()
    assert said[-2:] == ["active", "[] missing"], said
