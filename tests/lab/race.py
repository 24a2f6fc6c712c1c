"""The same preparation of a host by a shell script as guides print it and by ``qlaunch up``, in one emulated host.

The script does what guides do, in their order and with their sleeps; then a machine starts on the host that it has
prepared. ``qlaunch up`` does both. Each begins with the same fresh host. What ``--timings`` knows of qlaunch's own run
tells how long its changes took there and back, and how long they would take if the kernel and systemd answered at once:
where they bind drivers, which is taken out to the system call that waits for it and no further, and in all they do.
What follows such a wait in its lane begins earlier then; that the lanes would crowd each other more is left out.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import median
from typing import NamedTuple

import msgspec

from qlaunch.journal.lanes import grouped
from qlaunch.run.timings import QEMU, Part
from qlaunch.steps.waits import KERNEL, Wait
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
ROUNDS = 5  # one alone says little: they differ by a half within a quarter of an hour


BINDS = " to vfio-pci"  # of a step in which the kernel takes drivers away from functions and looks for others
MAKES = "virtual functions of "  # of one that makes them or takes them away, which binds nothing: no driver is probed
UNDO = "undo: "
AFTER_LAUNCH = "quiet"  # the lane of all changes that need QEMU's process: begun when the others are done, undone first
BESIDE_LAUNCH = "functions"  # of those that the launch does not wait for; undone with them


class Half(NamedTuple):
    """Seconds from the first change to the last, or back.

    As it was; had the kernel bound drivers at once; had it made virtual functions at once, too; and all else at once.
    """

    whole: float
    without_binds: float
    without_making: float
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
    rounds: list[tuple[float, Half, Half]] = []
    for _ in range(ROUNDS):
        took, parts = by_qlaunch()
        there = halved([part for part in parts if part.lane != QEMU and not part.summary.startswith(UNDO)])
        back = halved([part for part in parts if part.lane != QEMU and part.summary.startswith(UNDO)])
        say(f"qlaunch up --detach: {took:.1f} s; changes: {there.whole:.2f} s, {there.without_binds:.2f} without binds")
        rounds.append((took, there, back))
    took = median(took for took, _, _ in rounds)
    there, back = middle([there for _, there, _ in rounds]), middle([back for _, _, back in rounds])
    return Times(script, by_hand(": ")[0], start, took, there, back)


def middle(halves: Sequence[Half]) -> Half:
    """Each of their times for itself."""
    return Half(*map(median, zip(*halves, strict=True)))


def halved(parts: Sequence[Part]) -> Half:
    """What one way took."""
    return Half(
        replayed(parts, lambda _part, _wait: False),
        replayed(parts, lambda part, wait: wait.whose == KERNEL and BINDS in part.summary),
        replayed(parts, lambda part, wait: wait.whose == KERNEL and (BINDS in part.summary or MAKES in part.summary)),
        replayed(parts, lambda _part, _wait: True),
    )


def replayed(parts: Sequence[Part], at_once: Callable[[Part, Wait], bool]) -> float:
    """How long they take when some waits end at once: in its lane, what follows begins earlier by as much.

    QEMU's launch, which is in the middle of them, is left out, and so is what goes on meanwhile.
    """
    late = [part for part in parts if lane_of(part) in (AFTER_LAUNCH, BESIDE_LAUNCH)]
    early = [part for part in parts if part not in late]
    waited = [part for part in late if lane_of(part) == AFTER_LAUNCH or part.summary.startswith(UNDO)]
    took = last_end(early, at_once) - min(part.began for part in early) if early else 0.0
    return took + (last_end(late, at_once) - min(part.began for part in waited) if waited else 0.0)


def last_end(parts: Sequence[Part], at_once: Callable[[Part, Wait], bool]) -> float:
    """When the last one ends then. A part begins as long as it did after the last of those it follows."""
    last: list[float] = []
    for lane in grouped(lane_of, sorted(parts, key=lambda part: part.began)):
        follows: list[tuple[float, float]] = []  # when parts ended, and when they end now
        for _, stage in groupby(lane, key=lambda part: "/" in part.lane):
            ends = []
            for row in grouped(lambda part: part.lane, stage):
                before = follows
                for part in row:
                    earlier = max(ended for ended, _ in before) - max(end for _, end in before) if before else 0.0
                    waits = covered([(wait.began, wait.ended) for wait in part.waits if at_once(part, wait)])
                    before = [(part.ended, part.ended - earlier - waits)]
                ends += before
            follows = ends
        last += [end for _, end in follows]
    return max(last)


def lane_of(part: Part) -> str:
    """Its lane, without its branch."""
    return part.lane.partition("/")[0]


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """The time in which at least one of them was going on."""
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
