"""Scripts, patterns on a serial port, and errands through a fake guest agent: without any QEMU."""

import math
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from qlaunch.errors import DeadlineError, HostError, MonitorError, UsageError
from qlaunch.plan import Plan
from qlaunch.run.errand import Copy, Errand, Line, parse_script, talk
from qlaunch.run.guest import Ending
from qlaunch.run.headless import Outcome, Transcript, _Run
from qlaunch.run.loop import run_in_trio
from qlaunch.run.serial_talk import SerialTalk
from tests.fakes.agent import serve_agent
from tests.live import Desk
from tests.test_guest import duty


def at_the_port(what: Callable[[SerialTalk, trio.SocketStream], Awaitable[Any]]) -> Any:
    """Run something with a serial port and its guest's end; give what it gives."""

    async def run() -> Any:
        ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair())
        serial = SerialTalk(ours)
        async with ours, theirs, trio.open_nursery() as nursery:
            await nursery.start(serial.pump)
            result = await what(serial, theirs)
            nursery.cancel_scope.cancel()
        return result

    return run_in_trio(run)


def test_a_pattern_is_seen_across_pieces_and_each_match_begins_after_the_last() -> None:
    async def run(serial: SerialTalk, guest: trio.SocketStream) -> list[str]:
        for piece in (b"boot\r", b"\nlog", b"in: \xc3", b"\xa4 login: "):
            await guest.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        return [(await serial.expect(pattern))[0] for pattern in ("^boot$", "login: ä", "login:")]

    assert at_the_port(run) == ["boot", "login: ä", "login:"]


def test_a_guest_that_hangs_up_or_is_late_is_told_with_its_last_line() -> None:
    async def run(serial: SerialTalk, guest: trio.SocketStream) -> None:
        await guest.send_all(b"grub>\r\nerror: no such disk")
        with pytest.raises(DeadlineError, match=r"'login' was not seen within 0.2 s; .*'error: no such disk'"):
            await serial.expect("login", timeout_s=0.2)
        await guest.aclose()
        with pytest.raises(MonitorError, match="hung up before 'login' was seen"):
            await serial.expect("login")

    at_the_port(run)


def test_a_port_that_nobody_waits_at_is_read_all_the_same_and_bounded() -> None:
    async def run(serial: SerialTalk, guest: trio.SocketStream) -> int:
        for _ in range(20):
            await guest.send_all(b"x" * (1 << 20))
        await guest.send_all(b"end")
        await serial.expect("end")
        return len(serial._text)

    assert at_the_port(run) == 0


def test_a_script_is_gone_through_and_gives_the_status_that_it_found() -> None:
    script = [Line("timeout", "60"), Line("expect", "login:"), Line("send", "root\r"), Line("status", r"status (\d+)")]

    async def run(serial: SerialTalk, guest: trio.SocketStream) -> int:
        await guest.send_all(b"login: ")

        async def answer() -> None:
            assert await guest.receive_some() == b"root\r"
            await guest.send_all(b"\nstatus 300\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            return await talk(serial, script)

    assert at_the_port(run) == 300 & 0xFF


@pytest.mark.parametrize(
    ("text", "keys"), [("root", "root\r"), ("", "\r"), (r"\x03", "\x03"), (r"a\tb", "a\tb\r"), ("ä€", "ä€\r")]
)
def test_what_a_script_sends_ends_with_enter_or_with_a_key_of_its_own(tmp_path: Path, text: str, keys: str) -> None:
    path = tmp_path / "script"
    path.write_text(f"# a remark\n\nsend {text}\n", encoding="utf-8")
    assert parse_script(str(path)) == [Line("send", keys)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wait 5", "script:1: 'wait' is none of expect, send, status and timeout"),
        ("expect [", "script:1: '[' is not a regular expression"),
        ("status done", "script:1: status wants a pattern with a group"),
        ("timeout soon", "script:1: 'soon' cannot be used"),
    ],
)
def test_a_wrong_line_of_a_script_is_named(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "script").write_text(line)
    with pytest.raises(UsageError) as refused:
        parse_script(str(tmp_path / "script"))
    assert words in str(refused.value)
    with pytest.raises(HostError, match="cannot read the script"):
        parse_script(str(tmp_path / "none"))


class FakeGuest:
    """As much of a guest as an errand sees."""

    def __init__(self) -> None:
        self.listeners: list[Any] = []
        self.exited = trio.Event()
        self.agent_open = True
        self.ending: Ending | None = None


class FakeSupervisor:
    """Ends its guest as soon as it is asked to."""

    def __init__(self, machine: Any) -> None:
        self.duty = machine
        self.guest = FakeGuest()
        self.was_forced: bool | None = None

    def stop(self, *, force: bool) -> None:
        self.was_forced = force if self.was_forced is None else self.was_forced
        self.guest.ending = Ending("stopped", "the guest was stopped")
        self.guest.exited.set()


def errand_in(
    desk: Desk, errand: Errand, event: str = "", timeout_s: float = 60
) -> tuple[Outcome | None, FakeSupervisor]:
    """Do an errand in a guest that is this computer; give how it went."""
    machine = duty(desk)
    run = _Run(Plan(duty=machine, argv=[]), Transcript(None, None), errand, timeout_s)

    async def go() -> FakeSupervisor:
        supervisor = FakeSupervisor(machine)
        async with trio.open_nursery() as nursery:
            await nursery.start(run.watch, supervisor)
            for listen in list(supervisor.guest.listeners) if event else ():
                listen({"event": event, "data": {}})
        return supervisor

    with serve_agent(Path(machine.socket("agent"))):
        supervisor = run_in_trio(go)
    return run.outcome, supervisor


def test_a_command_runs_between_its_copies_and_its_status_is_the_runs(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("words")
    said = bytearray()
    script = f"cat {tmp_path}/there; echo result > {tmp_path}/made; exit 3"
    errand = Errand(
        copy_in=[Copy(str(tmp_path / "in"), str(tmp_path / "there"))],
        command=["sh", "-c", script],
        copy_out=[Copy(str(tmp_path / "made"), str(tmp_path / "out"))],
        out=said.extend,
        err=said.extend,
    )
    outcome, supervisor = errand_in(desk, errand)
    assert outcome == Outcome(how="done", sentence="the guest's status is 3", exit_status=3)
    assert said == b"words"
    assert (tmp_path / "out").read_text() == "result\n"
    assert supervisor.was_forced is False


def test_an_errand_that_cannot_be_done_is_a_sentence(desk: Desk, tmp_path: Path) -> None:
    outcome, _ = errand_in(desk, Errand(copy_out=[Copy("/nowhere", str(tmp_path / "out"))]))
    assert outcome
    assert outcome.how == "failed"
    assert "refused guest-file-open" in outcome.sentence


def test_a_deadline_and_a_watchdog_end_the_guest_at_once_and_are_told_apart(desk: Desk) -> None:
    slow = Errand(command=["sleep", "60"], out=lambda _: None, err=lambda _: None)
    outcome, supervisor = errand_in(desk, slow, timeout_s=0.5)
    assert outcome
    assert (outcome.how, supervisor.was_forced) == ("deadline", True)
    assert outcome.sentence == "fake did not run sleep 60 to its end within 0.5 s"
    Path(duty(desk).socket("agent")).unlink()
    outcome, supervisor = errand_in(desk, Errand(), event="WATCHDOG", timeout_s=math.inf)
    assert outcome
    assert (outcome.how, supervisor.was_forced) == ("watchdog", True)
