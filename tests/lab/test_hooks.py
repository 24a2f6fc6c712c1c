"""Hooks, helpers, sleep locks and units under a real systemd and logind: in force, taken over, ended in order, gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.host import LabHost

pytestmark = pytest.mark.lab

UNIT = Path(__file__).parents[2] / "contrib/systemd/qlaunch@.service"
NOTES = "/run/notes"
SERVES = f"""
import os, signal, socket, sys
def note(word):
    with open("{NOTES}", "a") as file:
        file.write(f"{{sys.argv[1]}} {{word}}\\n")
def end(*_):
    note("ended")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
note("started")
if sys.argv[2:]:
    socket.socket(socket.AF_UNIX).bind(sys.argv[2])
while True:
    signal.pause()
"""
MACHINE = f"""
[machine]
accel = "kvm"
[boot]
app = "probe"
[cpu]
vcpus = 2
[memory]
size = "128M"
[shutdown]
resend_s = 1
[host]
inhibit_sleep = true
[[hook]]
start = ["sh", "-c", "echo hook started >> {NOTES}"]
stop = ["sh", "-c", "echo hook stopped >> {NOTES}"]
[[sidecar]]
command = ["python3", "-E", "-S", "/run/serves", "first", "/run/serves.sock"]
socket = "/run/serves.sock"
[[sidecar]]
command = ["python3", "-E", "-S", "/run/serves", "second"]
restart = "on-failure"
user = "nobody"
"""
ALL = ["first ended", "first started", "hook started", "hook stopped", "second ended", "second started"]


@pytest.fixture
def calm(host: LabHost) -> Iterator[LabHost]:
    host.machine("calm", MACHINE)
    host.write("/run/serves", SERVES)
    host.shell(f": > {NOTES}; chmod 666 {NOTES}")
    yield host
    host.shell(f"rm -f {NOTES} /run/serves /run/serves.sock")


@pytest.fixture
def unit(calm: LabHost) -> Iterator[LabHost]:
    calm.write("/run/systemd/system/qlaunch@.service", UNIT.read_text())
    calm.run("systemctl", "daemon-reload")
    yield calm
    # systemd keeps the slice of a template's units after the last of them.
    calm.shell("systemctl stop system-qlaunch.slice; rm /run/systemd/system/qlaunch@.service; systemctl daemon-reload")


def up_from_a_session(host: LabHost) -> None:
    """As from a terminal: in a scope, where the lab's own commands are part of a service."""
    host.run("systemd-run", "--scope", "-q", "--unit=session-9", "qlaunch", "up", "calm", "--detach")


def wait_for_guest(host: LabHost) -> None:
    """Until the guest heeds its power button: it has 90 s to follow it, most of which its firmware may need here."""
    host.wait_for_guest("calm")


def notes(host: LabHost) -> list[str]:
    return host.read(NOTES).splitlines()


def unit_of(host: LabHost, pid: int) -> str:
    return host.read(f"/proc/{pid}/cgroup").rpartition("/")[2]


def marked(host: LabHost) -> list[int]:
    return [int(pid) for pid in host.shell("pgrep -f '/run/[s]erves' || true").split()]


def test_each_is_in_a_unit_of_its_own_and_all_of_it_goes(calm: LabHost) -> None:
    up_from_a_session(calm)
    calm.wait_until(f"grep -q 'second started' {NOTES}")
    status = calm.json("status", "calm")
    units = [unit_of(calm, status[key]) for key in ("pid", "supervisor_pid")]
    helper = unit_of(calm, min(marked(calm)))
    held = calm.run("systemd-inhibit", "--list", "--no-legend").out
    owner = calm.shell("stat -c %U /proc/$(pgrep -f 'serves [s]econd')").strip()
    calm.qlaunch("down", "calm", "--force")
    after = calm.run("systemd-inhibit", "--list", "--no-legend").out
    assert units == ["qlaunch-calm.scope", "qlaunch:supervisor-calm.scope"]
    assert helper == "qlaunch-calm.scope"
    assert owner == "nobody"
    assert held.count("qlaunch calm") == 2, held
    assert "qlaunch" not in after
    assert sorted(notes(calm)) == ALL


def test_stopping_the_supervisor_s_scope_ends_the_guest_in_order(calm: LabHost) -> None:
    """As when the host goes down: SIGTERM is for the supervisor, and QEMU does not quit over it."""
    up_from_a_session(calm)
    wait_for_guest(calm)
    calm.run("systemctl", "stop", "qlaunch:supervisor-calm.scope")
    said = calm.qlaunch("logs", "calm").out
    assert "asking the guest to power off" in said
    assert "the guest powered off" in said
    assert not marked(calm)


def test_a_service_is_ready_when_the_guest_runs_and_its_stop_is_the_guest_s(unit: LabHost) -> None:
    unit.run("systemctl", "start", "qlaunch@calm")
    shown = unit.run("systemctl", "show", "qlaunch@calm", "-P", "StatusText", "-P", "ActiveState").out
    state = unit.json("status", "calm")["state"]
    wait_for_guest(unit)
    unit.run("systemctl", "stop", "qlaunch@calm")
    result = unit.run("systemctl", "show", "qlaunch@calm", "-P", "ActiveState", "-P", "Result").out.split()
    said = unit.qlaunch("logs", "calm").out
    assert "the guest runs" in shown
    assert "active" in shown
    assert state == "running"
    assert "the guest powered off" in said
    assert sorted(result) == ["inactive", "success"]
    assert sorted(notes(unit)) == ALL


def test_a_service_whose_supervisor_is_killed_takes_the_guest_over(unit: LabHost) -> None:
    unit.run("systemctl", "start", "qlaunch@calm")
    unit.wait_until(f"grep -q 'second started' {NOTES}")
    before, helpers = unit.json("status", "calm"), marked(unit)
    unit.kill(before["supervisor_pid"])
    unit.wait_until("systemctl show qlaunch@calm -P NRestarts | grep -q 1 && systemctl is-active -q qlaunch@calm")
    after = unit.json("status", "calm")
    kept = marked(unit)
    wait_for_guest(unit)
    unit.run("systemctl", "stop", "qlaunch@calm")
    assert after["pid"] == before["pid"]
    assert after["supervisor_pid"] not in (None, before["supervisor_pid"])
    assert kept == helpers
    assert sorted(notes(unit)) == ALL
