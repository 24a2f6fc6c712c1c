"""The photograph itself: it sees what is changed, and says that nothing is where nothing was."""

import pytest

from tests.lab import photograph
from tests.lab.host import LabHost

pytestmark = pytest.mark.lab

POLICY = "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
SATA = "/sys/bus/pci/devices/0000:00:1f.2/driver_override"
# One that has ended, and whose parent never asks.
UNASKED = "import os, time; os.fork() or os._exit(0); time.sleep(4444)"
# Started as the lab's own agent is, and not it. For pkill it is a regular expression.
HELPER, WORDS = "python3 -S -E -c", "import time; time.sleep(3333)"
ENDED = f"pkill -x -f '{HELPER} {WORDS.replace('(', '.').replace(')', '.')}'"
CHANGES = {
    "cpufreq": (f"echo performance > {POLICY}", f"echo schedutil > {POLICY}"),
    "hugepages": ("echo 3 > /proc/sys/vm/nr_hugepages", "echo 0 > /proc/sys/vm/nr_hugepages"),
    "pci": (f"echo vfio-pci > {SATA}", f"echo > {SATA}"),
    "owners": ("chmod 666 /dev/kvm", "chmod 660 /dev/kvm"),
    "processes": (f"setsid {HELPER} '{WORDS}' < /dev/null > /dev/null 2>&1 &", ENDED),
    "kernel threads": ("taskset -pc 0 $(pgrep -x oom_reaper)", "taskset -pc 0-7 $(pgrep -x oom_reaper)"),
    "run": ("touch /run/left", "rm /run/left"),
    "sysctl": ("echo 7 > /proc/sys/vm/stat_interval", "echo 1 > /proc/sys/vm/stat_interval"),
    "links": ("ip link add left0 type dummy", "ip link del left0"),
    "mounts": ("mount -t tmpfs none /mnt", "umount /mnt"),
    "services": ("systemctl stop display-manager", "systemctl start display-manager"),
    "interrupts": ("echo 1 > /proc/irq/default_smp_affinity", "echo ff > /proc/irq/default_smp_affinity"),
    "cgroups": ("mkdir /sys/fs/cgroup/left", "rmdir /sys/fs/cgroup/left"),
}  # fmt: skip


def test_two_photographs_of_a_quiet_host_are_equal(host: LabHost) -> None:
    assert photograph.difference(photograph.take(host.channel), photograph.take(host.channel)) == []


def test_every_kind_of_change_is_seen_in_its_part(host: LabHost) -> None:
    before = photograph.take(host.channel)
    host.shell("\n".join(change for change, _ in CHANGES.values()))
    seen = photograph.difference(before, photograph.take(host.channel))
    host.shell("\n".join(undo for _, undo in CHANGES.values()))
    assert set(CHANGES) <= {line.partition(":")[0] for line in seen}


def test_what_has_ended_is_no_kernel_thread(host: LabHost) -> None:
    before = photograph.take(host.channel)
    host.shell(f"setsid python3 -c '{UNASKED}' < /dev/null > /dev/null 2>&1 &\nuntil pgrep -r Z; do sleep 0.1; done")
    seen = photograph.difference(before, photograph.take(host.channel))
    host.shell("pkill -f 'time[.]sleep.4444'")
    assert [line.partition(":")[0] for line in seen] == ["processes"], seen
