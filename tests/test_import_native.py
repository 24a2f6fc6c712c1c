"""The argv of an imported domain beside the one that libvirt itself makes of that domain: option by option.

What this computer lacks (a hugetlbfs, a second node, the host's devices) is taken out of the domain before both read
it. Every difference is a row of the table in contrib/LIBVIRT.md, with its reason.
"""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from qlaunch.argv import build_argv
from qlaunch.devices.site import FirmwareFiles
from qlaunch.libvirt.import_domain import import_domain
from qlaunch.machine.model import Machine
from qlaunch.plan import place
from tests.compare_argv import differences, words_of
from tests.sites import found
from tests.test_domxml_to_native import (
    TABLE,
    Row,
    Virsh,
    libvirt_version,
    matches,
    pytestmark as needs_libvirt,
    qemu_version,
    table,
    virsh,
)

MET: set[Row] = set()
__all__ = ["libvirt_version", "qemu_version", "virsh"]

pytestmark = needs_libvirt

# Libvirt refuses the one, and gives the devices of the others places anew: they say none.
NOT_COMPARABLE = ("what-has-no-key", "direct-kernel", "macvtap-server", "scream-and-shmem")
CASES = [
    case
    for case in sorted((Path(__file__).parent / "import" / "cases").glob("*.xml"))
    if case.stem not in NOT_COMPARABLE
]
# What this computer, or a libvirt of the version that the table is of, cannot have.
LEFT_OUT = (
    *("memoryBacking/hugepages", "numatune", "devices/tpm", "devices/watchdog[@model='itco']"),
    *("devices/disk[@type='volume']", "devices/disk[@type='network']", "devices/interface[@type='hostdev']"),
    *("devices/hostdev[@type='usb']", "devices/hostdev[@type='mdev']", "devices/interface/backend"),
    *("devices/interface/portForward", "devices/interface/virtualport", "devices/sound", "devices/audio"),
    *("devices/filesystem/binary", "os/smbios", "sysinfo", "devices/interface/mtu", "cpu/vendor", "cpu/feature"),
    *("os[@firmware]/loader", "os[@firmware]/nvram", "os[@firmware]/firmware", "devices/disk[@device='floppy']"),
    *("devices/redirdev", "devices/graphics/gl", "devices/video/model/acceleration", "iothreadids/iothread/poll"),
)
# Attributes that are likewise, or of which the report says that they are not taken over.
NOT_HERE = (
    *(("clock/timer", "frequency"), ("cpu/model", "vendor_id"), ("os", "firmware")),
    *(
        ("vcpu", "current"),
        ("devices/graphics", "keymap"),
        ("devices/graphics", "passwd"),
        ("devices/disk/target", "rotation_rate"),
    ),
)
TEXTS = {"devices/emulator": "/usr/bin/qemu-system-x86_64", "cpu/model": "kvm64"}


def fitting(text: str) -> str:
    """The domain without what this computer lacks."""
    root = ET.fromstring(text)  # noqa: S314 - our own
    for path in LEFT_OUT:
        above, _, last = path.rpartition("/")
        for parent in root.findall(above) if above else [root]:
            for node in parent.findall(last):
                parent.remove(node)
    for path, name in NOT_HERE:
        for node in root.findall(path):
            node.attrib.pop(name, None)
    for path, words in TEXTS.items():
        for node in root.findall(path):
            node.text = words
    for node in root.findall("cpu[@mode='host-model']"):
        node.set("mode", "host-passthrough")
    if root.find("uuid") is None:
        ET.SubElement(root, "uuid").text = "ec3de4a1-5d87-4b22-8f2b-1d1a1d1a1d1a"
    return with_vfio(root)


def with_vfio(root: ET.Element) -> str:
    """Name the driver, which libvirt itself would choose at a start only."""
    for node in root.findall("devices/hostdev[@type='pci']"):
        if node.find("driver") is None:
            ET.SubElement(node, "driver", name="vfio")
    return ET.tostring(root, encoding="unicode")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_difference_of_an_import_from_libvirts_own_argv_is_in_the_table(
    case: Path, virsh: Virsh, libvirt_version: tuple[int, int], qemu_version: tuple[int, int], tmp_path: Path
) -> None:
    measured = re.search(r"Measured with libvirt (\d+)\.(\d+) and QEMU (\d+)\.(\d+)", TABLE.read_text())
    assert measured
    if (*libvirt_version, *qemu_version) != tuple(map(int, measured.groups())):
        pytest.skip(f"the table was {measured[0].lower()}, others have other defaults")
    text = fitting(case.read_text())
    (tmp_path / "domain.xml").write_text(text)
    theirs = words_of(virsh("domxml-to-native", "qemu-argv", str(tmp_path / "domain.xml")))
    made = import_domain(text.encode(), case.name)
    met = list(differences(argv_of(made.name, made.machine, qemu_version), theirs))
    rows = [*table(), *table("Imports")]
    MET.update(row for line in met for row in rows if matches(row, line))
    unknown = [line for line in met if not any(matches(row, line) for row in rows)]
    assert not unknown, "\n".join(f"| `{a}` | `{b}` | {c} | {d} | why? |" for a, b, c, d in unknown)


def test_every_row_of_the_imports_table_is_met_by_a_case() -> None:
    if not MET:
        pytest.skip("the comparison itself did not run in this session: nothing to hold the table against")
    assert [row for row in table("Imports") if row not in MET] == []


def argv_of(name: str, made: Machine, qemu_version: tuple[int, int]) -> list[str]:
    site = place(name, made, found(made, name, version=qemu_version))
    wanted = made.firmware
    if wanted.code and wanted.vars_template:
        files = FirmwareFiles(
            code=wanted.code,
            vars=wanted.vars or f"/var/lib/libvirt/qemu/nvram/{name}_VARS.fd",
            vars_template=wanted.vars_template,
            needs_smm=wanted.secure_boot,
        )
        site = msgspec.structs.replace(site, firmware=files)
    return build_argv(made, site)
