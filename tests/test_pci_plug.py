"""PCI devices of a running guest, with a QEMU in memory: function 0 comes last, and what is kept is told."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from qlaunch.attachment import Attachment
from qlaunch.errors import CommandError, HostError, Problem
from qlaunch.run import pci_plug
from qlaunch.run.loop import run_in_trio
from qlaunch.run.pci_plug import PciPlugs
from qlaunch.steps.step import Step
from tests.fakes.running import FakeRunning

if TYPE_CHECKING:
    from qlaunch.run.guest import Guest
    from qlaunch.run.launch import Running

CARD = "0000:0b:00"
FUNCTIONS = [f"{CARD}.{number}" for number in range(3)]


class FakeGuest:
    """A QEMU with spare ports, whose guest lets go of a slot at once, late, or never."""

    def __init__(self) -> None:
        self.devices: dict[str, str] = {}  # host addresses by names
        self.ports = [f"rp-spare{number}" for number in range(4)]
        self.heard: list[str] = []
        self.refused = ""
        self.ejects = True
        self.listeners: list[Callable[[dict[str, object]], None]] = []
        self.monitor = self

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> object:
        await trio.lowlevel.checkpoint()
        asked = arguments or {}
        name = str(asked.get("path", "")).rpartition("/")[2]
        match command:
            case "qom-list":
                return [{"name": name, "type": "child"} for name in (*self.ports, *self.devices)]
            case "qom-get" if asked["property"] == "type":
                return "vfio-pci" if name in self.devices else "pcie-root-port"
            case "qom-get":
                return self.devices[name]
            case _:
                return self.change(command, asked)

    def change(self, command: str, asked: dict[str, Any]) -> object:
        self.heard.append(f"{command} {asked['id']}")
        if command == "device_add":
            if asked["id"] == self.refused:
                raise CommandError("QEMU refused device_add: group is not viable")
            self.devices[asked["id"]] = asked["host"]
        elif asked["id"] not in self.devices:
            raise CommandError("QEMU refused device_del: not found")
        elif self.ejects:
            self.eject()
        else:
            self.tell("DEVICE_UNPLUG_GUEST_ERROR", asked["id"])
        return {}

    def eject(self) -> None:
        for name in list(self.devices):
            del self.devices[name]
            self.tell("DEVICE_DELETED", name)

    def tell(self, event: str, device: str) -> None:
        for listener in self.listeners:
            listener({"event": event, "data": {"device": device}})


class Stage:
    """A running machine, and a host with one card of three functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *problems: Problem) -> None:
        self.running, self.guest = FakeRunning(), FakeGuest()
        self.plugs = PciPlugs(cast("Running", self.running), lambda: cast("Guest", self.guest))
        step = Step(kind="pci-driver", summary="card", claims=dict.fromkeys(FUNCTIONS, "vfio-pci"), lane="devices")

        def plan(_duty: object, _address: object, port: int, _facts: object) -> Attachment:
            devices: list[dict[str, str | bool]] = [
                {"id": f"attached{port}-{number}", "host": host} for number, host in enumerate(FUNCTIONS)
            ]
            return Attachment(name="the card", steps=[step], problems=list(problems), devices=devices)

        monkeypatch.setattr(pci_plug, "pci_attachment", plan)
        monkeypatch.setattr(PciPlugs, "_allow_memory_lock", lambda _self, _limit: None)


def play(act: Callable[[], Awaitable[None]]) -> None:
    run_in_trio(act)


def test_function_0_comes_last_since_the_guest_looks_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)

    async def act() -> None:
        assert await stage.plugs.attach(CARD) == "the guest has the card"
        assert stage.guest.heard == [f"device_add attached0-{number}" for number in (2, 1, 0)]
        with pytest.raises(HostError, match="has 0000:0b:00 already"):
            await stage.plugs.attach(f"{CARD}.1")

    play(act)
    assert stage.running.changes.held == set(FUNCTIONS)


def test_a_slot_is_asked_for_once_and_given_back_when_the_guest_has_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)

    async def act() -> None:
        await stage.plugs.attach(CARD)
        stage.guest.heard.clear()
        assert await stage.plugs.detach(f"{CARD}.2") == "the host has 0000:0b:00 again"
        with pytest.raises(HostError, match="the guest has no PCI device 0000:0b:00"):
            await stage.plugs.detach(CARD)

    play(act)
    assert stage.guest.heard == ["device_del attached0-0"]
    assert stage.running.changes.held == set()


def test_a_guest_that_refuses_keeps_it_and_the_host_does_not_touch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)

    async def act() -> None:
        await stage.plugs.attach(CARD)
        stage.guest.ejects = False
        with pytest.raises(HostError, match="refuses to let go of it"):
            await stage.plugs.detach(CARD)

    play(act)
    assert stage.running.changes.held == set(FUNCTIONS)
    assert stage.guest.listeners == []


def test_a_guest_that_does_not_answer_is_waited_for_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    monkeypatch.setattr(pci_plug, "_EJECT_S", 0.05)

    async def act() -> None:
        await stage.plugs.attach(CARD)
        monkeypatch.setattr(stage.guest, "tell", lambda *_: None)
        stage.guest.ejects = False
        with pytest.raises(HostError, match="has not let go of it in 0.05 s"):
            await stage.plugs.detach(CARD)

    play(act)
    assert stage.running.changes.held == set(FUNCTIONS)


def test_half_an_attachment_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)

    async def act() -> None:
        stage.guest.refused = "attached0-1"
        with pytest.raises(HostError, match="group is not viable"):
            await stage.plugs.attach(CARD)

    play(act)
    assert stage.guest.devices == {}
    assert stage.running.changes.held == set()


def test_what_stands_against_it_is_told_before_anything_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, Problem(code="group", message="IOMMU group 3 has strangers", hint="move the card"))

    async def act() -> None:
        with pytest.raises(HostError, match="IOMMU group 3 has strangers"):
            await stage.plugs.attach(CARD)

    play(act)
    assert stage.running.changes.heard == []
    assert stage.guest.heard == []


def test_a_board_without_a_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.guest.ports = []

    async def act() -> None:
        with pytest.raises(HostError, match="no port of the guest's board is free"):
            await stage.plugs.attach(CARD)

    play(act)
