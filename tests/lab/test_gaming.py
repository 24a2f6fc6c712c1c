"""The gaming machine, whole: all that it is given and all that the host does for it at once, and then nothing of it."""

import re
from html import escape

import pytest

from tests.lab import guest, wire
from tests.lab.emulator import NVME_MARK
from tests.lab.host import PATIENCE_S, LabHost
from tests.lab.test_evdev import KEYBOARD, MOUSE, holds_grab, plug_in, unplug
from tests.lab.test_quiet import IN_FORCE, read_all
from tests.lab.test_usb import WAIT

pytestmark = pytest.mark.lab

VF_MAC = "52:54:00:dd:82:2e"
USER = "gamer"
SECTIONS = """
[[iothread]]
name = "io0"
pin = "0-1"
[[pci]]
host = "{gpu}"
id = "1234:1111"
[[pci]]
host = "{nvme}"
[[network]]
type = "vf"
pf = "{pf}"
vf = 1
vlan = 69
mac = "{mac}"
trust = false
spoofchk = true
[[evdev]]
path = "{keyboard}"
grab_all = true
repeat = true
[[evdev]]
path = "{mouse}"
[tpm]
version = "2.0"
[[share]]
path = "/srv/games"
tag = "games"
[display]
looking_glass = "32M"
virtio_input = true
[agent]
enabled = true
[host]
user = "gamer"
governor = "performance"
shield = true
irq = true
inhibit_sleep = true
vtconsoles = "unbind"
services = {{ stop = ["display-manager.service"] }}
sysfs = {{ "/sys/module/kvm/parameters/ignore_msrs" = "1", "/sys/kernel/mm/transparent_hugepage/enabled" = "never" }}
sysctl = {{ "vm.stat_interval" = "120" }}
"""
# Two threads of one core, a pool on their node, and the shape of the guest, in the place of the small guest's own.
SHAPE = """
[cpu]
topology = { cores = 1, threads = 2 }
pin = "4,5"
emulator = "0-1"
[memory]
size = "256M"
hugepages = "2M"
node = 1
"""
PLAIN = """
[cpu]
vcpus = 1
[memory]
size = "256M"
"""
LOOK_AROUND = f"""{WAIT}
set -e
for d in /sys/bus/pci/devices/*; do echo pci $(basename $d) $(cat $d/vendor) $(cat $d/device); done
wait_for '[ -b /dev/nvme0n1 ]'
echo disk $(head -n 1 /dev/nvme0n1)
wait_for '[ -e /sys/class/tpm/tpm0/tpm_version_major ]'
echo tpm $(cat /sys/class/tpm/tpm0/tpm_version_major)
mkdir /games
mount -t virtiofs games /games
echo share $(cat /games/hello)
echo back > /games/back
umount /games
card=$(ls /sys/class/net | grep -v lo)
ip addr add 10.69.0.2/24 dev $card
ip link set $card up
wait_for '[ "$(cat /sys/class/net/$card/carrier)" = 1 ]'
arping -f -c 300 -w 300 -I $card 10.69.0.1
echo processors $(grep -c ^processor /proc/cpuinfo)
echo all is well
while [ ! -e /dev/over ]; do sleep 1; done
"""
# What `status --journal` shows to be in force, each read again after it was set.
KINDS = {
    *("pci-driver", "sriov", "vf", "link", "input", "own-file", "owner", "process", "hugepages", "governor"),
    *("scope", "shield", "irq", "cpus", "service", "vtconsole", "sysfs"),
}


@pytest.fixture
def gaming(host: LabHost) -> LabHost:
    """A host with a user for QEMU, a folder to share, and a keyboard that was plugged in anew (see test_evdev)."""
    unplug(host)
    plug_in(host)
    host.shell(f"id -u {USER} 2>/dev/null || useradd --system --groups kvm --no-create-home {USER}")
    host.shell(f"mkdir -p /srv/games; chown {USER} /srv/games; echo from the host > /srv/games/hello")
    return host


def status_of(host: LabHost, pid: int) -> dict[str, str]:
    lines = host.read(f"/proc/{pid}/status").splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def machine(host: LabHost, initrd: str) -> str:
    """The machine file, with the addresses and names of this host."""
    gpu, nvme, nic = (host.address(port) for port in ("gpu", "nvme", "nic"))
    pf = host.shell(f"ls /sys/bus/pci/devices/{nic}.0/net").split()[0]
    sections = SECTIONS.format(gpu=gpu, nvme=nvme, pf=pf, mac=VF_MAC, keyboard=KEYBOARD, mouse=MOUSE)
    text = guest.machine(sections, LOOK_AROUND, initrd)
    assert PLAIN in text
    return text.replace(PLAIN, SHAPE)


def test_the_gaming_machine_has_all_of_it_and_leaves_nothing(gaming: LabHost) -> None:
    host = gaming
    initrd = guest.with_drivers(host, "virtiofs")
    try:
        host.machine("gaming", machine(host, initrd))
        with wire.Wire(host.emulator.folder) as far_end:
            told = host.qlaunch("up", "gaming", "--detach", "--timings", "/srv/games/up.svg").err
            frame = far_end.frame_from(VF_MAC, PATIENCE_S)
            while frame.protocol != wire.ARP:
                frame = far_end.frame_from(VF_MAC, PATIENCE_S)
            host.wait_for_guest("gaming", "all is well")
        said = host.read("/var/lib/qlaunch/gaming/serial.log")
        found = read_all(host)
        status = host.json("status", "gaming")
        changes = host.json("status", "gaming", "--journal")["changes"]
        grabbed = [holds_grab(host, path) for path in (KEYBOARD, MOUSE)]
        process = status_of(host, status["pid"])
        uid = host.shell(f"id -u {USER}").strip()
        shared = host.shell("stat -c '%U %a %s' /dev/shm/looking-glass-gaming").strip()
        sleepers = host.shell("systemd-inhibit --list --no-pager --no-legend || true")
        drawn = host.read("/srv/games/up.svg")
        host.qlaunch("down", "gaming", "--force")
        assert host.read("/srv/games/back") == "back"
    finally:
        host.shell(f"rm -rf {initrd} /srv/games; userdel {USER}")
    # The guest has it.
    assert (frame.vlan, frame.priority) == (69, 0)
    ids = [line.split()[2:] for line in said.splitlines() if line.startswith("pci ")]
    assert {"1234:1111", "8086:293e", "1b36:000d", "1b36:0010", "8086:10ca"} <= {
        f"{vendor[2:]}:{device[2:]}" for vendor, device in ids
    }
    assert f"disk {NVME_MARK.decode().strip()}" in said
    assert "tpm 2" in said
    assert "share from the host" in said
    assert f"from 10.69.0.1 [{wire.STATION}]" in said.lower()
    assert "processors 2" in said
    # The host does it.
    assert found == {**IN_FORCE, "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages": "128"}
    assert (status["pins"]["vcpus"], status["pins"]["iothreads"]) == ({"0": "4", "1": "5"}, {"io0": "0-1"})
    allowed = {thread["name"]: thread["allowed"] for thread in status["threads"]}
    assert [allowed[name] for name in ("CPU 0/KVM", "CPU 1/KVM")] == ["4", "5"]
    assert {change["state"] for change in changes} == {"made"}
    assert {change["kind"] for change in changes} >= KINDS
    assert [change["differs"] for change in changes if change["differs"]] == []
    assert grabbed == [True, True]
    # Each of its steps was timed, and stands in the table and in the drawing.
    parts = {change["summary"] for change in changes} | {
        "start of QEMU",
        "QEMU makes the machine",
        "the guest is let go",
    }
    assert [part for part in parts if part not in told or f">{escape(part)} (" not in drawn] == []
    # QEMU has no right that it does not need.
    assert set(process["Uid"].split()) == {uid}
    assert [process[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16] * 4
    assert (process["Seccomp"], process["NoNewPrivs"]) == ("2", "1")
    assert shared == f"{USER} 600 {32 << 20}"
    assert re.search(r"qlaunch.*gaming", sleepers)
