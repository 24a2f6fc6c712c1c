"""Pictures of hosts, automatic pins in a plan, and what they need: nothing but a folder of files."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import msgspec
import pytest
from hypothesis import given, strategies as st

from qlaunch.autopin import pin_automatically
from qlaunch.cli import main
from qlaunch.cli.groups import as_json as groups_json, picture as groups_picture
from qlaunch.cli.topology import as_json as topology_json, picture as topology_picture
from qlaunch.cli.topology_svg import drawing
from qlaunch.duty import Pins
from qlaunch.host.facts import HostFacts
from qlaunch.plan import make_plan
from qlaunch.values.cpus import CpuSet
from tests.hosts import build
from tests.live import DEAF, Desk
from tests.sites import found, machine

LARGE = [name for name in build.NAMES if name != "container"]
AUTO = {"pin": "auto"}
SVG = "{http://www.w3.org/2000/svg}"


def host(name: str) -> HostFacts:
    return HostFacts(build.load(name).tree())


@pytest.mark.parametrize("name", build.NAMES)
def test_a_host_is_drawn_within_80_columns_and_every_cpu_is_in_it(name: str) -> None:
    facts = host(name).cpus
    lines = list(topology_picture(facts, {"m": Pins(vcpus={"0": "0"}, emulator="1")}))
    assert all(len(line) <= 80 for line in lines)
    drawn = {int(cpu) for line in lines if "core " in line for cpu in line.split("CPU ")[1].split()[0].split(",")}
    assert drawn == set(facts.online)


def test_who_is_pinned_where_is_shown_at_the_core() -> None:
    pins = Pins(vcpus={"0": "4", "1": "12"}, iothreads={"io0": "0,8"}, emulator="0,8")
    lines = list(topology_picture(host("desktop-two-ccx").cpus, {"gaming": pins}))
    assert [line.split("CPU ", 1)[1] for line in lines if "gaming" in line] == [
        "0,8        gaming: iothread io0, emulator",
        "4,12       gaming: vCPU 0,1",
    ]


@pytest.mark.parametrize("name", build.NAMES)
def test_the_json_has_the_documented_shape(name: str) -> None:
    shape = msgspec.json.decode(msgspec.json.encode(topology_json(host(name))))
    keys = {"cpu", "core", "socket", "die", "node", "l3", "siblings", "online", "max_khz", "class"}
    assert all(set(cpu) == keys for cpu in shape["cpus"])
    groups = msgspec.json.decode(msgspec.json.encode(groups_json(host(name))))["groups"]
    device_keys = {"address", "class", "vendor", "device", "name", "driver", "resettable", "usb"}
    assert all(set(device) == device_keys for group in groups for device in group["devices"])


def test_a_group_shows_its_devices_and_the_usb_devices_behind_them() -> None:
    lines = list(groups_picture(host("desktop-two-ccx")))
    card = next(number for number, line in enumerate(lines) if line.startswith("  0b:00.0"))
    assert lines[card : card + 2] == [
        "  0b:00.0  1002:73bf  AMD/ATI Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]",
        "                      (amdgpu)",
    ]
    assert "  07:00.0  8086:1539  Ethernet controller (igb, no reset)" in lines
    assert any("046d:c547  USB Receiver" in line for line in lines)


@pytest.mark.parametrize("name", build.NAMES)
def test_groups_are_drawn_within_80_columns_whatever_devices_call_themselves(name: str) -> None:
    files = build.load(name)
    files.texts |= {path: text + " so called" * 12 for path, text in files.texts.items() if path.endswith("/product")}
    lines = list(groups_picture(HostFacts(files.tree())))
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("name", LARGE)
@given(vcpus=st.integers(1, 32) | st.none())
def test_automatic_pins_are_whole_and_leave_the_host_a_core(name: str, vcpus: int | None) -> None:
    facts = host(name).cpus
    wish = AUTO if vcpus is None else {**AUTO, "vcpus": vcpus}
    pinned, told = pin_automatically(machine(cpu=wish, iothread=[{"name": "io0"}]), facts)
    if any(problem.severity == "error" for problem in told):
        assert pinned.cpu.pin is not None
        assert pinned.cpu.pin.auto
        return
    assert pinned.cpu.pin
    guest = CpuSet(pinned.cpu.pin)
    siblings = {sibling for cpu in facts.cpus if cpu.cpu in guest for sibling in cpu.siblings}
    emulator = pinned.cpu.emulator or CpuSet()
    assert len(guest) == len(pinned.cpu.pin) == pinned.cpu.shape().vcpus
    assert not siblings & (emulator | (pinned.iothread[0].pin or CpuSet()))
    assert facts.online - siblings
    assert vcpus in (None, len(pinned.cpu.pin))


def test_what_the_file_says_itself_is_kept() -> None:
    wish = {**AUTO, "topology": {"cores": 2, "threads": 2}, "emulator": "0"}
    threads = [{"name": "io0", "pin": "8"}]
    pinned, _ = pin_automatically(machine(cpu=wish, iothread=threads), host("desktop-two-ccx").cpus)
    assert pinned.cpu.shape().vcpus == 4
    assert pinned.cpu.emulator == CpuSet([0])
    assert pinned.iothread[0].pin == CpuSet([8])


def test_cpus_of_another_machine_are_left_alone_and_too_many_are_refused() -> None:
    facts = host("desktop-two-ccx").cpus
    taken = CpuSet.parse("4-7,12-15")
    pinned, _ = pin_automatically(machine(cpu={**AUTO, "vcpus": 4}), facts, taken=taken)
    assert pinned.cpu.pin
    assert not taken & set(pinned.cpu.pin)
    _, told = pin_automatically(machine(cpu={**AUTO, "vcpus": 16}), facts)
    assert [(problem.code, problem.severity) for problem in told] == [("pins-refused", "error")]


def test_explicit_pins_are_obeyed() -> None:
    made = machine(cpu={"pin": "0,1"})
    assert pin_automatically(made, host("desktop-two-ccx").cpus) == (made, [])


def test_a_plan_shows_the_chosen_pins_and_why() -> None:
    from qlaunch.machine.load import Loaded

    made = machine(cpu=AUTO, disk=[{"path": "/dev/null"}])
    here = msgspec.structs.replace(found(made), cpus=host("desktop-two-ccx").cpus)
    plan = make_plan(Loaded("m", "/m.toml", made), here)
    assert plan.duty.pins.vcpus["0"] == "4"
    assert plan.duty.pins.emulator == "0,8"
    assert "14,sockets=1,dies=1,cores=7,threads=2" in plan.argv
    assert any(problem.code == "pins-chosen" for problem in plan.problems)


@pytest.mark.parametrize("name", build.NAMES)
def test_the_verbs_work_on_a_captured_host(desk: Desk, tmp_path: Path, name: str) -> None:
    root = build.load(name).write(tmp_path / "host")
    root.mkdir(exist_ok=True)
    for verb in ("topology", "groups"):
        assert desk.qlaunch(verb, "--host-root", str(root)).stdout
        msgspec.json.decode(desk.qlaunch(verb, "--json", "--host-root", str(root)).stdout)


@pytest.mark.qemu
def test_a_machine_runs_on_the_pins_that_were_chosen_for_it(desk: Desk) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one CPU: none can be given away")
    desk.machine("deaf", DEAF + '[cpu]\npin = "auto"\nvcpus = 1\n')
    desk.qlaunch("up", "deaf", "--detach")
    pins = msgspec.json.decode(desk.qlaunch("status", "deaf", "--json").stdout)["pins"]
    shown = desk.qlaunch("topology").stdout
    assert "deaf: vCPU 0" in shown
    assert pins["vcpus"]["0"] not in pins["emulator"].split(",")
    desk.qlaunch("down", "--force", "deaf")


def drawn(name: str, pins: dict[str, Pins]) -> tuple[Element, str]:
    """The drawing of a host, parsed, and as text."""
    facts = host(name)
    text = drawing(facts.cpus, facts.memory.nodes, pins)
    return parsed(text), text


def parsed(text: str) -> Element:
    return fromstring(text)  # noqa: S314 - our own


@pytest.mark.parametrize("name", build.NAMES)
def test_a_drawing_is_xml_that_stands_alone_and_has_every_cpu_that_is_online_once(name: str) -> None:
    root, text = drawn(name, {"m": Pins(vcpus={"0": "0"}, emulator="1")})
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert sorted(int(title.split(";")[0].removeprefix("CPU ")) for title in titles) == sorted(host(name).cpus.online)
    assert {element.tag for element in root.iter()} <= {f"{SVG}{tag}" for tag in ("svg", "g", "rect", "text", "title")}
    assert "href" not in text


@pytest.mark.parametrize("name", build.NAMES)
def test_nothing_of_a_drawing_is_outside_its_frame_or_on_top_of_another_box(name: str) -> None:
    root, _ = drawn(name, {"gaming": Pins(vcpus={str(cpu): str(cpu) for cpu in range(8)})})
    boxes = list(rectangles(root, 0, 0))[1:]
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(left >= 0 and top >= 0 and right <= width and bottom <= height for left, top, right, bottom in boxes)
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart or encloses(one, other) or encloses(other, one)


Area = tuple[float, float, float, float]


def rectangles(element: Element, x: float, y: float) -> Iterator[Area]:
    """Left, top, right, bottom of every box, with the moves of the groups around it."""
    if move := element.attrib.get("transform"):
        right, down = move.removeprefix("translate(").removesuffix(")").split()
        x, y = x + float(right), y + float(down)
    if element.tag == f"{SVG}rect" and "%" not in element.attrib["width"]:
        yield x, y, x + float(element.attrib["width"]), y + float(element.attrib["height"])
    for child in element:
        yield from rectangles(child, x, y)


def encloses(outer: Area, inner: Area) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def test_a_drawing_tells_who_is_pinned_where_and_in_which_class_and_governor() -> None:
    pins = {"a": Pins(vcpus={"0": "0"}, iothreads={"io0": "16"}, emulator="16"), "b": Pins(vcpus={"3": "0,1"})}
    root, _ = drawn("hybrid-p-e-lpe", pins)
    words = {text.text for text in root.iter(f"{SVG}text")}
    assert {"a", "b", "vCPU 0", "vCPU 3", "io0", "emulator", "core 0 P", "core 6 E"} <= words
    assert any("LP-E cores" in (word or "") and "governor schedutil" in (word or "") for word in words)
    titles = {title.text for title in root.iter(f"{SVG}title")}
    assert {"CPU 0; a: vCPU 0; b: vCPU 3", "CPU 16; a: iothread io0, emulator"} <= titles


@pytest.mark.parametrize("text", ["<b>&amp;", "]]>", "\x00\x1b[31m", "\ufffe\ud800", 'a"b'])
def test_words_of_a_host_or_a_file_are_text_in_a_drawing_and_nothing_else(text: str) -> None:
    made = build.load("desktop-two-ccx")
    facts = HostFacts(made.tree()).cpus
    cpus = tuple(msgspec.structs.replace(cpu, governor=text) for cpu in facts.cpus)
    strange = msgspec.structs.replace(facts, cpus=cpus)
    root = parsed(drawing(strange, (), {text: Pins(iothreads={text: "0"})}))
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    words = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert shown in words
    assert any(word.endswith(f"governor {shown}") for word in words)


def test_the_verb_writes_a_new_file_and_keeps_one_that_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(build.load("desktop-two-ccx").write(tmp_path / "tree"))
    words = ["topology", "machines/gaming.toml", "--host-root", root, "--svg", str(tmp_path / "x.svg")]
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    assert parsed((tmp_path / "x.svg").read_text()).tag == f"{SVG}svg"
    assert main(words) == 2
    assert "exists" in capsys.readouterr().err


def test_machines_are_called_by_their_names_and_the_best_class_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build.load("hybrid-p-e-lpe").write(tmp_path / "host")
    (tmp_path / "m.toml").write_text('[cpu]\npin = "auto"\n[memory]\nsize = "1G"\n[boot]\napp = "probe"\n')
    assert main(["topology", str(tmp_path / "m.toml"), "--host-root", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  L3 24M, node 0, P/E cores, governor schedutil" in lines
    assert "    core 1    CPU 2,3        P m: vCPU 0,1" in lines


def test_a_plan_prints_the_reasons_beside_the_pins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = build.load("desktop-two-ccx").write(tmp_path / "host")
    (tmp_path / "m.toml").write_text('[cpu]\npin = "auto"\nvcpus = 2\n[memory]\nsize = "1G"\n[boot]\napp = "probe"\n')
    assert main(["plan", str(tmp_path / "m.toml"), "--host-root", str(root)]) == 0
    said = capsys.readouterr()
    pins = said.out.partition("Pins\n")[2].partition("\n\n")[0].splitlines()
    assert pins[0] == "  - the guest gets 1 whole core, CPUs 4,12, both threads of each"
    assert pins[-3:] == ["  vCPU 0 on CPU 4", "  vCPU 1 on CPU 12", "  emulator on CPU 0,8"]
    assert "whole core" not in said.err


def test_a_host_without_cpus_is_not_drawn_and_that_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build.load("container").write(tmp_path / "host")
    assert main(["topology", "--svg", str(tmp_path / "x.svg"), "--host-root", str(root)]) == 3
    assert "does not say what CPUs it has" in capsys.readouterr().err
    assert not (tmp_path / "x.svg").exists()


def test_groups_say_why_there_are_none_and_where_the_words_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = build.load("no-iommu")
    files.texts |= {"/etc/default/grub": "", "/usr/sbin/update-grub": ""}
    assert main(["groups", "--host-root", str(files.write(tmp_path))]) == 0
    said = capsys.readouterr()
    assert "the firmware describes Intel's IOMMU (DMAR), and the kernel does not use it" in " ".join(said.out.split())
    assert "add intel_iommu=on iommu=pt to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub" in said.err
