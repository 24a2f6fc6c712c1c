"""The fault tools do what they say; otherwise the tests that use them prove nothing."""

import pytest

from tests.lab import emulated, faults, photograph
from tests.lab.failure import LabError
from tests.lab.host import GUEST_STANDS_STILL, LabHost

pytestmark = pytest.mark.lab

WRITER = "import os; d = os.open('/root/w', os.O_CREAT | os.O_WRONLY); [os.pwrite(d, b'%d' % n, n) for n in range(5)]"


def test_a_command_is_killed_at_the_call_that_was_named(host: LabHost) -> None:
    ended = faults.killed_at(host, faults.BEFORE_RECORD, 3, "python3", "-S", "-E", "-c", WRITER)
    assert ended.status != 0
    assert host.read("/root/w") == "01"
    host.shell("rm /root/w")
    assert faults.killed_at(host, faults.BEFORE_RECORD, 6, "python3", "-S", "-E", "-c", WRITER).status == 0
    assert host.read("/root/w") == "01234"
    host.shell("rm /root/w")


def test_a_write_is_refused_with_the_error_that_was_named(host: LabHost) -> None:
    host.write("/root/w", "as it was")
    ended = faults.refused(host, "/root/w", "EBUSY", "busybox", "sh", "-c", "echo new >> /root/w")
    assert ended.status != 0
    assert "busy" in ended.err.lower()
    assert host.read("/root/w") == "as it was"
    host.shell("rm /root/w")


def test_a_guest_that_runs_and_is_silent_is_told_from_a_machine_that_is_gone(host: LabHost) -> None:
    host.machine("mute", '[machine]\naccel = "kvm"\n[boot]\napp = "probe"\n[memory]\nsize = "128M"\n')
    host.qlaunch("up", "mute", "--detach")
    with pytest.raises(LabError, match=f"{GUEST_STANDS_STILL}(.|\n)*RIP="):
        host.wait_for_guest("mute", "a word", patience_s=1)
    host.qlaunch("down", "mute", "--force")
    with pytest.raises(AssertionError, match="never came true"):
        host.wait_for_guest("mute", "a word", patience_s=1)


def test_a_held_file_has_its_holder(host: LabHost) -> None:
    card = host.shell("ls /dev/dri/card* | head -n 1").strip()
    with faults.held_open(host, card) as number:
        assert host.read(f"/proc/{number}/comm")
        assert card in host.shell(f"readlink /proc/{number}/fd/9")


def test_broken_memory_gives_few_huge_pages(host: LabHost) -> None:
    want = "echo 2000 > /proc/sys/vm/nr_hugepages; cat /proc/sys/vm/nr_hugepages; echo 0 > /proc/sys/vm/nr_hugepages"
    whole = int(host.shell(want))
    free = int(host.shell("awk '/MemFree/ {print int($2 / 1024)}' /proc/meminfo"))
    with faults.fragmented(host, min(free - 700, 3000)):
        broken = int(host.shell(want))
    assert broken < whole - 100


def test_a_write_is_delayed(host: LabHost) -> None:
    host.write("/root/w", "")
    script = "import os, time; d = os.open('/root/w', os.O_WRONLY); t = time.monotonic(); os.write(d, b'x'); "
    script += "print(time.monotonic() - t)"
    assert float(faults.delayed(host, "/root/w", 2.0, "python3", "-S", "-E", "-c", script).out) >= 2
    host.shell("rm /root/w")


def test_a_card_is_pulled_and_the_photograph_misses_it(host: LabHost) -> None:
    """It is put back by hand, into the same slot."""
    slot = host.address("twin1")
    before = photograph.take(host.channel)
    faults.pull(host, "twin1")
    host.wait_until(f"[ ! -e /sys/bus/pci/devices/{slot}.0 ]")
    missed = photograph.difference(before, photograph.take(host.channel))
    with host.emulator.monitor() as monitor:
        monitor.execute("device_add", **emulated.twin_device(1))
    host.wait_until(f"ls /sys/bus/pci/devices/{slot}.0/net/*")
    assert f"pci: {slot}.0 driver: e1000e -> (gone)" in missed
