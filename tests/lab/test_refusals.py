"""What cannot be, or would be unwise, is refused before anything is touched, in the words that are recorded here."""

import re
from pathlib import Path

import pytest

from tests.conftest import Golden
from tests.lab.host import LabHost
from tests.lab.test_usb import IDLE

pytestmark = pytest.mark.lab

GOLDEN = Path(__file__).parent.parent / "golden"
DYING = "#!/bin/sh\necho 'swtpm: could not open its state' >&2\nexit 1\n"
SOMEBODYS_SERVER = """
usermod -aG kvm nobody
mkdir -p /run/user/1/pulse
chmod 700 /run/user/1
chown 1 /run/user/1
touch /run/user/1/pulse/native
"""
# What is wrong, in the words of the one who did it; the sections of the machine; what is done to the host before it,
# and how that is taken back.
CASES: dict[str, tuple[str, str, str]] = {
    "a group with strangers": ('[[pci]]\nhost = "{dirty}"\n', "", ""),
    "one of two twins, by its id alone": ('[[pci]]\nid = "8086:10d3"\n', "", ""),
    "a twin behind a port, which is not there": ('[[pci]]\nid = "8086:10d3"\nbehind = "00:08.0"\n', "", ""),
    "another device than the file says": ('[[pci]]\nhost = "{twin0}"\nid = "10de:1b80"\n', "", ""),
    "a card that is held open": ('[[pci]]\nhost = "{gpu}"\n', "", ""),
    "the disk with the root file system": ('[[pci]]\nhost = "00:{root:02x}"\n', "", ""),
    "the way to the network": (
        '[[pci]]\nhost = "{nic}"\n',
        "ip addr add 10.9.9.1/24 dev {pf}; ip link set {pf} up; ip route add default via 10.9.9.2 dev {pf}",
        "ip route del default; ip addr flush dev {pf}; ip link set {pf} down",
    ),
    "a virtual function beyond the last": (
        '[[network]]\ntype = "vf"\npf = "{pf}"\nvf = 7\nmac = "52:54:00:00:00:99"\n',
        "",
        "",
    ),
    "a VLAN beyond the last": ('[[network]]\ntype = "vf"\npf = "{pf}"\nvf = 1\nvlan = 5000\n', "", ""),
    "a card that is not there": ('[[network]]\ntype = "vf"\npf = "enp99s0"\nvf = 1\n', "", ""),
    "a bridge that is not there": ('[[network]]\ntype = "bridge"\nbridge = "br7"\n', "", ""),
    "an input device that is none": ('[[evdev]]\npath = "/dev/null"\n', "", ""),
    "no swtpm": (
        '[tpm]\nversion = "2.0"\n',
        "mv /usr/bin/swtpm /usr/bin/swtpm.off",
        "mv /usr/bin/swtpm.off /usr/bin/swtpm",
    ),
    "a swtpm that dies": (
        '[tpm]\nversion = "2.0"\n',
        "mv /usr/bin/swtpm /usr/bin/swtpm.off; printf %s {dying} > /usr/bin/swtpm; chmod +x /usr/bin/swtpm",
        "mv /usr/bin/swtpm.off /usr/bin/swtpm",
    ),
    "no virtiofsd": (
        '[[share]]\npath = "/srv"\ntag = "srv"\n',
        "mv /usr/libexec/virtiofsd /usr/libexec/virtiofsd.off",
        "mv /usr/libexec/virtiofsd.off /usr/libexec/virtiofsd",
    ),
    "no sound server": ('[audio]\nbackend = "pipewire"\n', "", ""),
    "a sound server of somebody else's": (
        '[audio]\nbackend = "pulse"\nuser = "daemon"\n[host]\nuser = "nobody"\n',
        SOMEBODYS_SERVER,
        "rm -r /run/user/1; rmdir /run/user 2>/dev/null; gpasswd -d nobody kvm",
    ),
    "a ROM that is none": ('[[pci]]\nhost = "{twin0}"\nrom = "/etc/hostname"\n', "", ""),
    "kvmfr without its module": (
        '[display]\ntype = "none"\nlooking_glass = "32M"\nlooking_glass_path = "/dev/kvmfr0"\n',
        "",
        "",
    ),
    "a USB stick that is not there": ('[[usb]]\nid = "dead:beef"\n', "", ""),
    "a user who does not exist": ('[host]\nuser = "nobodyelse"\n', "", ""),
}


def plain(text: str, names: dict[str, str]) -> str:
    """Leave out what is another one on another day: addresses, numbers of processes and groups."""
    for name, address in names.items():
        text = text.replace(address, f"<{name}>").replace(address.removeprefix("0000:"), f"<{name}>")
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d\d:\d\d:\d\d\b", "TIME", text)
    # When a helper dies early QEMU's own words depend on how far it had come.
    text = re.sub(r"(?m)^.*(is ready|qemu-system-x86_64: .*)\n", "", text)
    text = re.sub(r"\(process \d+\)", "(process N)", text)
    return re.sub(r"IOMMU group \d+", "IOMMU group N", text)


def refused(host: LabHost, sections: str) -> str:
    host.machine(
        "given", (IDLE.replace("[display]\ntablet = true\n", "") if "[display]" in sections else IDLE) + sections
    )
    ended = host.qlaunch("up", "given", "--detach", expect=None)
    assert ended.status in (2, 3, 5), f"{ended.status}: {ended.err}"  # 5: a helper died
    assert "Traceback" not in ended.err
    return ended.err


def test_refusals_are_in_the_words_that_were_recorded(host: LabHost, golden: Golden) -> None:
    names = {port: host.address(port) for port in ("dirty", "twin0", "twin1", "gpu", "nic")}
    pf = host.shell(f"ls /sys/bus/pci/devices/{names['nic']}.0/net").split()[0]
    root = int(host.shell("readlink /sys/class/block/vda").split("/")[-4].split(":")[-1].split(".")[0], 16)
    words = {**names, "pf": pf, "root": root, "dying": f"'{DYING.replace(chr(39), '')}'"}
    told = []
    for title, (sections, before, after) in CASES.items():
        host.shell(before.format(**words) or "true")
        try:
            said = refused(host, sections.format(**words))
        finally:
            host.shell(f"{after.format(**words)}\ntrue")
        told.append(f"# {title}\n{plain(said, {**names, 'pf': pf})}")
    golden.compare(GOLDEN / "refusals.txt", "\n".join(told))


@pytest.mark.profile("no-iommu")
def test_a_host_without_an_iommu_is_refused_in_the_words_that_were_recorded(host: LabHost, golden: Golden) -> None:
    twin = host.address("twin0")
    said = refused(host, f'[[pci]]\nhost = "{twin}"\n')
    golden.compare(GOLDEN / "refusals-no-iommu.txt", plain(said, {"twin0": twin}))
