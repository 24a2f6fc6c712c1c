"""A machine becomes a libvirt domain: what libvirt has words for is in it, and every other key is told."""

import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given, strategies as st

from qlaunch.argv import build_args, build_argv
from qlaunch.libvirt.export import Exported, export
from qlaunch.libvirt.export_disk import letters
from qlaunch.libvirt.export_xml import REPLACEMENT, element, write
from qlaunch.libvirt.import_domain import import_domain
from qlaunch.machine.load import load
from qlaunch.machine.model import Machine
from qlaunch.plan import place
from tests.compare_argv import differences
from tests.sites import found, machine

HERE = Path(__file__).parent
MACHINES = HERE.parent / "machines"
CASES = [*sorted((HERE / "golden").glob("*.toml")), *sorted(MACHINES.glob("*.toml"))]
IMPORTS = sorted((HERE / "import" / "cases").glob("*.xml"))


def exported(made: Machine, name: str = "test", libvirt: tuple[int, int] = (99, 0)) -> Exported:
    return export(made, place(name, made, found(made, name)), libvirt)


def domain(made: Machine, libvirt: tuple[int, int] = (99, 0)) -> Any:
    return ET.fromstring(exported(made, libvirt=libvirt).xml)  # noqa: S314 - our own


def told(made: Machine, libvirt: tuple[int, int] = (99, 0)) -> list[str]:
    return [problem.key for problem in exported(made, libvirt=libvirt).findings]


@pytest.mark.parametrize("libvirt", [(9, 0), (99, 0)], ids=["oldest", "newest"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_machine_is_exported_and_well_formed(case: Path, libvirt: tuple[int, int]) -> None:
    loaded = load(str(case))
    made = exported(loaded.machine, loaded.name, libvirt)
    root = ET.fromstring(made.xml)  # noqa: S314
    assert root.findtext("name") == loaded.name
    assert len(root.findall("devices/disk")) + made.xml.count("nvme") >= len(loaded.machine.disk)
    assert all(problem.message and problem.severity != "error" for problem in made.findings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_each_told_key_is_a_key_of_the_machine(case: Path) -> None:
    loaded = load(str(case))
    for problem in exported(loaded.machine, loaded.name, (9, 0)).findings:
        value: Any = msgspec.to_builtins(loaded.machine, enc_hook=str)
        for part in problem.key.split("."):
            assert part.isdigit() or part in value, problem
            value = value[int(part)] if part.isdigit() else value[part]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_guest_addresses_are_those_of_the_argv(case: Path) -> None:
    """Libvirt's bus numbers are its controllers' indexes: each address, led back through them, is QEMU's own."""
    loaded = load(str(case))
    made = loaded.machine
    site = place(loaded.name, made, found(made, loaded.name))
    root = ET.fromstring(export(made, site).xml)  # noqa: S314
    bridges = {node.get("index"): node.find("address") for node in root.findall("devices/controller[@type='pci']")}
    places = set()
    for node in root.iter("address"):
        if node.get("type") == "pci":
            behind = bridges[str(int(str(node.get("bus")), 16))]
            upper = "" if behind is None else f"{behind.get('slot')}.{behind.get('function')}/"
            places.add(f"{upper}{node.get('slot')}.{node.get('function')}")
    wanted = set()
    args = {str(arg.get("id")): arg for arg in build_args(made, site) if arg.flag == "device" and arg.get("id")}
    for arg in args.values():
        unknown = arg.get("driver") == "nvme" or arg.get("id") == "probe0" or is_vf(arg.get("id"), made)
        if arg.get("addr") is None or unknown:
            continue
        bus = args.get(getattr(arg.get("bus"), "id", ""))
        wanted.add((spelled(str(bus.get("addr"))) + "/" if bus else "") + spelled(str(arg.get("addr"))))
    assert wanted <= places | {spelled("0x0")}


def is_vf(name: object, made: Machine) -> bool:
    match = re.fullmatch(r"net(\d+)", str(name))
    return bool(match) and made.network[int(match[1])].type == "vf" if match else False


def spelled(address: str) -> str:
    slot, _, function = address.partition(".")
    return f"0x{int(slot, 16):02x}.0x{int(function or '0', 16):x}"


# Everything that TOML can hold and a file may be called.
NASTY = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


@given(NASTY, NASTY, NASTY)
def test_no_value_becomes_an_element_or_is_lost(path: str, words: str, text: str) -> None:
    made = machine(
        disk=[{"path": f"/images/{path}"}],
        share=[{"path": f"/srv/{words}", "tag": "x"}],
        boot={"kernel": "/k", "cmdline": words},
        firmware={"type": "bios", "smbios": {"oem_strings": [text]}},
        qemu={"extra": ["-global", text]},
    )
    done = exported(made)
    root = ET.fromstring(done.xml)  # noqa: S314
    plain = exported(machine(**SHAPE))
    assert [node.tag for node in root.iter()] == [node.tag for node in ET.fromstring(plain.xml).iter()]  # noqa: S314
    values = {
        f"/images/{path}": root.find("devices/disk/source").get("file"),  # type: ignore[union-attr]
        f"/srv/{words}": root.find("devices/filesystem/source").get("dir"),  # type: ignore[union-attr]
        words: root.findtext("os/cmdline"),
        text: root.findtext("sysinfo/oemStrings/entry"),
    }
    for wanted, got in values.items():
        assert got == wanted or REPLACEMENT in str(got)
        if got != wanted:
            assert any("U+FFFD" in problem.message for problem in done.findings)


SHAPE: dict[str, Any] = {
    "disk": [{"path": "/images/a"}],
    "share": [{"path": "/srv/a", "tag": "x"}],
    "boot": {"kernel": "/k", "cmdline": "a"},
    "firmware": {"type": "bios", "smbios": {"oem_strings": ["a"]}},
    "qemu": {"extra": ["-global", "a"]},
}


@given(st.text(max_size=40))
def test_what_is_written_is_what_is_read(text: str) -> None:
    root = ET.fromstring(write(element("a", element("b", text=text), key=text)))  # noqa: S314
    clean = re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", REPLACEMENT, text)
    assert root.get("key") == clean
    assert (root.findtext("b") or "") == clean


def test_words_of_newer_libvirts_are_not_given_to_older_ones() -> None:
    made = machine(
        machine={"watchdog": "itco", "ps2": False},
        disk=[{"path": "/d", "bus": "nvme"}],
        network=[{"type": "passt"}, {"model": "igb"}],
        cpu={"hyperv": {"vpindex": True, "xmm_input": True, "tlbflush": True, "tlbflush_ext": True}},
        audio={"backend": "pipewire", "card": "virtio"},
        share=[{"path": "/s", "tag": "s", "read_only": True}],
    )
    old, new = exported(made, libvirt=(9, 0)), exported(made)
    for word in (
        "itco",
        "ps2",
        "nvme0n1",
        '"passt"',
        "igb",
        "xmm_input",
        "extended",
        "pipewire",
        'sound model="virtio"',
    ):
        assert word in new.xml, word
        assert word not in old.xml, word
    missing = {problem.key for problem in old.findings} - {problem.key for problem in new.findings}
    assert missing == {
        *("disk.0.bus", "network.0.type", "network.1.model", "cpu.hyperv.xmm_input", "cpu.hyperv.tlbflush_ext"),
        *("audio.backend", "audio.card", "share.0.read_only"),
    }


def test_every_key_of_the_host_that_stays_behind_is_told() -> None:
    made = machine(
        host={"governor": "performance", "shield": True, "user": "a", "sysctl": {"vm.swappiness": "1"}},
        hook=[{"start": ["true"]}],
        sidecar=[{"command": ["a"]}],
        shutdown={"timeout_s": 5},
        machine={"ephemeral": True},
        qemu={"binary": "qemu-kvm"},
    )
    assert {"host.governor", "host.shield", "host.user", "host.sysctl", "hook.0", "sidecar.0"} <= set(told(made))
    assert {"shutdown", "machine.ephemeral", "qemu.binary"} <= set(told(made))


def test_settings_of_a_virtual_function_that_libvirt_has_no_word_for_are_told() -> None:
    card = {"type": "vf", "pf": "eth0", "vf": 1, "vlan": 5, "vlan_protocol": "802.1ad", "trust": True, "vlan_qos": 2}
    made = machine(network=[card])
    site = msgspec.structs.replace(place("test", made, found(made)), vf_addresses={0: "0000:07:10.1"})
    done = export(made, site)
    node = ET.fromstring(done.xml).find("devices/interface/source/address")  # noqa: S314
    assert node is not None
    assert node.attrib == {"type": "pci", "domain": "0x0000", "bus": "0x07", "slot": "0x10", "function": "0x1"}
    keys = {problem.key for problem in done.findings}
    assert {"network.0.vlan_protocol", "network.0.trust", "network.0.vlan_qos"} <= keys
    assert "network.0.vf" in told(made)


def test_a_machine_of_plain_things_leaves_nothing_behind() -> None:
    made = machine(firmware={"type": "bios"}, disk=[{"path": "/d"}], serial={"log": False})
    assert told(made) == []


def test_pins_are_written_and_auto_is_told() -> None:
    root = domain(machine(cpu={"pin": "2,3", "emulator": "0-1", "scheduler": "fifo:5"}))
    assert [node.attrib for node in root.findall("cputune/*")] == [
        {"vcpu": "0", "cpuset": "2"},
        {"vcpu": "1", "cpuset": "3"},
        {"cpuset": "0-1"},
        {"vcpus": "0-1", "scheduler": "fifo", "priority": "5"},
    ]
    assert "cpu.pin" in told(machine(cpu={"pin": "auto"}))


def test_boot_orders_count_from_one() -> None:
    root = domain(machine(disk=[{"path": "/a", "boot_index": 0}, {"path": "/b", "boot_index": 3}]))
    assert [node.get("order") for node in root.iter("boot")] == ["1", "4"]
    root = domain(machine(disk=[{"path": "/a", "boot_index": 1}]))
    assert [node.get("order") for node in root.iter("boot")] == ["1"]


def test_words_for_qemu_name_the_buses_that_libvirt_makes() -> None:
    made = machine(qemu={"extra": ["-device", '{"driver":"edu","bus":"rp-spare0"}', "-device", "edu,bus=rp-spare1"]})
    words = [node.get("value") for node in domain(made).iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg")]
    numbers = re.findall(r"pci\.(\d+)", " ".join(map(str, words)))
    assert len(numbers) == 2
    assert "rp-spare" not in " ".join(map(str, words))


def test_disks_have_letters_as_the_kernel_counts_them() -> None:
    assert [letters(number) for number in (0, 25, 26, 51, 52, 701, 702)] == ["a", "z", "aa", "az", "ba", "zz", "aaa"]


def qlaunch(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "qlaunch", *words], capture_output=True, text=True, check=False)


def test_the_verb_prints_xml_and_tells_on_stderr() -> None:
    done = qlaunch("export", str(MACHINES / "gaming.toml"))
    assert done.returncode == 0
    assert ET.fromstring(done.stdout).findtext("name") == "gaming"  # noqa: S314
    assert re.search(r"gaming\.toml:\d+: host\.governor: libvirt does not change the host", done.stderr)


def test_the_verb_gives_json() -> None:
    done = qlaunch("export", str(MACHINES / "gaming.toml"), "--json")
    report = msgspec.json.decode(done.stdout)
    assert set(report) == {"xml", "findings"}
    assert set(report["findings"][0]) == {"severity", "code", "key", "where", "message", "hint"}
    assert done.stderr == ""


def test_a_file_is_written_once(tmp_path: Path) -> None:
    target = str(tmp_path / "a.xml")
    words = ["export", str(MACHINES / "headless.toml"), "-o", target]
    assert qlaunch(*words).returncode == 0
    assert ET.fromstring(Path(target).read_text()).tag == "domain"  # noqa: S314
    again = qlaunch(*words)
    assert again.returncode == 2
    assert "exists" in again.stderr
    assert qlaunch(*words[:-1], "/proc/no/a.xml").returncode == 3


@pytest.mark.parametrize("version", ["8.9", "x", "", "-1"])
def test_a_libvirt_that_is_too_old_or_none_is_refused(version: str) -> None:
    done = qlaunch("export", str(MACHINES / "headless.toml"), f"--libvirt={version}")
    assert done.returncode == 2
    assert "9.0" in done.stderr


@pytest.mark.parametrize("case", [*CASES, *IMPORTS], ids=lambda case: case.stem)
def test_an_import_of_an_export_of_an_import_is_stable(case: Path) -> None:
    """The first export writes what was left to qlaunch (places, MAC addresses); from then on nothing moves."""
    name, first = read(case)
    second = there_and_back(name, first)
    assert second == there_and_back(name, second)


@pytest.mark.parametrize("case", IMPORTS, ids=lambda case: case.stem)
def test_an_import_of_an_export_is_the_same_computer_to_the_guest(case: Path) -> None:
    name, first = read(case)
    argvs = [argv_of(name, made) for made in (first, there_and_back(name, first))]
    same = {
        ("-device pcie-root-port", "hotplug", "on", "-"),  # a default
        ("-device pcie-root-port", "multifunction", "on", "-"),  # of a port that is alone in its slot
    }
    if "mtu" in str(exported(first, name).findings):
        same.add(("-device virtio-net-pci", "host_mtu", "9000", "-"))  # told
    assert set(differences(*argvs)) <= same


def read(case: Path) -> tuple[str, Machine]:
    if case.suffix == ".xml":
        made = import_domain(case.read_bytes(), case.name)
        return made.name, made.machine
    loaded = load(str(case))
    return loaded.name, loaded.machine


def there_and_back(name: str, made: Machine) -> Machine:
    return import_domain(exported(made, name).xml.encode(), name).machine


def argv_of(name: str, made: Machine) -> list[str]:
    return build_argv(made, place(name, made, found(made, name)))


# Keys that reach the domain by way of the site or of QEMU's own options, and not by their names.
BY_ANOTHER_WAY = {
    *("machine.type", "machine.accel", "machine.uuid", "disk.port", "pci.port", "network.port", "share.port"),
    "cpu.pin_shared",  # libvirt always lets domains share CPUs
    *("disk.bus", "disk.format", "cpu.vcpus", "cpu.topology", "cpu.model", "memory.hugepages", "display.gpu"),
    "pci.nth",  # the device is chosen by then
    *("display.tablet", "firmware.vars", "network.vf", "network.pf"),
    # The place of a device is read from QEMU's own options.
    *("machine.watchdog_address", "memory.balloon_address", "display.looking_glass_address"),
    *("machine.root_ports", "machine.spare_ports"),
}


def test_no_key_of_a_machine_is_forgotten() -> None:
    """Every key is read by the export: a new one must be written, or told."""
    source = "".join(path.read_text() for path in (HERE.parent / "qlaunch" / "libvirt").glob("export*.py"))
    forgotten = set()
    for section in msgspec.structs.fields(Machine):
        kinds = [kind for kind in (section.type, *typing.get_args(section.type)) if isinstance(kind, type)]
        for kind in kinds:
            if issubclass(kind, msgspec.Struct) and section.name not in ("host", "hook", "sidecar", "shutdown"):
                keys = {field.name for field in msgspec.structs.fields(kind)}
                forgotten |= {f"{section.name}.{key}" for key in keys if not re.search(rf"\b{key}\b", source)}
    assert forgotten <= BY_ANOTHER_WAY
