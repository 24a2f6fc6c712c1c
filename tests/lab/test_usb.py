"""USB devices go to a guest, are pulled and come back while it runs, and are the host's again in the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab import faults, guest
from tests.lab.emulator import STICK_MARK
from tests.lab.failure import LabError
from tests.lab.host import PATIENCE_S, LabHost

pytestmark = pytest.mark.lab

STICK_ID = "46f4:0001"
MARK = STICK_MARK.decode().strip()
STICK = f'[[usb]]\nid = "{STICK_ID}"\n'
# A BIOS without a disk does nothing, and is enough to have a device.
IDLE = """
[machine]
accel = "kvm"
[firmware]
type = "bios"
[memory]
size = "64M"
[shutdown]
timeout_s = 1
[[network]]
boot_index = 0
[display]
tablet = true
"""
# Longer than anybody outside waits.
WAIT = """
wait_for() {
n=0
until eval "$1"; do [ $n -lt 3000 ] || { echo "never: $1"; exit 1; }; sleep 0.1; n=$((n + 1)); done
}
"""
READ_TWICE = f"""{WAIT}
wait_for '[ -b /dev/sda ]'
head -n 1 /dev/sda
echo first look
wait_for '[ ! -b /dev/sda ]'
echo it has gone
wait_for 'ls /dev/sd? 2>/dev/null'
head -n 1 /dev/sd?
"""


def port_of(host: LabHost) -> str:
    return host.shell(
        f"grep -lx {STICK_ID[:4]} /sys/bus/usb/devices/*/idVendor | head -n 1 | xargs dirname | xargs basename"
    ).strip()


@pytest.fixture
def port(host: LabHost) -> str:
    """Where the stick is, plugged in anew: in one of a snapshot the emulator forgets its configuration.

    Source: QEMU's ``hw/usb/bus.c`` (vmstate_usb_device), ``hw/usb/desc.c`` (GET_CONFIGURATION answers 0 then).
    """
    place = port_of(host)
    faults.pull(host, "stick")
    host.wait_until(f"[ ! -e /sys/bus/usb/devices/{place} ]")
    plug_in(host)
    wait_for_disk(host)
    return place


def driver(host: LabHost, port: str) -> str:
    return host.shell(f"basename $(readlink /sys/bus/usb/devices/{port}:1.0/driver) 2>/dev/null || echo none").strip()


def plug_in(host: LabHost) -> None:
    """Put the stick back where it was, as a new disk of the emulator with the same contents."""
    with host.emulator.monitor() as monitor:
        names = {node["node-name"] for node in monitor.execute("query-named-block-nodes")}
        name = next(f"stick{number}" for number in range(1, 100) if f"stick{number}" not in names)
        file = {"driver": "file", "filename": "stick.raw"}
        monitor.execute("blockdev-add", **{"node-name": name, "driver": "raw", "file": file})
        place = {"bus": "usb.0", "port": "4.1", "serial": "LABSTICK", "removable": True}
        end, plugged = time.monotonic() + PATIENCE_S, False
        while not plugged:
            try:
                monitor.execute("device_add", driver="usb-storage", id="stick", drive=name, **place)
                plugged = True
            except LabError as error:  # the one that was pulled still writes out
                if "lock" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.1)


def wait_for_disk(host: LabHost) -> None:
    host.wait_until("[ -b /dev/sda ] && udevadm settle")


@contextmanager
def up(host: LabHost, sections: str = STICK, name: str = "idle") -> Iterator[None]:
    host.machine(name, IDLE + sections)
    host.qlaunch("up", name, "--detach")
    try:
        yield
    finally:
        host.qlaunch("down", name, "--force", expect=None)


def devices(host: LabHost, name: str = "idle") -> str:
    return host.qlaunch("console", name, "-c", "human-monitor-command command-line='info usb'").out


def log(host: LabHost, name: str = "idle") -> str:
    return host.qlaunch("logs", name).out


def test_a_guest_reads_a_stick_which_is_pulled_and_put_back_while_it_runs(host: LabHost, port: str) -> None:
    assert driver(host, port) == "usb-storage"
    initrd = guest.with_drivers(host, "sd_mod")
    job = guest.start(host, STICK, READ_TWICE, initrd)
    job.wait_for_output("first look", PATIENCE_S)
    assert driver(host, port) == "usbfs"
    faults.pull(host, "stick")
    job.wait_for_output("it has gone", PATIENCE_S)
    plug_in(host)
    said = guest.finish(job)
    host.shell(f"rm {initrd}")
    assert said.count(MARK) == 2
    wait_for_disk(host)
    assert driver(host, port) == "usb-storage"
    assert host.shell("head -n 1 /dev/sda").strip() == MARK


def test_what_was_pulled_before_the_start_is_waited_for_when_it_is_optional(host: LabHost, port: str) -> None:
    faults.pull(host, "stick")
    host.wait_until(f"[ ! -e /sys/bus/usb/devices/{port} ]")
    try:
        host.machine("idle", IDLE + STICK)
        refused = host.qlaunch("up", "idle", "--detach", expect=3)
        assert f"no USB device {STICK_ID} is plugged in" in refused.err
        with up(host, f"{STICK}optional = true\n"):
            assert "QEMU USB HARDDRIVE" not in devices(host)
            plug_in(host)
            host.wait_until("qlaunch logs idle | grep -q 'is plugged in, and the guest has it'")
            assert "QEMU USB HARDDRIVE" in devices(host)
            faults.pull(host, "stick")
            host.wait_until("qlaunch logs idle | grep -q 'was unplugged'")
            assert "QEMU USB HARDDRIVE" not in devices(host)
    finally:
        plug_in(host)
        wait_for_disk(host)


def test_a_device_is_attached_and_detached_while_the_guest_runs(host: LabHost, port: str) -> None:
    with up(host, ""):
        assert "QEMU USB HARDDRIVE" in host.qlaunch("attach", "idle", port).out
        assert "QEMU USB HARDDRIVE" in devices(host)
        assert driver(host, port) in ("none", "usbfs")
        twice = host.qlaunch("attach", "idle", STICK_ID, expect=3)
        assert "in use" in twice.err or "already" in twice.err
        host.qlaunch("detach", "idle", STICK_ID)
        wait_for_disk(host)
        assert driver(host, port) == "usb-storage"
        assert "QEMU USB HARDDRIVE" not in devices(host)
        unknown = host.qlaunch("detach", "idle", STICK_ID, expect=3)
        assert f"the guest has no USB device {STICK_ID}" in unknown.err


def test_a_kill_of_supervisor_and_qemu_is_undone_by_recover(host: LabHost, port: str) -> None:
    host.machine("idle", IDLE + f'[[usb]]\nat = "{port}"\n')
    host.qlaunch("up", "idle", "--detach")
    status = host.json("status", "idle")
    host.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
    host.wait_until(f"[ ! -d /proc/{status['pid']} ]")
    assert driver(host, port) == "none"
    host.qlaunch("recover")
    wait_for_disk(host)
    assert driver(host, port) == "usb-storage"


def test_a_supervisor_that_takes_over_knows_what_its_guest_has(host: LabHost, port: str) -> None:
    with up(host):
        host.kill(host.json("status", "idle")["supervisor_pid"])
        host.qlaunch("up", "idle", "--detach")
        assert "QEMU USB HARDDRIVE" in devices(host)
        faults.pull(host, "stick")
        host.wait_until("qlaunch logs idle | grep -q 'was unplugged'")
        plug_in(host)
        host.wait_until("qlaunch logs idle | grep -q 'is plugged in, and the guest has it'")
        host.kill(host.json("status", "idle")["supervisor_pid"])
        faults.pull(host, "stick")
        host.wait_until(f"[ ! -e /sys/bus/usb/devices/{port} ]")
        plug_in(host)
        wait_for_disk(host)
        host.qlaunch("up", "idle", "--detach")
        assert "QEMU USB HARDDRIVE" in devices(host)
    wait_for_disk(host)


def test_two_machines_cannot_have_the_same_stick(host: LabHost) -> None:
    with up(host):
        host.machine("other", IDLE + STICK)
        refused = host.qlaunch("up", "other", "--detach", expect=3)
        assert "Traceback" not in refused.err
        assert "belongs to the machine idle" in refused.err or "is in use by ql-idle" in refused.err
    wait_for_disk(host)


def test_a_stick_that_the_host_swaps_to_is_refused(host: LabHost) -> None:
    host.shell("dd if=/dev/sda of=/root/stick bs=1M status=none; mkswap -q /dev/sda; swapon /dev/sda")
    try:
        host.machine("idle", IDLE + STICK)
        refused = host.qlaunch("up", "idle", "--detach", expect=3)
        assert "is a disk that this host uses: swap" in refused.err
    finally:
        host.shell("swapoff /dev/sda; dd if=/root/stick of=/dev/sda bs=1M conv=fsync; rm /root/stick")


def test_two_equal_devices_are_told_apart_by_their_port(host: LabHost) -> None:
    host.machine("idle", IDLE + '[[usb]]\nid = "0627:0001"\n')
    refused = host.qlaunch("up", "idle", "--detach", expect=3)
    assert "devices are 0627:0001: at " in refused.err


def test_the_contents_of_the_stick_are_as_they_were(host: LabHost) -> None:
    """What the tests above read was the stick itself, and none of them has written."""
    with (Path(host.emulator.folder) / "stick.raw").open("rb") as file:
        assert file.read(len(STICK_MARK)) == STICK_MARK
