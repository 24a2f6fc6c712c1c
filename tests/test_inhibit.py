"""Locks of logind's that go with the supervisor, words to systemd, and a unit of the supervisor's own."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from qlaunch.run import inhibit, transient
from qlaunch.run.inhibit import inhibitors
from qlaunch.run.notify import ServiceManager
from qlaunch.run.transient import end_empty_scope, move_to_own_unit
from qlaunch.steps import systemd
from tests.fakes.systemd_bus import LOGIND, FakeSystemdBus, systemd_bus

needs_bus = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystemdBus]:
    with systemd_bus(tmp_path) as made:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", made.address)
        yield made


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - what another process does sets no event
            await trio.sleep(0.005)


@needs_bus
def test_the_locks_are_held_while_the_guest_runs_and_gone_afterwards(fake: FakeSystemdBus) -> None:
    said: list[str] = []

    async def main() -> None:
        async with inhibitors("ada", said.append, lambda: None, sleep=True):
            assert sorted(fake.inhibitors) == [("shutdown", "delay"), ("sleep", "block")]
        await until(lambda: not fake.inhibitors)

    trio.run(main)
    assert not said
    who = [body[1:3] for name, body in fake.calls if name == "Inhibit"]
    assert who[0] == ("qlaunch ada", "its guest has devices that do not survive it")


@needs_bus
def test_the_host_may_sleep_where_nothing_speaks_against_it(fake: FakeSystemdBus) -> None:
    async def main() -> None:
        async with inhibitors("ada", print, lambda: None, sleep=False):
            assert fake.inhibitors == [("shutdown", "delay")]

    trio.run(main)


@needs_bus
def test_a_host_that_goes_down_ends_the_guest_first(fake: FakeSystemdBus) -> None:
    said: list[str] = []

    async def main() -> None:
        stopped = trio.Event()
        async with inhibitors("ada", said.append, stopped.set, sleep=False):
            path = "/org/freedesktop/login1"
            fake.emit(f"{LOGIND}.Manager", path, "PrepareForShutdown", "b", (False,))
            fake.emit(f"{LOGIND}.Manager", path, "PrepareForShutdown", "b", (True,))
            with trio.fail_after(20):
                await stopped.wait()
            assert fake.inhibitors == [("shutdown", "delay")]  # it waits as long as we are here
        await until(lambda: not fake.inhibitors)

    trio.run(main)
    assert said == ["the host goes down, and waits up to 5 s for the guest"]


@needs_bus
def test_a_bus_that_goes_away_ends_no_guest(fake: FakeSystemdBus, tmp_path: Path) -> None:
    said: list[str] = []

    async def main() -> None:
        async with inhibitors("ada", said.append, lambda: None, sleep=True):
            fake.daemon.terminate()
            await until(lambda: said)
            await trio.lowlevel.checkpoint()

    trio.run(main)
    assert said[0].startswith("nobody tells any more when the host goes down: ")
    del tmp_path


@needs_bus
def test_a_refusal_is_one_sentence_and_the_machine_runs(fake: FakeSystemdBus) -> None:
    fake.refusals["Inhibit"] = ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied")
    said: list[str] = []

    async def main() -> None:
        async with inhibitors("ada", said.append, lambda: None, sleep=True):
            pass

    trio.run(main)
    assert said == [
        "the host may fall asleep, and will not wait for the guest when it goes down: logind said: Permission denied"
    ]


def test_a_host_without_logind_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    said: list[str] = []

    async def main() -> None:
        async with inhibitors("ada", said.append, lambda: None, sleep=False):
            pass

    trio.run(main)
    reason = "D-Bus of the system does not answer (no such file or directory)"
    assert said == [f"the host will not wait for the guest when it goes down: {reason}"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # jeepney leaves the socket to Python
def test_a_bus_that_says_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inhibit, "_CALL_S", 0.1)
    said: list[str] = []
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "bus"))
        deaf.listen()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")

        async def main() -> None:
            async with inhibitors("ada", said.append, lambda: None, sleep=False):
                pass

        trio.run(main)
    assert len(said) == 1
    assert "logind did not answer" in said[0]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_that_the_guest_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    abstract: bool,  # noqa: FBT001
) -> None:
    path = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearer:
        hearer.bind(f"\0{path}" if abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else path)
        ServiceManager.take().ready("the guest runs\nSTOPPING=1")
        heard = hearer.recv(4096).decode()
    assert heard == f"READY=1\nMAINPID={os.getpid()}\nSTATUS=the guest runs STOPPING=1"


@pytest.mark.parametrize("place", [None, "", "vsock:2:1234", "/nowhere/at/all"])
def test_nobody_is_told_where_nobody_listens(place: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if place is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", place)
    assert not ServiceManager.take().tell(READY="1")


def test_the_watchdog_is_kept_quiet_after_a_word_that_was_lost(tmp_path: Path) -> None:
    async def act() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ServiceManager(address=f"{tmp_path}/notify", watchdog_s=0.02).keep_watchdog_quiet)
            await trio.testing.wait_all_tasks_blocked()  # nobody listens yet
            with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearer:
                await hearer.bind(f"{tmp_path}/notify")
                with trio.fail_after(60):
                    assert await hearer.recv(4096) == b"WATCHDOG=1"
            nursery.cancel_scope.cancel()

    trio.run(act)


@needs_bus
@pytest.mark.skipif(os.geteuid() != 0, reason="another manager serves a user who is not root")
def test_a_supervisor_moves_into_a_scope_of_its_own(
    fake: FakeSystemdBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transient, "_BOOTED", str(tmp_path))
    monkeypatch.setattr(systemd, "own_unit", lambda: "session-3.scope")
    assert move_to_own_unit("a b", print) == r"qlaunch:supervisor-a\x20b.scope"
    made = fake.scopes[r"qlaunch:supervisor-a\x20b.scope"]
    assert (made["PIDs"], made["Slice"]) == ([os.getpid()], "system.slice")
    assert made["TimeoutStopUSec"] == 1_800_000_000


@needs_bus
def test_a_supervisor_stays_where_it_ends_with_nobody(
    fake: FakeSystemdBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transient, "_BOOTED", str(tmp_path / "none"))
    assert move_to_own_unit("ada", print) is None
    monkeypatch.setattr(transient, "_BOOTED", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(systemd, "own_unit", lambda: "qlaunch@ada.service")
    assert move_to_own_unit("ada", print) is None
    assert not fake.scopes


def test_a_move_that_is_refused_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "_BOOTED", str(tmp_path))
    monkeypatch.setattr(systemd, "own_unit", lambda: "session-3.scope")
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, f"unix:path={tmp_path}/none")
    said: list[str] = []
    assert move_to_own_unit("ada", said.append) is None
    assert said[0].startswith("stays in session-3.scope, and may end with it: D-Bus of ")


@needs_bus
@pytest.mark.parametrize(("populated", "stopped"), [("0", True), ("1", False), (None, False)])
def test_a_scope_of_qemu_in_which_nothing_is_left_is_stopped(
    populated: str | None,
    stopped: bool,  # noqa: FBT001
    fake: FakeSystemdBus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transient, "_GROUPS", (f"{tmp_path}/none", str(tmp_path)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    fake.units[r"qlaunch-a\x20b.scope"] = "active"
    if populated:
        group = tmp_path / r"qlaunch-a\x20b.scope"
        group.mkdir()
        (group / "cgroup.events").write_text(f"populated {populated}\nfrozen 0\n")
    end_empty_scope("a b")
    assert (("StopUnit", (r"qlaunch-a\x20b.scope", "ignore-dependencies")) in fake.calls) is stopped
