"""A PCI device goes to a guest that runs, and comes back when it is asked for: both sides see it come and go."""

import pytest

from tests.lab import guest
from tests.lab.emulator import NVME_MARK
from tests.lab.host import PATIENCE_S, LabHost
from tests.lab.test_passthrough import driver
from tests.lab.test_usb import WAIT

pytestmark = pytest.mark.lab

COME_AND_GO = f"""{WAIT}
echo all is well
wait_for '[ -b /dev/nvme0n1 ]'
head -n 1 /dev/nvme0n1
echo it is here
wait_for '[ ! -b /dev/nvme0n1 ]'
echo it has gone
wait_for '[ -b /dev/nvme0n1 ]'
echo it is here again
while :; do sleep 1; done
"""


def test_a_disk_goes_to_a_guest_that_runs_and_comes_back(host: LabHost) -> None:
    slot = host.address("nvme")
    job = guest.start(host, "", COME_AND_GO)
    job.wait_for_output("all is well", PATIENCE_S)
    said = host.qlaunch("attach", guest.NAME, slot).out
    job.wait_for_output("it is here", PATIENCE_S)
    while_there = driver(host, f"{slot}.0")
    twice = host.qlaunch("attach", guest.NAME, slot, expect=3).err
    back = host.qlaunch("detach", guest.NAME, f"{slot}.0").out
    job.wait_for_output("it has gone", PATIENCE_S)
    host.wait_until("[ -b /dev/nvme0n1 ]")
    assert driver(host, f"{slot}.0") == "nvme"
    nothing = host.qlaunch("detach", guest.NAME, slot, expect=3).err
    host.qlaunch("attach", guest.NAME, slot)
    job.wait_for_output("it is here again", PATIENCE_S)
    host.qlaunch("down", guest.NAME, "--force")
    ended = job.wait(PATIENCE_S)
    assert NVME_MARK.decode().strip() in ended.out
    assert f"the guest has {slot}" in said
    assert while_there == "vfio-pci"
    assert f"the guest has {slot} already" in twice
    assert f"the host has {slot} again" in back
    assert f"the guest has no PCI device {slot}" in nothing
    host.wait_until("[ -b /dev/nvme0n1 ]")


def test_what_a_guest_may_not_have_is_refused_while_it_runs_too(host: LabHost) -> None:
    job = guest.start(host, "", "echo all is well\nwhile :; do sleep 1; done\n")
    job.wait_for_output("all is well", PATIENCE_S)

    def refusal(address: str) -> str:
        return host.qlaunch("attach", guest.NAME, address, expect=3).err

    assert "has devices that stay with the host" in refusal(host.address("dirty"))
    assert "is held open by" in refusal(host.address("gpu"))
    assert "there is no device at 0000:7f:1f" in refusal("7f:1f")
    host.qlaunch("down", guest.NAME, "--force")
    job.wait(PATIENCE_S)


def test_what_was_attached_is_given_back_after_a_kill(host: LabHost) -> None:
    slot = host.address("nvme")
    job = guest.start(host, "", "echo all is well\nwhile :; do sleep 1; done\n")
    job.wait_for_output("all is well", PATIENCE_S)
    host.qlaunch("attach", guest.NAME, slot)
    status = host.json("status", guest.NAME)
    host.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
    host.wait_until(f"[ ! -d /proc/{status['pid']} ]")
    job.wait(PATIENCE_S)
    host.qlaunch("recover")
    assert driver(host, f"{slot}.0") == "nvme"
    host.wait_until("[ -b /dev/nvme0n1 ]")
