"""Libvirt domains become machine files that load, plan and say the same; every element is told of.

Cases: tests/import/cases, with the file, the report and the argv beside each. Documents that are refused:
tests/import/bad.
"""

import contextlib
import io
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
import tomli
from hypothesis import given, settings, strategies as st

from qlaunch.argv import build_args, build_argv
from qlaunch.cli.argv import option_lines
from qlaunch.errors import Problem, UsageError
from qlaunch.libvirt.export import export
from qlaunch.libvirt.hooks import read_folder
from qlaunch.libvirt.import_domain import HookFiles, Imported, import_domain
from qlaunch.libvirt.import_node import Node, leftovers
from qlaunch.libvirt.import_read import MOST_BYTES, MOST_ELEMENTS, read_xml
from qlaunch.libvirt.import_report import finding_lines, hook_lines, report_lines
from qlaunch.machine.decode import parse_value
from qlaunch.machine.load import load
from qlaunch.machine.model import Machine
from qlaunch.plan import make_plan, place
from tests.conftest import Golden
from tests.sites import found

HERE = Path(__file__).parent / "import"
CASES = sorted((HERE / "cases").glob("*.xml"))
BAD = sorted((HERE / "bad").glob("*.xml"))


def imported(case: Path) -> Imported:
    return import_domain(case.read_bytes(), case.name)


def from_text(text: str) -> Imported:
    return import_domain(text.encode(), "test.xml")


def domain(devices: str = "", rest: str = "", *, machine: str = "q35", kind: str = "kvm") -> Imported:
    """Import a small domain with some devices and other elements."""
    start = f"<domain type='{kind}'><name>t</name><memory unit='GiB'>1</memory>"
    system = "" if "<os" in rest else f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
    return from_text(f"{start}{system}{rest}<devices>{devices}</devices></domain>")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_case_becomes_the_recorded_file(case: Path, golden: Golden) -> None:
    golden.compare(case.with_suffix(".toml"), imported(case).toml)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_case_has_the_recorded_report(case: Path, golden: Golden) -> None:
    golden.compare(case.with_suffix(".report"), "\n".join(report_lines(imported(case).entries, case.name)) + "\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_case_has_the_recorded_argv(case: Path, golden: Golden) -> None:
    loaded = load(str(case.with_suffix(".toml")))
    plan = make_plan(loaded, found(loaded.machine, loaded.name))
    golden.compare(case.with_suffix(".argv"), "\n".join(option_lines(plan.argv)) + "\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_file_is_the_machine_that_was_meant(case: Path, tmp_path: Path) -> None:
    made = imported(case)
    (tmp_path / "m.toml").write_text(made.toml)
    assert load(str(tmp_path / "m.toml")).machine == made.machine


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_no_two_devices_have_one_id_or_one_place(case: Path) -> None:
    machine = imported(case).machine
    args = build_args(machine, place("t", machine, found(machine, "t")))
    devices = [arg for arg in args if arg.flag == "device"]
    ids = [str(arg.get("id")) for arg in devices if arg.get("id")]
    places = [(str(arg.get("bus")), str(arg.get("addr"))) for arg in devices if arg.get("addr") is not None]
    assert len(set(ids)) == len(ids)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_report_has_eighty_columns_and_a_screen_and_a_half(case: Path) -> None:
    lines = list(report_lines(imported(case).entries, case.name))
    assert max(map(len, lines[1:])) <= 80
    if case.stem != "what-has-no-key":
        assert len(lines) <= 36


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_element_is_told_of(case: Path) -> None:
    told = {entry.path.partition("@")[0] for entry in imported(case).entries}
    for node in read_xml(case.read_bytes(), case.name).walk():
        if node.attributes or node.text.strip() or not node.children:
            above = {path for path in told if node.path() == path or node.path().startswith(f"{path}/")}
            assert above or node.parent is None, node.path()


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.stem)
def test_a_document_that_is_no_domain_is_refused_in_one_sentence(case: Path, golden: Golden) -> None:
    with pytest.raises(UsageError) as caught:
        imported(case)
    assert "\n" not in caught.value.message
    golden.compare(case.with_suffix(".error"), f"{caught.value.message}\n{caught.value.hint}\n")


def test_sizes_and_numbers_are_bounded() -> None:
    with pytest.raises(UsageError, match="bytes; a domain has at most"):
        read_xml(b" " * (MOST_BYTES + 1), "big.xml")
    with pytest.raises(UsageError, match=f"more than {MOST_ELEMENTS} elements"):
        read_xml(b"<domain>" + b"<a/>" * MOST_ELEMENTS + b"</domain>", "many.xml")


def test_nothing_of_the_document_is_opened_or_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(arguments)

    data = {case: case.read_bytes() for case in CASES}
    for name in ("builtins.open", "os.open", "os.stat", "os.path.exists", "subprocess.Popen", "socket.socket"):
        monkeypatch.setattr(name, refuse)
    for case in CASES:
        import_domain(data[case], case.name)


def test_a_password_is_never_copied() -> None:
    case = HERE / "cases" / "tpm-secure-boot.xml"
    made = imported(case)
    assert "hunter2" in case.read_text()
    assert "hunter2" not in made.toml + str(made.entries)


def test_what_nobody_reads_is_left_over() -> None:
    root = Node("a", {"x": "1", "y": "2"}, None, 1, 1)
    root.seen = True
    root.get("x")
    Node("b", {}, root, 2, 1)
    root.text = " text "
    assert [(node.tag, what) for node, what in leftovers(root)] == [("a", "@y"), ("a", "text"), ("b", "")]


def test_unknown_elements_and_attributes_are_told_with_their_line() -> None:
    made = domain("\n<teleporter/>\n<disk type='file' colour='red'><source file='/a'/><target dev='vda'/></disk>")
    unknown = {(entry.path, entry.line) for entry in made.entries if entry.fate == "unknown"}
    assert unknown == {("devices/teleporter", 2), ("devices/disk@colour", 3)}


def test_what_a_machine_refuses_is_left_out_and_told() -> None:
    disk = "<disk type='file'><source file='/a.raw'/><target dev='{}'/><serial>{}</serial></disk>"
    made = domain(disk.format("vda", "x" * 30) + disk.format("vdb", "y"))
    assert len(made.machine.disk) == 1
    assert made.machine.disk[0].serial is None
    told = [entry.message for entry in made.entries if entry.fate == "your-word"]
    assert any("30 characters" in message for message in told)
    assert any("image of disk.0 already" in message for message in told)


def test_a_domain_without_anything_still_loads(tmp_path: Path) -> None:
    made = from_text("<domain type='kvm'><os><type>hvm</type></os></domain>")
    (tmp_path / "m.toml").write_text(made.toml)
    assert load(str(tmp_path / "m.toml")).machine.memory.size == 4 << 30
    told = {entry.key for entry in made.entries if entry.fate == "your-word"}
    assert {"memory.size", "boot"} <= told


def test_text_of_the_document_stays_text() -> None:
    evil = 'x"\n[qemu]\nbinary = "/bin/sh"\n#'
    escaped = evil.replace('"', "&quot;").replace("\n", "&#10;")
    made = domain(
        f"<disk type='file'><source file=\"/{escaped}\"/><target dev='vda'/></disk>",
        f"<description>{escaped}</description><title>{escaped}</title>",
    )
    assert "qemu" not in tomli.loads(made.toml)
    assert not made.machine.disk  # a control character in a path is refused


@pytest.mark.parametrize(
    ("unit", "number", "size"),
    [
        ("KiB", 1048576, 1 << 30),
        ("bytes", 1 << 30, 1 << 30),
        ("MB", 1000, 954 << 20),
        ("G", 2, 2 << 30),
        (None, 1 << 20, 1 << 30),
    ],
)
def test_memory_has_all_units(unit: str | None, number: int, size: int) -> None:
    said = f" unit='{unit}'" if unit else ""
    made = from_text(f"<domain type='kvm'><memory{said}>{number}</memory><os><type>hvm</type></os></domain>")
    assert made.machine.memory.size == size


def test_each_vcpu_gets_a_cpu_of_its_own_out_of_wider_sets() -> None:
    tune = "".join(f"<vcpupin vcpu='{n}' cpuset='{cpus}'/>" for n, cpus in enumerate(("0-3", "0,1", "0", "^0,0-9")))
    made = domain("", f"<vcpu>4</vcpu><cputune>{tune}</cputune>")
    pin = made.machine.cpu.pin
    assert pin
    assert len(set(pin)) == 4
    assert pin[2] == 0
    assert pin[1] == 1
    assert pin[0] in (2, 3)


def test_pins_that_cannot_be_are_left_out_and_asked_for() -> None:
    tune = "<vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='1' cpuset='4'/>"
    made = domain("", f"<vcpu>2</vcpu><cputune>{tune}</cputune>")
    assert made.machine.cpu.pin is None
    assert any(entry.key == "cpu.pin" and entry.fate == "your-word" for entry in made.entries)


def test_a_device_by_iommufd_stays_one() -> None:
    address = "<source><address domain='0' bus='0x0b' slot='0' function='0'/></source>"
    made = domain(f"<hostdev mode='subsystem' type='pci'><driver name='vfio' iommufd='yes'/>{address}</hostdev>")
    assert made.machine.host.iommu_backend == "iommufd"
    assert not [entry for entry in made.entries if entry.fate == "no-meaning" and "driver" in str(entry)]


def test_an_address_behind_a_bridge_that_is_behind_itself_is_no_loop() -> None:
    loop = "<controller type='pci' index='1' model='pcie-root-port'><address type='pci' bus='1' slot='0'/></controller>"
    made = domain(loop + "<rng model='virtio'><backend model='builtin'/><address type='pci' bus='1' slot='2'/></rng>")
    assert made.machine.rng.enabled


def test_a_prefix_that_is_bound_to_nothing_is_told() -> None:
    made = domain("", "<qemu:commandline><qemu:arg value='-no-hpet'/></qemu:commandline>")
    assert any("libvirt drops this" in entry.message for entry in made.entries)


QEMU_SPACE = "http://libvirt.org/schemas/domain/qemu/1.0"


def commandline(
    *words: str, open_tag: str = f"qemu:commandline xmlns:qemu='{QEMU_SPACE}'", prefix: str = "qemu:"
) -> str:
    """Give QEMU's own words as libvirt has them."""
    arguments = "".join(f"<{prefix}arg value='{word}'/>" for word in words)
    return f"<{open_tag}>{arguments}</{open_tag.partition(' ')[0]}>"


def test_a_default_namespace_means_the_same_as_a_prefix() -> None:
    told = [
        domain("", commandline("-device", "usb-kbd")),
        domain("", commandline("-device", "usb-kbd", open_tag=f"commandline xmlns='{QEMU_SPACE}'", prefix="")),
    ]
    assert [one.machine.input[0].type for one in told] == ["keyboard", "keyboard"]
    other = domain("", "<namespace xmlns='http://libvirt.org/schemas/domain/lxc/1.0'/>")
    assert [entry.fate for entry in other.entries if entry.path == "namespace"] == ["no-meaning"]


def test_a_root_port_of_a_guides_command_line_holds_its_card() -> None:
    port = "ioh3420,bus=pcie.0,addr=1c.0,multifunction=on,port=1,chassis=1,id=root.1"
    card = "vfio-pci,host=01:00.0,bus=root.1,addr=00.0,multifunction=on,x-vga=on,x-no-kvm-intx=on"
    made = domain("", commandline("-device", port, "-device", card))
    assert made.machine.machine.root_ports == ["1c.0"]
    assert [pci.address for pci in made.machine.pci] == ["1c.0/00.0"]
    assert made.machine.qemu.properties == {"pci0-0": {"x-no-kvm-intx": True}}
    assert made.machine.qemu.extra == []


@pytest.mark.parametrize(
    "memory",
    [
        "memory-backend-file,id=lg,share=on,mem-path=/dev/kvmfr0,size=64M",
        '{"qom-type":"memory-backend-file","id":"lg","mem-path":"/dev/kvmfr0","size":67108864,"share":true}',
    ],
)
def test_the_memory_of_kvmfr_is_that_of_looking_glass(memory: str) -> None:
    made = domain("", commandline("-device", "ivshmem-plain,id=shmem0,memdev=lg", "-object", memory))
    assert (made.machine.display.looking_glass, made.machine.display.looking_glass_path) == (64 << 20, "/dev/kvmfr0")
    assert made.machine.qemu.extra == []


def test_a_device_that_is_passed_on_comes_after_the_places_of_others() -> None:
    made = domain(
        "", commandline("-device", "pvpanic-pci,disable-legacy=on,events=1", "-device", '{"driver":"x","a":[1]}')
    )
    assert made.machine.qemu.extra == [
        "-device",
        '{"driver":"pvpanic-pci","disable-legacy":"on","events":1}',
        "-device",
        '{"driver":"x","a":[1]}',
    ]


def test_disks_of_a_plain_scsi_controller_are_told_apart_by_their_targets() -> None:
    disk = "<disk type='file'><source file='/{0}.raw'/><target dev='{0}' bus='scsi'/></disk>"
    made = domain(disk.format("sda") + disk.format("sdc") + disk.format("sdi"), machine="pc")
    assert [(one.controller, one.target, one.unit) for one in made.machine.disk] == [(0, 0, 0), (0, 2, 0), (1, 1, 0)]
    assert [one.type for one in made.machine.controller].count("lsi") == 2


def test_a_card_at_a_place_that_cannot_be_stays() -> None:
    card = (
        "<interface type='user'><model type='e1000'/><address type='pci' bus='0' slot='{}' function='0'/></interface>"
    )
    assert [one.address for one in domain(card.format("0x00")).machine.network] == [None]
    taken = domain(card.format("0x1f"))
    assert [one.address for one in taken.machine.network] == [None]
    assert any("a place of the q35 board" in entry.message for entry in taken.entries)


def test_a_port_behind_a_hub_is_given_up() -> None:
    hub = "<hub type='usb'><address type='usb' bus='0' port='1'/></hub>"
    made = domain(f"{hub}<input type='tablet' bus='usb'><address type='usb' bus='0' port='1.2'/></input>")
    assert [one.port for one in made.machine.input] == [None]
    assert any("behind a hub" in entry.message for entry in made.entries)


def test_bridges_without_a_device_that_has_an_address_stand_for_nothing() -> None:
    ports = "<controller type='pci' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 3
    made = domain(f"{ports}<interface type='user'><model type='virtio'/></interface>")
    assert made.machine.machine.root_ports == type(made.machine.machine)().root_ports
    assert [card.address for card in made.machine.network] == [None]


def test_what_an_audit_finds_is_told_in_lines_to_copy() -> None:
    found = [Problem(code="x", key="cpu.pin", message="is " + "wide " * 30, hint='write pin = "' + "1," * 60 + '"')]
    lines = list(finding_lines(found))
    assert max(len(line) for line in lines[:-1]) <= 80
    assert lines[-1].strip() == found[0].hint


def test_options_that_contradict_qlaunch_are_told_and_left_out() -> None:
    arguments = "".join(f"<qemu:arg value='{word}'/>" for word in ("-display", "gtk", "-m", "4G", "-daemonize", "-foo"))
    space = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
    made = domain("", f"<qemu:commandline {space}>{arguments}</qemu:commandline>")
    assert made.machine.qemu.extra == ["-foo"]
    assert sum(entry.fate == "your-word" and "qemu.extra" in entry.key for entry in made.entries) >= 3


def test_the_report_is_json_as_documented(tmp_path: Path) -> None:
    from qlaunch.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["import", str(CASES[0]), "--json", "--host-root", str(tmp_path)]) == 0
    report = msgspec.json.decode(out.getvalue())
    assert set(report) == {"name", "source", "toml", "counts", "elements", "hooks", "findings"}
    assert set(report["elements"][0]) == {"fate", "path", "line", "message", "key"}
    assert set(report["counts"]) == {"taken", "different", "your_word", "no_meaning", "unknown"}


def test_a_file_that_exists_is_kept_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from qlaunch.cli import main

    target = tmp_path / "m.toml"
    target.write_text("mine")
    words = ["import", str(CASES[0]), "-o", str(target), "--host-root", str(tmp_path)]
    assert main(words) == 2
    assert target.read_text() == "mine"
    assert "exists" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0
    assert load(str(target)).machine.memory.size
    assert [path.name for path in tmp_path.iterdir()] == ["m.toml"]
    assert "taken over" in capsys.readouterr().out


def test_the_report_goes_where_the_file_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from qlaunch.cli import main

    assert main(["import", str(CASES[0]), "--host-root", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert tomli.loads(said.out)["memory"]
    assert "Taken over:" in said.err


def test_virsh_is_asked_for_a_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from qlaunch.cli import main

    virsh = tmp_path / "virsh"
    case = HERE / "cases" / "virtiofs-linux.xml"
    virsh.write_text(f'#!/bin/sh\n[ "$*" = "-q -c qemu:///system dumpxml --inactive work" ] || exit 1\ncat {case}\n')
    virsh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    words = ["import", "--host-root", str(tmp_path), "--from-virsh"]
    assert main([*words, "work"]) == 0  # of the system's connection, since the default one has none
    assert tomli.loads(capsys.readouterr().out)["memory"]
    assert main([*words, "other"]) == 3
    assert "virsh gives no domain other" in capsys.readouterr().err
    assert main([*words, "work", str(case)]) == 2


HOOKS = HERE / "hooks"


def with_hooks(tree: str, text: str | None = None) -> Imported:
    texts, left = read_folder(str(HOOKS / tree))
    assert left == []
    data = text.encode() if text else (HERE / "cases" / "gaming-one-gpu.xml").read_bytes()
    return import_domain(data, "test.xml", HookFiles("/etc/libvirt/hooks", texts))


@pytest.mark.parametrize("tree", ["single-gpu", "separate-files", "vfio-isolate"])
def test_hooks_become_keys_beside_those_of_the_domain(tree: str, golden: Golden, tmp_path: Path) -> None:
    made = with_hooks(tree)
    golden.compare(HERE / "cases" / f"with-hooks-{tree}.report", "\n".join(hook_lines(made.hooks)) + "\n")
    (tmp_path / "m.toml").write_text(made.toml)
    assert load(str(tmp_path / "m.toml")).machine == made.machine
    assert made.machine.host != type(made.machine.host)()


def test_a_card_that_only_a_hook_takes_is_told_and_not_given_to_the_guest() -> None:
    made = with_hooks("separate-files")
    assert [pci.host for pci in made.machine.pci] == ["0000:0b:00"]
    assert any("0000:0a:00 is taken from its driver" in problem.message for problem in made.hooks)


def test_what_a_hook_sets_of_a_virtual_function_joins_the_only_one_of_the_domain() -> None:
    card = (
        "<interface type='hostdev'><source><address type='pci' bus='7' slot='0x10' function='1'/></source></interface>"
    )
    head = "<domain type='kvm'><name>win10</name><memory>1048576</memory><os><type>hvm</type></os>"
    made = with_hooks("plain-case", f"{head}<devices>{card}</devices></domain>")
    only = made.machine.network[0]
    assert (only.type, only.pf, only.vf, only.vlan, only.spoofchk, only.host) == ("vf", "enp7s0f1", 1, 69, True, None)
    both = with_hooks("plain-case", f"{head}<devices>{card}{card.replace('function=', 'domain=')}</devices></domain>")
    assert {card.pf for card in both.machine.network} == {None}
    assert any("which card of the domain" in problem.message for problem in both.hooks)


def test_the_verb_reads_hooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from qlaunch.cli import main

    words = ["import", str(HERE / "cases" / "gaming-one-gpu.xml"), "--host-root", str(tmp_path), "--hooks"]
    assert main([*words, str(HOOKS / "single-gpu")]) == 0
    said = capsys.readouterr()
    assert tomli.loads(said.out)["host"]["vtconsoles"] == "unbind"
    assert "host.services.stop: qemu.d/win10/prepare/begin/start.sh:6" in said.err
    assert main([*words, str(HOOKS / "single-gpu"), "--json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out)
    assert set(report["hooks"][0]) == {"severity", "code", "key", "where", "message", "hint"}
    assert main([*words, str(tmp_path / "none")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


PARTS = [node for case in CASES for node in ET.parse(case).getroot()]  # noqa: S314 - our own
DEVICES = [device for part in PARTS if part.tag == "devices" for device in part]
SINGLE = sorted({part.tag for part in PARTS} - {"devices", "name"})


@st.composite
def domains(draw: st.DrawFn) -> bytes:
    """A domain put together from parts of all cases: devices from one stand at the places of others."""
    root = ET.Element("domain", type=draw(st.sampled_from(["kvm", "qemu"])))
    ET.SubElement(root, "name").text = "made-up"
    for tag in SINGLE:
        if tag == "os" or draw(st.booleans()):
            root.append(draw(st.sampled_from([part for part in PARTS if part.tag == tag])))
    ET.SubElement(root, "devices").extend(draw(st.lists(st.sampled_from(DEVICES), max_size=30)))
    return ET.tostring(root)


@settings(max_examples=60)
@given(domains())
def test_any_domain_loads_and_is_stable_from_its_first_export_on(data: bytes) -> None:
    made = import_domain(data, "made-up.xml")
    tables = tomli.loads(made.toml)
    assert msgspec.convert(tables, Machine, dec_hook=parse_value) == made.machine
    second = there_and_back(made.machine)
    third = there_and_back(second)
    assert argv_of(third) == argv_of(second)
    # A root port that the address of a device needs is there whether it is named as well or not.
    assert less_ports(third) == less_ports(second)


def argv_of(machine: Machine) -> list[str]:
    return build_argv(machine, place("made-up", machine, found(machine, "made-up")))


def less_ports(machine: Machine) -> Machine:
    board = msgspec.structs.replace(machine.machine, root_ports=[])
    return msgspec.structs.replace(machine, machine=board)


def there_and_back(machine: Machine) -> Machine:
    site = place("made-up", machine, found(machine, "made-up"))
    return import_domain(export(machine, site).xml.encode(), "made-up.xml").machine


@settings(max_examples=60)
@given(domains(), st.data())
def test_values_that_nobody_would_write_are_told_and_never_a_traceback(data: bytes, draw: st.DataObject) -> None:
    root = ET.fromstring(data)  # noqa: S314 - our own
    nodes = list(root.iter())
    strange = st.sampled_from(
        ["", "-1", "0x", "99999999999999999999", "on", "a,b", "\u2028", "../..", "0-4096", "\U0001f600"]
    )
    for _ in range(draw.draw(st.integers(1, 12))):
        node = draw.draw(st.sampled_from(nodes))
        if node.attrib:
            node.set(draw.draw(st.sampled_from(sorted(node.attrib))), draw.draw(strange))
        elif not len(node):
            node.text = draw.draw(strange)
    with contextlib.suppress(UsageError):
        made = import_domain(ET.tostring(root), "made-up.xml")
        assert msgspec.convert(tomli.loads(made.toml), Machine, dec_hook=parse_value) == made.machine
        there_and_back(made.machine)
