"""The same preparation of a host by a shell script as guides print it and by ``qlaunch up``, in one emulated host.

The script does what guides do, in their order and with their sleeps; then a machine starts on the host that it has
prepared. ``qlaunch up`` does both. Each begins with the same fresh host. What ``--timings`` knows of qlaunch's own run
tells how long its changes took there and back, and what of that the kernel and systemd had it wait: for the binding of
drivers, which is taken out to the system call that waits for it and no further, and for all they do.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from qlaunch.run.timings import QEMU, Part
from qlaunch.steps.waits import KERNEL
from tests.lab import snapshot, source
from tests.lab.emulator import Emulator
from tests.lab.host import LabHost

MACHINE = """
[machine]
accel = "kvm"
[boot]
app = "probe"
[cpu]
topology = {{ cores = 1, threads = 2 }}
pin = "4,5"
emulator = "0-1"
[memory]
size = "128M"
{memory}
[host]
{host}
[[pci]]
host = "{gpu}"
[[network]]
type = "vf"
pf = "{pf}"
vf = 0
{vlan}
"""
HOST = """
governor = "performance"
irq = true
shield = true
vtconsoles = "unbind"
services = { stop = ["display-manager.service"] }
"""
SCRIPT = """
systemctl stop display-manager.service
for console in /sys/class/vtconsole/vtcon*/bind; do echo 0 > $console 2>/dev/null; done
{sleep} 2
modprobe vfio-pci
for function in {gpu}.0 {gpu}.1 {gpu}.2; do
  echo vfio-pci > /sys/bus/pci/devices/$function/driver_override
  echo $function > /sys/bus/pci/devices/$function/driver/unbind
  echo $function > /sys/bus/pci/drivers_probe
done
{sleep} 1
echo 64 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages
for governor in /sys/devices/system/cpu/cpu[45]/cpufreq/scaling_governor; do echo performance > $governor; done
echo cf > /proc/irq/default_smp_affinity
for irq in /proc/irq/*/smp_affinity; do echo cf > $irq 2>/dev/null; done
for slice in system.slice user.slice init.scope; do systemctl set-property --runtime $slice AllowedCPUs=0-3,6-7; done
echo 1 > /sys/class/net/{pf}/device/sriov_numvfs
{sleep} 2
ip link set {pf} up
ip link set {pf} vf 0 mac 52:54:00:00:00:01 vlan 69
"""
# As a guide's script does, it goes on past what fails, such as an interrupt that cannot be moved.
TIMED = "set +e; start=$(date +%s%N); {{ {script}\n}} >/dev/null 2>&1; echo $(( ($(date +%s%N) - start) / 1000000 ))"
MS = 1000.0
PATIENCE_S = 600.0


# The steps in which the kernel takes drivers away from functions and looks for others.
BINDS = (" to vfio-pci", "virtual functions of ")
UNDO = "undo: "


class Half(NamedTuple):
    """Seconds in which changes were made, or back: all; less the kernel's binding; less all waits for others."""

    whole: float
    without_binds: float
    own: float


class Times(NamedTuple):
    """Seconds inside the emulated host."""

    script: float
    script_without_sleeps: float
    start_after_script: float
    qlaunch: float
    preparation: Half
    undo: Half


def run(say: Callable[[str], object]) -> Times:
    """Let them run, each in a host of its own; ``say`` hears each at once. Raises LabError."""
    script, start = by_hand("sleep")
    say(f"the script with its sleeps: {script:.1f} s, and a start after it: {start:.1f} s")
    took, parts = by_qlaunch()
    say(f"qlaunch up --detach: {took:.1f} s")
    there = [part for part in parts if part.lane != QEMU and not part.summary.startswith(UNDO)]
    back = [part for part in parts if part.lane != QEMU and part.summary.startswith(UNDO)]
    return Times(script, by_hand(": ")[0], start, took, halved(there), halved(back))


def halved(parts: Sequence[Part]) -> Half:
    """What one way took."""
    whole = [(part.began, part.ended) for part in parts]
    unbound = [span for part in parts for span in without_waits(part, binds_only=True)]
    own = [span for part in parts for span in without_waits(part, binds_only=False)]
    return Half(covered(whole), covered(unbound), covered(own))


def without_waits(part: Part, *, binds_only: bool) -> Iterator[tuple[float, float]]:
    """The pieces of a part that are left without the system calls that bind a driver, or without any wait."""
    binds = any(words in part.summary for words in BINDS)
    began = part.began
    for wait in sorted(part.waits, key=lambda wait: wait.began):
        if not binds_only or (binds and wait.whose == KERNEL):
            yield began, wait.began
            began = wait.ended
    yield began, part.ended


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """The time in which at least one of them was going on: lanes run side by side."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def by_hand(sleep: str) -> tuple[float, float]:
    """Run the script, and start a machine that changes nothing more."""
    with snapshot.fresh("full") as emulator:
        host, gpu, pf = prepare(emulator)
        took = seconds(host, SCRIPT.format(gpu=gpu, pf=pf, sleep=sleep))
        host.machine("raced", MACHINE.format(gpu=gpu, pf=pf, memory="", host="", vlan=""))
        # In a slice of its own, as libvirt's machines are: the script has shut all others out of the guest's CPUs.
        start = seconds(host, "systemd-run --scope -q --slice=machine.slice qlaunch up raced --detach")
        host.qlaunch("down", "raced", "--force")  # it is refused if it was not up
        return took, start


def by_qlaunch() -> tuple[float, list[Part]]:
    """Start the same machine with all of it in its file, and end it."""
    with snapshot.fresh("full") as emulator:
        host, gpu, pf = prepare(emulator)
        memory = 'hugepages = "2M"\nnode = 1'
        vlan = 'vlan = 69\nmac = "52:54:00:00:00:01"'
        host.machine("raced", MACHINE.format(gpu=gpu, pf=pf, memory=memory, host=HOST, vlan=vlan))
        took = seconds(host, "qlaunch up raced --detach")
        host.qlaunch("down", "raced", "--force")
        return took, msgspec.json.decode(host.read("/var/lib/qlaunch/raced/timings.json"), type=list[Part])


def prepare(emulator: Emulator) -> tuple[LabHost, str, str]:
    """Put qlaunch in, and warm what is read from the disk once."""
    source.install(emulator)
    host = LabHost(emulator, "full")
    gpu = host.address("gpu")
    pf = host.shell(f"ls /sys/bus/pci/devices/{host.address('nic')}.0/net").split()[0]
    host.machine("warm", '[machine]\naccel = "kvm"\n[boot]\napp = "probe"\n[memory]\nsize = "128M"\n')
    host.shell("qlaunch up warm --detach && qlaunch down warm --force; ip link show >/dev/null; udevadm settle")
    return host, gpu, pf


def seconds(host: LabHost, script: str) -> float:
    """Time a shell script inside."""
    return int(host.channel.shell(TIMED.format(script=script), patience_s=PATIENCE_S).split()[-1]) / MS
