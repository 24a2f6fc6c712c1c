"""A real guest between logind and systemd: locks while it runs, words as it goes, and an end in order."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.systemd_bus import LOGIND, FakeSystemdBus, systemd_bus
from tests.live import DEAF, PATIENCE_S, Desk

pytestmark = pytest.mark.qemu
needs_bus = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")
AWAKE = DEAF + "[host]\ninhibit_sleep = true\n"
LOCKS = [("shutdown", "delay"), ("sleep", "block")]


@pytest.fixture
def bus(desk: Desk, tmp_path: Path) -> Iterator[FakeSystemdBus]:
    with systemd_bus(tmp_path) as made:
        desk.environment["DBUS_SYSTEM_BUS_ADDRESS"] = made.address
        yield made


def until(condition: Callable[[], object]) -> None:
    """Look until it holds: what processes do tells nobody."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


@needs_bus
def test_the_host_stays_awake_while_the_guest_runs(desk: Desk, bus: FakeSystemdBus) -> None:
    desk.machine("m", AWAKE)
    desk.qlaunch("up", "m", "--detach")
    assert sorted(bus.inhibitors) == LOCKS
    os.kill(desk.record("m")["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: not bus.inhibitors)
    desk.qlaunch("up", "m", "--detach")
    assert sorted(bus.inhibitors) == LOCKS
    desk.qlaunch("down", "m", "--force")
    until(lambda: not bus.inhibitors)
    desk.assert_clean()


@needs_bus
def test_a_host_that_goes_down_asks_the_guest_first(desk: Desk, bus: FakeSystemdBus) -> None:
    desk.machine("m", AWAKE)
    up = desk.up("m")
    desk.hear(up, "the guest runs")
    bus.emit(f"{LOGIND}.Manager", "/org/freedesktop/login1", "PrepareForShutdown", "b", (True,))
    desk.hear(up, "the host goes down, and waits up to 5 s for the guest")
    desk.hear(up, "asking the guest to power off")
    assert sorted(bus.inhibitors) == LOCKS
    assert up.wait() == 0
    until(lambda: not bus.inhibitors)
    desk.assert_clean()


def test_a_host_without_logind_runs_the_guest_and_says_so(desk: Desk) -> None:
    desk.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={desk.folder}/none"
    desk.machine("m", AWAKE)
    said = desk.qlaunch("up", "m", "--detach").stderr
    assert "the host may fall asleep" in said
    assert "the guest runs" in said
    desk.qlaunch("down", "m", "--force")
    desk.assert_clean()


class Hearer:
    """The socket on which systemd hears a service."""

    def __init__(self, desk: Desk) -> None:
        path = f"{desk.folder}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.bind(path)
        desk.environment |= {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}

    def hear(self, word: str) -> str:
        while True:
            heard = self.socket.recv(4096).decode()
            if word in heard:
                return heard


@pytest.fixture
def hearer(desk: Desk) -> Iterator[Hearer]:
    made = Hearer(desk)
    with made.socket:
        yield made


def test_systemd_hears_that_the_guest_runs_that_qlaunch_lives_and_that_it_ends(desk: Desk, hearer: Hearer) -> None:
    desk.machine("m", DEAF)
    up = desk.up("m")
    ready = hearer.hear("READY=1").splitlines()
    assert ready[1] == f"MAINPID={up.pid}"
    assert ready[2].startswith("STATUS=the guest runs (tcg, ")
    environment = Path(f"/proc/{desk.record('m')['qemu']['pid']}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in environment
    assert b"WATCHDOG" not in environment
    for _ in range(3):
        assert hearer.hear("WATCHDOG=1") == "WATCHDOG=1"
    up.send_signal(signal.SIGTERM)
    hearer.hear("STOPPING=1")
    assert hearer.hear("STATUS=asking the guest to power off")
    assert up.wait() == 0
    desk.assert_clean()


def test_systemd_hears_who_took_the_guest_over(desk: Desk, hearer: Hearer) -> None:
    desk.machine("m", DEAF)
    first = desk.up("m")
    hearer.hear("READY=1")
    first.kill()
    first.wait()
    second = desk.up("m")
    assert f"MAINPID={second.pid}" in hearer.hear("READY=1")
    desk.qlaunch("down", "m", "--force")
    assert second.wait() == 0
    desk.assert_clean()
