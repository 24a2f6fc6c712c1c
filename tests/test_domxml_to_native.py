"""Our argv beside libvirt's own for the same domain: option by option, key by key, without names and order.

Every difference is a row of the table in contrib/LIBVIRT.md, with its reason; and every row is met by some case. The
table is of one version of each: others have other defaults, and with them only the export itself is tried.
Libvirt runs without a daemon, below a folder of the test's own.
"""

import os
import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.argv import build_argv
from qlaunch.libvirt.export import export
from qlaunch.machine.load import Loaded, load
from qlaunch.machine.model import Machine
from qlaunch.plan import place
from tests.compare_argv import differences, words_of
from tests.sites import found, machine

HERE = Path(__file__).parent
TABLE = HERE.parent / "contrib" / "LIBVIRT.md"
CASES = [*sorted((HERE / "golden").glob("*.toml")), *sorted((HERE.parent / "machines").glob("*.toml"))]
VIRSH = shutil.which("virsh")
QEMU = "/usr/bin/qemu-system-x86_64"

pytestmark = [
    pytest.mark.skipif(VIRSH is None, reason="virsh is not installed: our argv is not compared with libvirt's"),
    pytest.mark.skipif(not os.access(QEMU, os.X_OK), reason=f"{QEMU} is missing: libvirt cannot write its argv"),
    pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no /dev/kvm: libvirt refuses KVM domains"),
]

Row = tuple[str, str, str]


class Virsh:
    """Libvirt's QEMU driver inside virsh itself, below one folder; it probes QEMU once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "etc").mkdir(parents=True)
        user = "root" if os.geteuid() == 0 else str(os.geteuid())
        own = f'user = "{user}"\ngroup = "{user}"\ndynamic_ownership = 0\nremember_owner = 0\n'
        (root / "etc" / "qemu.conf").write_text(own + 'security_driver = "none"\n')

    def __call__(self, *words: str) -> str:
        assert VIRSH
        argv = [VIRSH, "-q", "-c", f"qemu:///embed?root={self.root}", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def virsh(tmp_path_factory: pytest.TempPathFactory) -> Virsh:
    return Virsh(tmp_path_factory.mktemp("libvirt") / "root")


@pytest.fixture(scope="module")
def libvirt_version() -> tuple[int, int]:
    assert VIRSH
    text = subprocess.run([VIRSH, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


@pytest.fixture(scope="module")
def qemu_version() -> tuple[int, int]:
    text = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"version (\d+)\.(\d+)", text)
    assert match
    return int(match[1]), int(match[2])


def fitting(loaded: Loaded) -> Machine:
    """The machine without what this computer lacks: libvirt refuses a domain whose helpers are not installed."""
    made = loaded.machine
    if not all(shutil.which(program) for program in ("swtpm", "swtpm_setup", "swtpm_ioctl")):
        made = msgspec.structs.replace(made, tpm=None)
    firmware = made.firmware
    if firmware.smbios == "host":  # a virtual computer may have no tables to show
        firmware = msgspec.structs.replace(firmware, smbios=None)
    pc = made.machine.type.startswith("pc") and "q35" not in made.machine.type
    if pc or made.machine.suspend:
        # Not every distribution has UEFI for this board, or UEFI that is marked as able to suspend.
        firmware = msgspec.structs.replace(firmware, type="bios", code=None, vars_template=None, vars=None)
    # Libvirt looks for each USB device on the host; where a virtual function sits is known on its own host alone.
    cards = [card for card in made.network if card.type != "vf"]
    made = msgspec.structs.replace(made, firmware=firmware, usb=[], network=cards)
    return msgspec.structs.replace(made, qemu=msgspec.structs.replace(made.qemu, binary="qemu-system-x86_64"))


def comparable(made: Machine, name: str) -> Machine:
    """The machine with what libvirt would choose or leave out written as it would: `export` tells each of these."""
    disks = [
        msgspec.structs.replace(disk, serial="plain") if re.search(r"[^\w.+ -]", disk.serial or "") else disk
        for disk in made.disk
    ]
    firmware = made.firmware
    if firmware.type == "uefi":
        files = found(made, name).firmware
        assert files
        paths = {"code": files.code, "vars": files.vars, "vars_template": files.vars_template}
        firmware = msgspec.structs.replace(firmware, **paths)
    boot = msgspec.structs.replace(made.boot, app=None)
    return msgspec.structs.replace(made, disk=disks, firmware=firmware, boot=boot)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_libvirt_takes_what_is_exported(
    case: Path, virsh: Virsh, libvirt_version: tuple[int, int], qemu_version: tuple[int, int], tmp_path: Path
) -> None:
    loaded = load(str(case))
    made = fitting(loaded)
    site = place(loaded.name, made, found(made, loaded.name, version=qemu_version))
    (tmp_path / "domain.xml").write_text(export(made, site, libvirt_version).xml)
    virsh("define", "--validate", str(tmp_path / "domain.xml"))


def test_libvirt_takes_a_machine_with_something_of_everything(
    virsh: Virsh, libvirt_version: tuple[int, int], qemu_version: tuple[int, int], tmp_path: Path
) -> None:
    made = machine(**EVERYTHING)
    site = place("everything", made, found(made, "everything", version=qemu_version))
    site = msgspec.structs.replace(site, vf_addresses={0: "0000:07:10.1"})
    (tmp_path / "domain.xml").write_text(export(made, site, libvirt_version).xml)
    virsh("define", "--validate", str(tmp_path / "domain.xml"))


EVERYTHING: dict[str, Any] = {
    "machine": {"watchdog": "i6300esb", "on_crash": "pause"},
    "firmware": {"type": "bios", "smbios": {"bios": {"date": "01/02/2024"}, "oem_strings": ["a"]}},
    "boot": {"menu": True, "kernel": "/k", "cmdline": "a=b"},
    "cpu": {
        "model": "EPYC",
        "features": ["+pmu", "-svm", "+x-foo", "+cmp-legacy"],
        "power_management": True,
        "dedicated_hint": True,
    },
    "clock": {"rtc_catchup": True, "pit": "delay", "kvmclock": False},
    "memory": {"size": "1G", "balloon": True, "lock": True, "mmio64": "64G", "prealloc": True, "prealloc_threads": 2},
    "iothread": [{"name": "io", "pin": "1"}],
    "disk": [
        {"path": "/a.raw", "bus": "usb", "removable": True},
        {"path": "/b.raw", "bus": "scsi", "on_error": "stop", "block_size": "4K", "iothread": "io"},
        {"path": "/dev/sdx", "detect_zeroes": "unmap", "queues": 2, "iothread": "io"},
        {"path": "/c.iso", "media": "cdrom"},
        {"path": "/d.raw", "bus": "nvme"},
    ],
    "pci": [{"host": "0b:00", "x_vga": True, "rom": "/r.rom", "rom_bar": True, "boot_index": 0}],
    "network": [
        {"type": "vf", "pf": "eth0", "vf": 1, "vlan": 5, "mac": "52:54:00:00:00:01"},
        {"type": "macvtap", "device": "lo"},
        {"type": "bridge", "bridge": "br0", "queues": 4, "vhost": True, "mtu": 9000},
        {"type": "tap", "vhost": False},
        {"type": "user", "forward": ["tcp:0.0.0.0:2222-22"]},
    ],
    "usb": [{"id": "046d:c547", "guest_reset": False}, {"at": "1-2"}],
    "evdev": [{"path": "/dev/input/event1", "grab_all": True, "repeat": True, "grab_toggle": "scrolllock"}],
    "share": [{"path": "/s", "tag": "t"}, {"path": "/r", "tag": "r", "type": "9p", "read_only": True}],
    "display": {"type": "spice", "gpu": "qxl", "virtio_input": True, "looking_glass": "32M"},
    "audio": {"backend": "jack", "card": "usb", "server": "s", "period_us": 1000},
}


MET: set[Row] = set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_difference_from_libvirts_argv_is_in_the_table(
    case: Path, virsh: Virsh, libvirt_version: tuple[int, int], qemu_version: tuple[int, int], tmp_path: Path
) -> None:
    measured = re.search(r"Measured with libvirt (\d+)\.(\d+) and QEMU (\d+)\.(\d+)", TABLE.read_text())
    assert measured
    if (*libvirt_version, *qemu_version) != tuple(map(int, measured.groups())):
        here = f"here are {libvirt_version} and {qemu_version}"
        pytest.skip(f"the table was {measured[0].lower()}, others have other defaults: {here}")
    loaded = load(str(case))
    made = comparable(fitting(loaded), loaded.name)
    site = place(loaded.name, made, found(made, loaded.name, version=qemu_version))
    (tmp_path / "domain.xml").write_text(export(made, site, libvirt_version).xml)
    theirs = virsh("domxml-to-native", "qemu-argv", str(tmp_path / "domain.xml"))
    met = list(differences(build_argv(made, site), words_of(theirs)))
    rows = table()
    MET.update(row for line in met for row in rows if matches(row, line))
    unknown = [line for line in met if not any(matches(row, line) for row in rows)]
    assert not unknown, "\n".join(f"| `{a}` | `{b}` | {c} | {d} | why? |" for a, b, c, d in unknown)


def test_every_row_of_the_table_is_met_by_a_case() -> None:
    if not MET:
        pytest.skip("the comparison itself did not run in this session: nothing to hold the table against")
    assert [row for row in table() if row not in MET] == []


def table(heading: str = "") -> list[Row]:
    """Option, key, and who has it, of each row below a heading. The first two are in code marks, ``*`` for any."""
    parts = TABLE.read_text().split("\n## ") if TABLE.exists() else [""]
    lines = next(part for part in parts if part.startswith(heading)).splitlines()
    cells = [[cell.strip(" `") for cell in line.split("|")[1:4]] for line in lines if line.startswith("| `")]
    return [(option, key, who) for option, key, who in cells]


def matches(row: Row, line: tuple[str, str, str, str]) -> bool:
    """Whether a row speaks of a difference: of one that only libvirt has, or only qlaunch, or of two values."""
    option, key, ours, theirs = line
    who = {"qlaunch": theirs == "-", "libvirt": ours == "-", "both": True}[row[2]]
    return who and fnmatchcase(option, row[0]) and fnmatchcase(key, row[1])
