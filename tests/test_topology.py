"""Pictures of hosts, automatic pins in a plan, and what they need: nothing but a folder of files."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from qlaunch.autopin import pin_automatically
from qlaunch.cli.groups import as_json as groups_json, picture as groups_picture
from qlaunch.cli.topology import as_json as topology_json, picture as topology_picture
from qlaunch.duty import Pins
from qlaunch.host.facts import HostFacts
from qlaunch.plan import make_plan
from qlaunch.values.cpus import CpuSet
from tests.hosts import build
from tests.live import DEAF, Desk
from tests.sites import found, machine

LARGE = [name for name in build.NAMES if name != "container"]
AUTO = {"pin": "auto"}


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
    assert any("0b:00.0  1002:73bf" in line and "(amdgpu)" in line for line in lines)
    assert any("046d:c547  USB Receiver" in line for line in lines)


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
