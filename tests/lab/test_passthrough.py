"""Devices go into a guest and come back: the guest lists them, the wire shows its frames, and the host is as it was."""

import re

import pytest

from tests.lab import emulated, faults, guest, wire
from tests.lab.emulator import NVME_MARK
from tests.lab.host import PATIENCE_S, LabHost
from tests.lab.test_usb import WAIT

pytestmark = pytest.mark.lab

MACHINE = """
[machine]
accel = "kvm"
[boot]
app = "probe"
[cpu]
vcpus = 2
[memory]
size = "256M"
[shutdown]
resend_s = 1
"""
VF = """
[[network]]
type = "vf"
pf = "{pf}"
vf = 1
vlan = 69
vlan_qos = 3
mac = "{mac}"
"""
VF_MAC = "52:54:00:dd:82:2e"
# Inside the small Linux guest. The link comes up when the card's other half has answered.
ASK_THE_WIRE = f"""{WAIT}
set -e
card=$(ls /sys/class/net | grep -v lo)
echo driver $(basename $(readlink /sys/class/net/$card/device/driver)) address $(cat /sys/class/net/$card/address)
ip addr add 10.69.0.2/24 dev $card
ip link set $card up
wait_for '[ "$(cat /sys/class/net/$card/carrier)" = 1 ]'
arping -f -c 300 -w 300 -I $card 10.69.0.1
"""
USE_THE_DISK = f"""{WAIT}
set -e
wait_for '[ -b /dev/nvme0n1 ]'
head -n 1 /dev/nvme0n1
echo $(cat /sys/block/nvme0n1/size) sectors
printf 'written by the guest' > /block
dd if=/block of=/dev/nvme0n1 bs=4096 seek=1 conv=sync,fsync
"""


def pci(host: LabHost, port: str, **more: str) -> str:
    """The [[pci]] section of what sits behind a port."""
    lines = [f'host = "{host.address(port)}"', *(f'{key} = "{value}"' for key, value in more.items())]
    return "\n".join(["[[pci]]", *lines, ""])


def driver(host: LabHost, address: str) -> str:
    return host.shell(f"basename $(readlink /sys/bus/pci/devices/{address}/driver) 2>/dev/null || echo none").strip()


def refusal(host: LabHost, text: str, expect: int = 3) -> str:
    host.machine("given", MACHINE + text)
    ended = host.qlaunch("up", "given", "--detach", expect=expect)
    assert "Traceback" not in ended.err
    return ended.err


def test_a_graphics_card_goes_to_the_guest_and_back_three_times(host: LabHost) -> None:
    slot = host.address("gpu")
    host.machine("given", MACHINE + pci(host, "gpu", id="1234:1111"))
    host.shell("systemctl stop display-manager")
    try:
        for _ in range(3):
            host.qlaunch("up", "given", "--detach")
            assert [driver(host, f"{slot}.{number}") for number in range(3)] == ["vfio-pci"] * 3
            host.qlaunch("down", "given", "--force")
            assert [driver(host, f"{slot}.{number}") for number in range(3)] == [
                "bochs-drm",
                "snd_hda_intel",
                "xhci_hcd",
            ]
        report = host.report("given")
    finally:
        host.shell("systemctl start display-manager")
    given = [(function.address[-4:], function.id) for function in report.functions if function.id == "1234:1111"]
    place = next(function.address for function in report.functions if function.id == "1234:1111")
    beside = sorted(f.id for f in report.functions if f.address[:-1] == place[:-1])
    assert given
    assert beside == ["1234:1111", "1b36:000d", "8086:293e"]


def test_a_virtual_function_sends_and_hears_on_its_vlan(host: LabHost) -> None:
    """What leaves the card is seen on the wire, where the guest's question is answered in the same VLAN."""
    controller = f"{host.address('nic')}.0"
    pf = host.shell(f"ls /sys/bus/pci/devices/{controller}/net").split()[0]
    with wire.Wire(host.emulator.folder) as far_end:
        job = guest.start(host, VF.format(mac=VF_MAC, pf=pf), ASK_THE_WIRE)
        frame = far_end.frame_from(VF_MAC, PATIENCE_S)
        while frame.protocol != wire.ARP:
            frame = far_end.frame_from(VF_MAC)
        shown = host.shell(f"ip link show {pf}")
        said = guest.finish(job)
    assert (frame.vlan, frame.priority) == (69, 3)
    assert f"driver igbvf address {VF_MAC}" in said
    assert f"from 10.69.0.1 [{wire.STATION}]" in said.lower()
    assert f"{VF_MAC} brd ff:ff:ff:ff:ff:ff, vlan 69, qos 3" in shown
    assert host.read(f"/sys/bus/pci/devices/{controller}/sriov_numvfs") == "0"


def test_a_function_s_rate_waits_for_the_carrier_of_a_card_that_was_down(host: LabHost) -> None:
    """And one that the card cannot have fails the start when QEMU is there already; all comes back."""
    pf = host.shell(f"ls /sys/bus/pci/devices/{host.address('nic')}.0/net").split()[0]
    assert host.read(f"/sys/class/net/{pf}/operstate") == "down"
    limited = VF.format(mac=VF_MAC, pf=pf) + "max_tx_mbps = {}\n"
    host.machine("given", MACHINE + limited.format(100))
    host.qlaunch("up", "given", "--detach")
    assert "max_tx_rate 100Mbps" in host.shell(f"ip link show {pf}")
    host.qlaunch("down", "given", "--force")
    assert "rate=0-2000000: invalid argument" in refusal(host, limited.format(2_000_000))


def test_an_nvme_disk_is_read_and_written_by_the_guest(host: LabHost) -> None:
    address = f"{host.address('nvme')}.0"
    disk = host.emulator.folder / "nvme.raw"
    said = guest.run(host, pci(host, "nvme"), USE_THE_DISK)
    assert NVME_MARK.decode().strip() in said
    assert f"{(64 << 20) // 512} sectors" in said
    with disk.open("rb") as file:
        file.seek(4096)
        assert file.read(20) == b"written by the guest"
    assert driver(host, address) == "nvme"
    host.wait_until("[ -b /dev/nvme0n1 ]")
    assert host.shell("head -c 20 /dev/nvme0n1") == "the lab's NVMe disk,"
    host.shell("dd if=/dev/zero of=/dev/nvme0n1 bs=4096 seek=1 count=1 conv=fsync status=none")


def test_the_probe_lists_a_disk_that_was_given(host: LabHost) -> None:
    host.machine("given", MACHINE + pci(host, "nvme"))
    report = host.report("given")
    assert any(function.id == "1b36:0010" for function in report.functions)
    assert any(disk.size_bytes == 64 << 20 for disk in report.disks)
    host.wait_until("[ -b /dev/nvme0n1 ]")


def test_a_card_that_is_held_open_is_refused_with_its_holder(host: LabHost) -> None:
    text = refusal(host, pci(host, "gpu"))
    assert "is held open by" in text
    assert "busybox" in text or "sleep" in text or "lab-display" in text


def test_a_device_of_a_group_with_strangers_is_refused_with_their_names(host: LabHost) -> None:
    address = host.address("dirty")
    text = refusal(host, f'[[pci]]\nhost = "{address}"\n')
    assert "has devices that stay with the host" in text
    assert "(snd_intel8x0)" in text


def test_another_device_at_the_address_is_refused(host: LabHost) -> None:
    text = refusal(host, pci(host, "twin0", id="10de:1b80"))
    assert "8086:10d3 now, and not 10de:1b80" in text


def test_an_address_with_nothing_there_is_refused(host: LabHost) -> None:
    assert "there is no device at 0000:7f:1f" in refusal(host, '[[pci]]\nhost = "7f:1f"\n')


def test_the_disk_of_the_host_is_refused(host: LabHost) -> None:
    number = emulated.PORTS["root"]
    text = refusal(host, f'[[pci]]\nhost = "00:{number:02x}"\n')
    assert "carries disks that this host uses" in text


def test_a_function_beyond_the_card_is_refused(host: LabHost) -> None:
    pf = host.shell(f"ls /sys/bus/pci/devices/{host.address('nic')}.0/net").split()[0]
    text = refusal(host, VF.format(mac=VF_MAC, pf=pf).replace("vf = 1", "vf = 7"))
    assert "can have 7 virtual functions, 0 to 6, and not 7" in text
    assert "no network card enp99s0" in refusal(host, VF.format(mac=VF_MAC, pf="enp99s0"))


@pytest.mark.profile("no-iommu")
def test_without_an_iommu_it_is_refused_with_the_reason(host: LabHost) -> None:
    assert "IOMMU" in refusal(host, pci(host, "twin0"))


def test_what_kernel_and_qemu_have_no_iommufd_for_is_said_of_each(host: LabHost) -> None:
    """Linux of Debian 13 has none; nor has QEMU 7.2."""
    text = refusal(host, pci(host, "twin0") + '[host]\niommu_backend = "iommufd"\n[qemu]\nbinary = "qemu-7.2"\n')
    assert re.search(r"the kernel 6\.\S+ has no iommufd for VFIO devices", text)
    assert re.search(r"QEMU 7\.2\.\d+ has no iommufd, by which host.iommu_backend hands devices over; 9.0 has it", text)
    assert driver(host, f"{host.address('twin0')}.0") == "e1000e"
    host.machine("given", MACHINE + pci(host, "twin0"))
    assert "devices are handed over by their IOMMU groups" in host.qlaunch("plan", "given").out


def test_a_driver_that_cannot_be_set_leaves_the_card_where_it_was(host: LabHost) -> None:
    address = f"{host.address('twin0')}.0"
    host.machine("given", MACHINE + pci(host, "twin0"))
    ended = faults.refused(host, "/sys/bus/pci/drivers_probe", "EIO", "qlaunch", "up", "given", "--detach")
    assert ended.status in (3, 4)
    assert "Traceback" not in ended.err
    host.run("qlaunch", "recover", expect=None)
    assert driver(host, address) == "e1000e"


def test_two_machines_cannot_have_the_same_device(host: LabHost) -> None:
    host.machine("given", MACHINE + pci(host, "twin0"))
    host.machine("other", MACHINE + pci(host, "twin0"))
    host.qlaunch("up", "given", "--detach")
    refused = host.qlaunch("up", "other", "--detach", expect=3)
    host.qlaunch("down", "given", "--force")
    assert "belongs to the machine given" in refused.err


def test_a_kill_of_both_is_undone_by_recover(host: LabHost) -> None:
    host.machine("given", MACHINE + pci(host, "twin0"))
    host.qlaunch("up", "given", "--detach")
    status = host.json("status", "given")
    host.shell(f"kill -9 {status['supervisor_pid']} {status['pid']}")
    host.wait_until(f"[ ! -d /proc/{status['pid']} ]")
    host.qlaunch("recover")
    assert driver(host, f"{host.address('twin0')}.0") == "e1000e"
