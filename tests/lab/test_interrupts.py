"""The guest turns MSI on long after its start, and again after a driver was reloaded: its interrupts stay with it."""

import pytest

from tests.lab import guest
from tests.lab.host import PATIENCE_S, LabHost

pytestmark = pytest.mark.lab

PINNED = """
[host]
irq = true
[[pci]]
host = "{address}"
"""
# The driver of the disk is taken off and put back, which makes its interrupts anew; then the guest waits to be seen.
RELOAD = """
set -e
until [ -b /dev/nvme0n1 ]; do sleep 0.1; done
address=$(basename $(readlink -f /sys/block/nvme0n1/device/device))
echo first; sleep 40
echo $address > /sys/bus/pci/drivers/nvme/unbind
echo $address > /sys/bus/pci/drivers/nvme/bind
until [ -b /dev/nvme0n1 ]; do sleep 0.1; done
head -c 4096 /dev/nvme0n1 > /dev/null
sleep 40
"""
# Where each interrupt of a passed-through function may be handled, once there is one.
WHERE = """
numbers=$(grep -E 'vfio-msix?\\[' /proc/interrupts | cut -d: -f1)
[ -n "$numbers" ] || exit 1
for number in $numbers; do [ "$(cat /proc/irq/$number/smp_affinity_list)" = 4 ] || exit 1; done
"""


def test_the_interrupts_of_a_disk_are_on_the_guests_cpu_also_when_it_makes_new_ones(host: LabHost) -> None:
    sections = PINNED.format(address=f"{host.address('nvme')}.0")
    text = guest.machine(sections, RELOAD).replace("vcpus = 1", 'vcpus = 1\npin = "4"\nemulator = "0-1"')
    host.machine(guest.NAME, text)
    job = host.channel.start(["qlaunch", "run", guest.NAME], cwd="/root")
    host.wait_until(WHERE, PATIENCE_S)
    away = host.read("/proc/irq/default_smp_affinity")
    said = guest.finish(job)
    assert int(away, 16) & 1 << 4 == 0
    assert "first" in said
    log = host.qlaunch("logs", guest.NAME).out
    assert log.count("of the guest's devices are on its CPUs 4") >= 2
    host.wait_until("[ -b /dev/nvme0n1 ]")
