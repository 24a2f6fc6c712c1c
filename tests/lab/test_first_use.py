"""A machine under KVM in the emulated host: what its guest sees, where its threads run, and what a kill leaves."""

import pytest

from tests.lab.host import LabHost

pytestmark = pytest.mark.lab

MACHINE = """
[machine]
accel = "kvm"
[boot]
app = "probe"
[cpu]
topology = {{ sockets = 1, dies = 1, cores = 1, threads = 2 }}
pin = "4,5"
emulator = "0-1"
hide_kvm = true
[cpu.hyperv]
preset = "gaming"
vendor_id = "whatever"
[memory]
size = "256M"
[shutdown]
resend_s = 1
[qemu]
binary = "{binary}"
"""
BINARIES = ("qemu-system-x86_64", "qemu-7.2")
# What the gaming preset promises, as the guest's CPUID tells it (qlaunch/devices/hyperv.py).
ENLIGHTENMENTS = {"relaxed", "vapic", "vpindex", "synic", "stimer", "frequencies", "time", "runtime", "tlbflush", "ipi"}


@pytest.fixture(params=BINARIES)
def hv(host: LabHost, request: pytest.FixtureRequest) -> LabHost:
    host.machine("hv", MACHINE.format(binary=request.param))
    return host


def alive(host: LabHost, pid: int) -> bool:
    return host.run("sh", "-c", f"[ -d /proc/{pid} ]", expect=None).status == 0


def test_the_guest_sees_what_the_file_says(hv: LabHost) -> None:
    report = hv.report("hv")
    assert (report.values["cores-per-socket"], report.values["threads-per-core"]) == ("1", "2")
    assert report.values["processors"] == "2"
    assert report.values["memory-mib"] == "256"
    assert report.values["hyperv-vendor"] == "whatever"
    assert report.hyperv >= ENLIGHTENMENTS
    assert "spinlocks=8191" in report.hyperv
    assert not any("KVM" in hypervisor for hypervisor in report.hypervisors)


def test_every_thread_runs_where_it_is_pinned(hv: LabHost) -> None:
    hv.qlaunch("up", "hv", "--detach")
    pid = hv.json("status", "hv")["pid"]
    script = f"for t in /proc/{pid}/task/*; do echo $(cat $t/comm): $(grep Cpus_allowed_list $t/status); done"
    lines = [line for line in hv.shell(script).splitlines() if ": Cpus" in line]
    # One that QEMU starts for a vCPU's write into the flash has the vCPU's CPUs, and ends after 10 s without work:
    # it polls QEMU's main context from the vCPU's thread. Source: QEMU util/thread-pool.c, hw/block/pflash_cfi01.c.
    threads = dict(line.split(": Cpus_allowed_list: ") for line in lines if not line.startswith("worker:"))
    hv.qlaunch("down", "hv", "--force")
    assert {name: cpus for name, cpus in threads.items() if name.startswith("CPU")} == {
        f"CPU {number}/KVM": str(4 + number) for number in range(2)
    }
    others = {cpus for name, cpus in threads.items() if not name.startswith(("CPU", "kvm"))}
    assert others == {"0-1"}


def test_a_qemu_that_is_killed_leaves_nothing(hv: LabHost) -> None:
    hv.qlaunch("up", "hv", "--detach")
    status = hv.json("status", "hv")
    hv.kill(status["pid"])
    hv.wait_until(f"[ ! -d /proc/{status['supervisor_pid']} ]")


def test_a_guest_survives_its_supervisor_and_is_taken_over(hv: LabHost) -> None:
    hv.qlaunch("up", "hv", "--detach")
    before = hv.json("status", "hv")
    hv.kill(before["supervisor_pid"])
    assert alive(hv, before["pid"])
    hv.qlaunch("up", "hv", "--detach")
    after = hv.json("status", "hv")
    assert after["pid"] == before["pid"]
    assert after["supervisor_pid"] not in (None, before["supervisor_pid"])
    hv.qlaunch("down", "hv", "--force")
    assert not alive(hv, before["pid"])


def test_a_guest_without_a_supervisor_is_ended_by_down(hv: LabHost) -> None:
    hv.qlaunch("up", "hv", "--detach")
    status = hv.json("status", "hv")
    hv.kill(status["supervisor_pid"])
    hv.qlaunch("down", "hv", "--force")
    assert not alive(hv, status["pid"])


def test_when_both_are_killed_recover_undoes_what_is_left(hv: LabHost) -> None:
    hv.qlaunch("up", "hv", "--detach")
    status = hv.json("status", "hv")
    hv.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
    hv.wait_until(f"[ ! -d /proc/{status['pid']} ]")
    assert "hv: killed, and not undone on this host; run: qlaunch recover" in hv.qlaunch("list").err
    hv.qlaunch("recover")
    assert "nothing is left to undo" in hv.qlaunch("recover").out


def test_a_second_machine_is_refused_the_cpus_of_the_first(hv: LabHost) -> None:
    hv.machine("twin", MACHINE.format(binary=BINARIES[0]))
    hv.qlaunch("up", "hv", "--detach")
    refused = hv.qlaunch("up", "twin", "--detach", expect=3)
    assert "CPU 4 belongs to the machine hv" in refused.err
    hv.qlaunch("down", "hv", "--force")
