"""What is plugged in, pulled and plugged in again while a guest runs, with devices of memory and a QEMU of memory."""

import os
import tempfile
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from qlaunch.duty import EvdevDuty, Plugged, UsbDuty
from qlaunch.errors import CommandError, HostError, MonitorError
from qlaunch.run.grab import insist_on_grab
from qlaunch.run.hotplug import Hotplug
from qlaunch.run.loop import run_in_trio
from qlaunch.run.plug import EvdevPlug, Place, UsbPlug
from qlaunch.run.process import ProcessId
from qlaunch.run.qmp import Monitor, open_monitor
from qlaunch.run.spawn import without_plugged
from qlaunch.run.uevents import Uevents
from qlaunch.steps.step import Step
from tests.fakes.running import FakeRunning
from tests.live import DEAF, Desk

if TYPE_CHECKING:
    from qlaunch.run.launch import Running

QEMU = cast("Monitor", object())


class Stick:
    """A device that is where its test says, and a QEMU that may refuse it."""

    container = "/machine/peripheral"
    wish = "the stick"

    def __init__(self, *, optional: bool = False, inode: int | None = 1) -> None:
        self.optional = optional
        self.inode = inode
        self.qemu_id = "usb1"
        self.refusal: MonitorError | HostError | OSError | None = None
        self.heard: list[str] = []

    def find(self) -> Place | None:
        step = Step(kind="usb", summary="stick", claims={"1-2 46f4:0001": "guest"}, lane="devices")
        return Place(node="/dev/stick", inode=self.inode, name="Stick", step=step) if self.inode else None

    async def give(self, monitor: Monitor, place: Place) -> None:
        del monitor
        if self.refusal:
            raise self.refusal
        self.heard.append(f"given {place.inode}")

    async def take(self, monitor: Monitor) -> None:
        del monitor
        self.heard.append("taken")


class Stage:
    """A running machine with one stick."""

    def __init__(self, stick: Stick, *, is_child: bool = True) -> None:
        self.said: list[str] = []
        self.running = FakeRunning(is_child=is_child)
        self.hotplug = Hotplug(cast("Running", self.running), self.said.append)
        self.hotplug._plugs.append(stick)

    async def look(self) -> None:
        """Look once more, as after an event."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hotplug.follow)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()


def play(act: Callable[[], Awaitable[None]]) -> None:
    run_in_trio(act)


def test_a_device_is_given_before_the_guest_runs_and_follows_its_plug() -> None:
    stick = Stick()
    stage = Stage(stick)

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        assert (stick.heard, stage.said) == (["given 1"], [])
        stick.inode = None
        await stage.look()
        stick.inode = 7
        await stage.look()
        await stage.look()

    play(act)
    assert stick.heard == ["given 1", "taken", "given 7"]
    assert stage.running.changes.heard == ["make 1-2 46f4:0001", "undo 1-2 46f4:0001", "make 1-2 46f4:0001"]
    assert stage.said == [
        "Stick was unplugged; the guest gets it again when it is back",
        "Stick is plugged in, and the guest has it",
    ]


def test_a_device_that_was_pulled_and_put_back_between_two_looks_is_given_anew() -> None:
    stick = Stick()
    stage = Stage(stick)

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        stick.inode = 2
        await stage.look()

    play(act)
    assert stick.heard == ["given 1", "taken", "given 2"]


def test_a_device_that_is_needed_and_absent_ends_the_start() -> None:
    with pytest.raises(HostError, match="the stick is not plugged in"):
        play(lambda: Stage(Stick(inode=None)).hotplug.begin(QEMU))


@pytest.mark.parametrize(
    "refusal",
    [CommandError("QEMU refused device_add: no"), HostError("no"), PermissionError(13, "Permission denied")],
    ids=["by QEMU", "by the host", "by the kernel"],
)
def test_a_device_that_cannot_be_had_ends_the_start_and_is_given_back(refusal: Any) -> None:
    stick = Stick()
    stick.refusal = refusal
    stage = Stage(stick)
    with pytest.raises(HostError, match="the stick: "):
        play(lambda: stage.hotplug.begin(QEMU))
    assert stage.running.changes.heard == ["make 1-2 46f4:0001", "undo 1-2 46f4:0001"]


def test_what_fails_while_the_guest_runs_is_told_once_and_tried_again() -> None:
    stick = Stick(optional=True)
    stick.refusal = HostError("somebody has it")
    stage = Stage(stick)

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        await stage.look()
        await stage.look()
        assert stage.said == ["the stick: somebody has it"]
        stick.refusal = None
        await stage.look()

    play(act)
    assert stick.heard == ["given 1"]
    assert stage.said[-1] == "Stick is plugged in, and the guest has it"


def test_a_qemu_that_answers_late_is_told_and_the_device_comes_with_the_next_change() -> None:
    stick = Stick(optional=True, inode=None)
    stage = Stage(stick)

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        stick.inode = 1
        stick.refusal = MonitorError("QEMU did not answer device_add within 10 s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.hotplug.follow)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(nursery.child_tasks) == 1  # it goes on
            nursery.cancel_scope.cancel()
        stick.refusal = None
        await stage.look()

    play(act)
    told = "the stick: QEMU did not answer device_add within 10 s; it is tried again at the next change"
    assert stage.said == [told, "Stick is plugged in, and the guest has it"]
    assert stick.heard == ["taken", "given 1"]  # one that QEMU got late would be in the way


def test_a_qemu_that_has_ended_is_asked_no_more() -> None:
    stick = Stick(optional=True, inode=None)
    stage = Stage(stick)
    stage.running.process = ProcessId(1, 0)

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        stick.inode, stick.refusal = 1, MonitorError("the connection to QEMU ended during device_add")
        with trio.fail_after(60):
            await stage.hotplug.follow()

    play(act)
    assert stage.said == []


def test_what_is_pulled_and_not_given_back_whole_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stick = Stick()
    stage = Stage(stick)
    monkeypatch.setattr(stage.running.changes, "undo_of", lambda *_words: ["its driver is gone"])

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        stick.inode = None
        await stage.look()

    play(act)
    assert stage.said[0] == "Stick is not the host's again: its driver is gone"


def test_what_could_not_be_taken_is_taken_later(monkeypatch: pytest.MonkeyPatch) -> None:
    stick = Stick()
    stage = Stage(stick)
    take = stick.take

    async def no_answer(_monitor: Monitor) -> None:
        raise MonitorError("QEMU did not answer device_del within 10 s")

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        stick.inode = None
        monkeypatch.setattr(stick, "take", no_answer)
        await stage.look()
        monkeypatch.setattr(stick, "take", take)
        await stage.look()

    play(act)
    assert stick.heard == ["given 1", "taken"]
    assert stage.running.changes.heard == ["make 1-2 46f4:0001", "undo 1-2 46f4:0001"]


def test_a_device_that_the_guest_has_by_another_name_stays_its(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(Stick())
    monkeypatch.setattr(UsbPlug, "find", lambda _plug: Stick().find())

    async def act() -> None:
        await stage.hotplug.begin(QEMU)
        with pytest.raises(HostError, match="the guest has Stick already"):
            await stage.hotplug.attach(Plugged(id="46f4:0001"))

    play(act)
    assert stage.running.changes.heard == ["make 1-2 46f4:0001"]


def test_a_machine_that_is_taken_over_does_not_end_for_a_device_that_is_absent() -> None:
    stage = Stage(Stick(inode=None), is_child=False)

    class Empty:
        async def execute(self, command: str, arguments: object) -> object:
            del command, arguments
            return []

    play(lambda: stage.hotplug.begin(cast("Monitor", Empty())))
    assert stage.said == []


def test_a_dead_event_device_of_another_supervisor_s_time_is_left_alone() -> None:
    plug = EvdevPlug(EvdevDuty(path="/dev/input/event3", arguments={"qom-type": "input-linux", "id": "evdev0"}))
    plug.rename(["evdev0", "evdev0-2"])
    assert plug.qemu_id == "evdev0-3"


def test_the_started_argv_has_no_usb_device_that_is_plugged_in_later() -> None:
    arguments: dict[str, str | int | bool] = {"driver": "usb-host", "id": "usb1"}
    mine = '{"driver":"usb-host","id":"usb1","bus":"usb0.0"}'
    argv = ["qemu", "-device", mine, "-device", '{"driver":"usb-host","id":"usb10"}', "-device", "usb-host,hostbus=1"]
    duty = FakeRunning().duty([UsbDuty(device=Plugged(at="1-2"), arguments=arguments)])
    assert without_plugged(argv, duty) == ["qemu", *argv[3:]]
    assert without_plugged(argv, FakeRunning().duty([])) == argv


def test_what_is_no_event_device_is_told_and_what_is_absent_is_left_to_others() -> None:
    insist_on_grab("/nowhere/event3")
    with pytest.raises(HostError, match="/dev/null is no event device"):
        insist_on_grab("/dev/null")


def test_events_of_other_subsystems_and_lost_ones_are_told_apart() -> None:
    class Events:
        def __init__(self, *messages: bytes | OSError) -> None:
            self.messages = list(messages)

        def recv(self, _size: int, _flags: int) -> bytes:
            if not self.messages:
                raise BlockingIOError
            message = self.messages.pop(0)
            if isinstance(message, OSError):
                raise message
            return message

    def has_news(*messages: bytes | OSError) -> bool:
        return Uevents(cast("Any", Events(*messages)), (b"usb", b"input"))._has_news()

    assert has_news(b"add@/x\0ACTION=add\0SUBSYSTEM=block\0", b"add@/y\0SUBSYSTEM=usb\0SEQNUM=1\0")
    assert has_news(b"libudev\0\xfe\xed\xca\xfe\0SUBSYSTEM=input\0")
    assert has_news(OSError(105, "No buffer space available"))
    assert not has_news(b"add@/x\0SUBSYSTEM=usbmisc\0")


@pytest.mark.qemu
def test_qemu_is_lent_an_open_file_and_lets_it_go(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")

    async def act() -> None:
        async with open_monitor(f"{desk.runtime}/deaf/qmp-user.sock", greeting_s=10) as monitor:
            with tempfile.TemporaryFile() as file:
                number = await monitor.lend(file.fileno())
                sets = cast("Any", await monitor.execute("query-fdsets"))
                assert [one["fdset-id"] for one in sets] == [number]
                pid = desk.record("deaf")["qemu"]["pid"]
                held = {os.stat(f"/proc/{pid}/fd/{name}").st_ino for name in os.listdir(f"/proc/{pid}/fd")}
                assert os.fstat(file.fileno()).st_ino in held
                await monitor.execute("remove-fd", {"fdset-id": number})
            plug = UsbPlug(UsbDuty(device=Plugged(at="1-2"), arguments={"driver": "usb-host", "id": "usb1"}))
            await plug.take(monitor)  # what is not there need not be taken

    run_in_trio(act)
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


@pytest.mark.qemu
def test_a_device_that_is_not_there_cannot_be_attached_or_detached(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    assert "no USB device 1-9 is plugged in" in desk.qlaunch("attach", "deaf", "1-9", expect=3).stderr
    assert "the guest has no USB device 1-9" in desk.qlaunch("detach", "deaf", "1-9", expect=3).stderr
    assert "is no USB device" in desk.qlaunch("attach", "deaf", "headset", expect=2).stderr
    assert "the guest has no PCI device 0000:0b:00" in desk.qlaunch("detach", "deaf", "0b:00.0", expect=3).stderr
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


@pytest.mark.qemu
def test_a_start_waits_for_an_optional_device_and_insists_on_another(desk: Desk) -> None:
    text = DEAF + '[[usb]]\nid = "046d:c547"\noptional = true\n[[evdev]]\npath = "/dev/input/none"\noptional = true\n'
    desk.machine("deaf", text)
    desk.qlaunch("up", "deaf", "--detach")
    desk.qlaunch("down", "--force", "deaf")
    desk.machine("deaf", text.replace("true", "false"))
    refused = desk.qlaunch("up", "deaf", "--detach", expect=3)
    assert "/dev/input/none is not there" in refused.stderr
    desk.assert_clean()
