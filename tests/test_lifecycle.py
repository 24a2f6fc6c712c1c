"""A machine's whole life with a real QEMU.

Started, pinned, watched, ended, killed at bad moments, and nothing left behind.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from qlaunch.run.process import ProcessId
from tests.live import DEAF, DEMO, PATIENCE_S, Desk

pytestmark = pytest.mark.qemu


def test_a_detached_machine_comes_up_shows_its_status_and_goes_down(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    up = desk.qlaunch("up", "deaf", "--detach")
    assert "the guest runs" in up.stderr
    status = msgspec.json.decode(desk.qlaunch("status", "deaf", "--json").stdout)
    assert (status["state"], status["supervised"], status["accel"]) == ("running", True, "tcg")
    assert {thread["name"] for thread in status["threads"]} >= {"ql-deaf", "CPU 0/TCG"}
    assert "running" in desk.qlaunch("list").stdout
    desk.qlaunch("down", "deaf")
    desk.assert_clean()
    assert "deaf                 off" in desk.qlaunch("list").stdout


def test_vcpus_and_iothreads_are_pinned_before_the_first_instruction(desk: Desk) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    first, last = cpus[0], cpus[-1]
    pins = f'[cpu]\nvcpus = 2\npin = "{first},{last}"\nemulator = "{last}"\n' if first != last else ""
    if not pins:
        pytest.skip("this machine has one CPU: nothing to pin apart")
    thread = f'[[iothread]]\nname = "io0"\npin = "{first}"\n'
    (desk.folder / "machines" / "disk.raw").write_bytes(bytes(1 << 20))
    disk = '[[disk]]\npath = "disk.raw"\niothread = "io0"\n'
    desk.machine("pinned", DEAF + pins + thread + disk)
    desk.qlaunch("up", "pinned", "--detach")
    threads = msgspec.json.decode(desk.qlaunch("status", "pinned", "--json").stdout)["threads"]
    allowed = {thread["name"]: thread["allowed"] for thread in threads}
    assert allowed["CPU 0/TCG"] == str(first)
    assert allowed["CPU 1/TCG"] == str(last)
    assert allowed["IO io0"] == str(first)
    assert allowed["ql-pinned"] == str(last)
    assert allowed["IO mon_iothread"] == str(last)
    desk.qlaunch("down", "--force", "pinned")
    desk.assert_clean()


def test_a_second_up_is_refused_and_names_the_first(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    supervisor = desk.record("deaf")["supervisor"]["pid"]
    refused = desk.qlaunch("up", "deaf", expect=3)
    assert f"deaf is already running (supervisor {supervisor}, QEMU" in refused.stderr
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_machine_gracefully_and_a_second_one_hurries(desk: Desk, number: signal.Signals) -> None:
    desk.machine("deaf", DEAF.replace("timeout_s = 1", "timeout_s = 600"))
    up = desk.up("deaf")
    desk.hear(up, "the guest runs")
    up.send_signal(number)
    desk.hear(up, "the power button was pressed")
    up.send_signal(number)
    desk.hear(up, "did not power off in time")
    assert up.wait() == 0
    desk.assert_clean()


def test_the_power_button_is_pressed_again_until_the_deadline(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    down = desk.qlaunch("down", "deaf", "--timeout", "1")
    assert down.stderr.count("the power button was pressed") >= 2
    assert "did not power off in time" in down.stderr
    desk.assert_clean()


def test_a_guest_that_heeds_the_power_button_goes_down_by_itself(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    up = desk.up("demo")
    desk.hear(up, "the guest runs")
    with desk.serial("demo") as serial:
        serial.wait_for("end of report")
    down = desk.qlaunch("down", "demo")
    assert "the guest powered off" in down.stderr
    assert up.wait() == 0
    desk.assert_clean()


def test_a_guest_that_powers_off_by_itself_ends_up_with_status_0(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    up = desk.up("demo")
    desk.hear(up, "the guest runs")
    with desk.serial("demo") as serial:
        serial.wait_for("end of report")
        serial.type("q")
    desk.hear(up, "the guest powered off")
    assert up.wait() == 0
    desk.assert_clean()


def test_a_panic_is_told_and_ends_with_status_5(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    up = desk.up("demo")
    desk.hear(up, "the guest runs")
    with desk.serial("demo") as serial:
        serial.wait_for("end of report")
        serial.type("c")
    desk.hear(up, "the guest panicked")
    assert up.wait() == 5
    desk.assert_clean()


def test_a_reset_is_told_and_the_guest_goes_on(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    up = desk.up("demo")
    desk.hear(up, "the guest runs")
    with desk.serial("demo") as serial:
        serial.wait_for("end of report")
        serial.type("r")
        desk.hear(up, "the guest was reset by itself")
        serial.heard = ""
        serial.wait_for("end of report")
    assert msgspec.json.decode(desk.qlaunch("status", "demo", "--json").stdout)["resets"] >= 1
    desk.qlaunch("down", "--force", "demo")
    assert up.wait() == 0


def test_a_guest_outlives_its_supervisor_and_is_taken_over(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    before = desk.record("deaf")
    os.kill(before["supervisor"]["pid"], signal.SIGKILL)
    assert "without supervisor" in desk.qlaunch("list").stdout
    refused = desk.qlaunch("pause", "deaf", expect=3)
    assert "take it over with: qlaunch up deaf" in refused.stderr
    assert f"taking over QEMU {before['qemu']['pid']}" in desk.qlaunch("up", "deaf", "--detach").stderr
    assert desk.record("deaf")["qemu"] == before["qemu"]
    desk.qlaunch("pause", "deaf")
    assert desk.qlaunch("status", "deaf").stdout.startswith("deaf: paused")
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


def test_down_works_without_a_supervisor(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    os.kill(desk.record("deaf")["supervisor"]["pid"], signal.SIGKILL)
    down = desk.qlaunch("down", "deaf")
    assert "the supervisor of deaf is gone" in down.stderr
    desk.assert_clean()


def test_a_machine_whose_supervisor_and_qemu_were_killed_starts_afresh(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    record = desk.record("deaf")
    for process in ("supervisor", "qemu"):
        os.kill(record[process]["pid"], signal.SIGKILL)
    assert (desk.runtime / "deaf" / "qmp.sock").exists()
    desk.qlaunch("up", "deaf", "--detach")
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


def test_a_qemu_that_is_killed_is_told_with_status_5(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    up = desk.up("deaf")
    desk.hear(up, "the guest runs")
    os.kill(desk.record("deaf")["qemu"]["pid"], signal.SIGKILL)
    desk.hear(up, r"QEMU \(pid \d+\) died unexpectedly")
    assert up.wait() == 5
    desk.assert_clean()


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("how", ["quit", "SIGTERM"])
def test_a_qemu_that_is_told_to_quit_by_somebody_else_has_not_died(desk: Desk, how: str, *, adopted: bool) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    if adopted:
        os.kill(desk.record("deaf")["supervisor"]["pid"], signal.SIGKILL)
        desk.qlaunch("up", "deaf", "--detach")
    supervisor = desk.record("deaf")["supervisor"]
    if how == "quit":
        desk.qlaunch("console", "deaf", "-c", "quit", expect=None)
    else:
        os.kill(desk.record("deaf")["qemu"]["pid"], signal.SIGTERM)
    assert ProcessId(supervisor["pid"], supervisor["start"]).ends_within(PATIENCE_S)
    said = desk.qlaunch("logs", "deaf").stdout
    assert "QEMU was told to quit from outside" in said
    assert "died unexpectedly" not in said
    desk.assert_clean()


def test_a_mistake_of_a_detached_supervisor_is_in_its_log(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    mistaken = """
import qlaunch.run.launch as launch
def fail(*_words):
    raise ZeroDivisionError("in the wrong place")
launch.spawn_qemu = fail
"""
    failed = desk.qlaunch("up", "deaf", "--detach", first=mistaken, expect=None)
    assert "see: qlaunch logs deaf" in failed.stderr
    assert "ZeroDivisionError: in the wrong place" in (desk.state / "deaf" / "supervisor.log").read_text()
    desk.assert_clean()


def test_down_during_a_start_that_fails_hears_what_is_left(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    failing = """
import sys, trio
from qlaunch.errors import HostError, RestoreError
from qlaunch.run import launch, supervisor
give_back = launch.Running.give_back
def give_back_less(self):
    give_back(self)
    raise RestoreError("a driver did not come back")
launch.Running.give_back = give_back_less
async def fail_once_stopped(self, _guest):
    open("at it", "w").close()
    with trio.CancelScope(shield=True):
        await self._stop_wanted.wait()
    raise HostError("the CPUs are gone")
supervisor.Supervisor._bring_up = fail_once_stopped
from qlaunch.cli import main
sys.exit(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", failing, "up", "deaf"], cwd=desk.folder, env=desk.environment, stderr=subprocess.DEVNULL
    ) as up:
        while not (desk.folder / "at it").exists():
            assert up.poll() is None
            time.sleep(0.05)
        assert "a driver did not come back" in desk.qlaunch("down", "deaf", expect=4).stderr
    assert up.returncode == 4
    desk.assert_clean()


def test_a_qemu_that_does_not_answer_is_killed_in_the_end(desk: Desk) -> None:
    desk.machine("deaf", DEAF + "quit_s = 0.3\nterm_s = 0.3\n")
    up = desk.up("deaf")
    desk.hear(up, "the guest runs")
    os.kill(desk.record("deaf")["qemu"]["pid"], signal.SIGSTOP)
    up.send_signal(signal.SIGINT)
    up.send_signal(signal.SIGTERM)
    desk.hear(up, "sending SIGTERM")
    desk.hear(up, "sending SIGKILL")
    up.wait()
    desk.assert_clean()


def test_quick_verbs_pause_resume_and_reset(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    up = desk.up("deaf")
    desk.hear(up, "the guest runs")
    desk.qlaunch("pause", "deaf")
    assert "paused" in desk.qlaunch("list").stdout
    desk.qlaunch("resume", "deaf")
    assert "running" in desk.qlaunch("list").stdout
    desk.qlaunch("reset", "deaf")
    desk.hear(up, "the guest was reset from outside")
    desk.qlaunch("powerdown", "deaf")
    desk.hear(up, "the power button was pressed")
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


def test_the_console_runs_commands_and_stops_at_the_first_failure(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    typed = '# a comment\n{"execute": "query-status"}\nno-such-command\nquery-version\n'
    stopped = desk.qlaunch("console", "deaf", typed=typed, expect=6)
    assert '"status": "running"' in stopped.stdout
    assert '"qemu"' not in stopped.stdout
    assert "The command no-such-command has not been found" in stopped.stderr
    went_on = desk.qlaunch("console", "deaf", "-k", typed=typed, expect=6)
    assert '"qemu"' in went_on.stdout
    listed = desk.qlaunch("console", "deaf", "-c", "qom-list path=/machine/peripheral")
    assert "vserial0" in listed.stdout
    desk.qlaunch("down", "--force", "deaf")


def test_a_console_beside_another_one_does_not_hang(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(desk.runtime / "deaf" / "qmp-user.sock"))
        other.recv(10)
        shared = desk.qlaunch("console", "deaf", "-c", "query-status", "-c", "system_wakeup", "-k", expect=None)
        asked = desk.qlaunch("console", "deaf", "-c", "query-status")
    assert "sharing the supervisor's session" in shared.stderr
    assert asked.stderr == ""  # the supervisor answers a question itself
    assert '"status": "running"' in shared.stdout
    assert asked.stdout in shared.stdout
    desk.qlaunch("down", "--force", "deaf")


def test_sockets_are_for_their_owner_alone(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    folder = desk.runtime / "deaf"
    assert folder.stat().st_mode & 0o777 == 0o700
    sockets = [path for path in folder.iterdir() if path.is_socket()]
    assert len(sockets) >= 4
    assert all(path.stat().st_mode & 0o077 == 0 for path in sockets)
    desk.qlaunch("down", "--force", "deaf")


def test_qemu_runs_in_its_sandbox(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    status = Path(f"/proc/{desk.record('deaf')['qemu']['pid']}/status").read_text()
    assert "Seccomp:\t2" in status
    desk.qlaunch("down", "--force", "deaf")


def test_logs_outlive_the_machine_and_an_ephemeral_one_keeps_nothing(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.machine("brief", DEAF.replace("[machine]", "[machine]\nephemeral = true"))
    for name in ("deaf", "brief"):
        desk.qlaunch("up", name, "--detach")
        desk.qlaunch("down", "--force", name)
    assert "the guest runs" in desk.qlaunch("logs", "deaf").stdout
    desk.qlaunch("logs", "brief", expect=3)
    assert [path.name for path in desk.state.iterdir()] == ["deaf"]


def test_a_machine_keeps_the_board_of_its_first_start(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    desk.qlaunch("down", "--force", "deaf")
    kept = desk.state / "deaf" / "machine-type"
    first = kept.read_text().strip()
    assert first.startswith("pc-q35-")
    kept.write_text("pc-q35-6.2\n")
    assert "-machine pc-q35-6.2," in desk.qlaunch("argv", "deaf").stdout
    kept.write_text("pc-i440fx-6.2\n")  # of another family: the file was changed since
    assert f"-machine {first}," in desk.qlaunch("argv", "deaf").stdout


@pytest.mark.parametrize("verb", ["up", "down"])
def test_a_qemu_that_its_killed_supervisor_had_not_noted_yet_is_ended(desk: Desk, verb: str) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    record = desk.record("deaf")
    # The record as it is between fork and the next line: the supervisor is killed there.
    os.kill(record["supervisor"]["pid"], signal.SIGKILL)
    unborn = {**record, "qemu": None, "running": False}
    (desk.runtime / "deaf" / "record.json").write_bytes(msgspec.json.encode(unborn))
    editor = subprocess.Popen(["tail", "-f", "/dev/null", f"path={desk.runtime}/deaf/qmp-user.sock,"], stderr=-3)
    desk.qlaunch(verb, "deaf", *(["--detach"] if verb == "up" else []))
    assert editor.poll() is None  # it only speaks of that socket
    editor.kill()
    editor.wait()
    assert not ProcessId(record["qemu"]["pid"], record["qemu"]["start"]).is_alive()
    if verb == "up":
        desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


@pytest.mark.parametrize("verb", ["up", "down"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_guest_whose_supervisor_was_killed_as_it_let_it_go_is_kept(desk: Desk, moment: str, verb: str) -> None:
    desk.machine("deaf", DEAF)
    killed = """
import os, sys
from qlaunch.run.qmp import Monitor
execute = Monitor.execute
async def die(self, command, *words, **more):
    answer = None if command == "cont" and moment == "before" else await execute(self, command, *words, **more)
    if command == "cont":
        os.kill(os.getpid(), 9)
    return answer
Monitor.execute = die
from qlaunch.cli import main
moment = sys.argv.pop(1)
sys.exit(main())
"""
    started = subprocess.run(
        [sys.executable, "-c", killed, moment, "up", "deaf"],
        cwd=desk.folder,
        env=desk.environment,
        timeout=100,
        check=False,
    )
    assert started.returncode == -signal.SIGKILL
    qemu = desk.record("deaf")["qemu"]
    assert f"QEMU {qemu['pid']}" in desk.qlaunch(verb, "deaf", *(["--detach"] if verb == "up" else [])).stderr
    if verb == "up":
        assert desk.record("deaf")["qemu"] == qemu
        assert desk.qlaunch("status", "deaf").stdout.startswith("deaf: running")
        desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


def test_a_record_that_cannot_be_written_ends_the_start_before_the_guest_runs(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    full = """
import os, sys
from qlaunch.run import folder
write = folder.RunFolder.write
def refuse(self, record):
    if record.running:
        raise folder._cannot_write(self.path, OSError(28, ""))
    write(self, record)
folder.RunFolder.write = refuse
"""
    failed = desk.qlaunch("up", "deaf", first=full, expect=3)
    assert "no space left on device" in failed.stderr
    desk.assert_clean()


def test_asking_twice_to_go_down_does_not_take_the_guest_s_time(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    up = desk.up("demo")
    desk.hear(up, "the guest runs")
    with desk.serial("demo") as serial:
        serial.wait_for("end of report")
        serial.type("i")
        serial.wait_for("ignored")
        for _ in range(2):
            first = subprocess.Popen(
                [sys.executable, "-m", "qlaunch", "down", "demo", "--timeout", "600"],
                cwd=desk.folder,
                env=desk.environment,
                stderr=subprocess.DEVNULL,
            )
            desk.hear(up, "the power button was pressed")
            first.kill()
            first.wait()
        assert desk.qlaunch("status", "demo").stdout.startswith("demo: running")
        serial.type("q")
    assert up.wait() == 0


def test_a_reader_of_run_that_goes_away_leaves_no_machine_behind(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m qlaunch run demo --until 'end of report' --log log | head -c 1"],
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "end of report" in (desk.folder / "log").read_text()
    desk.assert_clean()


@pytest.mark.parametrize("name", ["..", ".", "", "a/..", "-x", "a b"])
@pytest.mark.parametrize("verb", ["down", "status", "logs", "pause"])
def test_what_cannot_be_a_name_touches_nothing(desk: Desk, verb: str, name: str) -> None:
    desk.runtime.mkdir(mode=0o755)
    (desk.runtime / "file").write_text("mine")
    before = desk.folder.stat().st_mode, desk.runtime.stat().st_mode
    desk.qlaunch(verb, "--", name, expect=2)
    assert (desk.folder.stat().st_mode, desk.runtime.stat().st_mode) == before
    assert [path.name for path in desk.runtime.iterdir()] == ["file"]


def test_a_record_of_another_version_is_refused_and_its_qemu_left_alone(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    record = desk.record("deaf")
    os.kill(record["supervisor"]["pid"], signal.SIGKILL)
    path = desk.runtime / "deaf" / "record.json"
    path.write_bytes(msgspec.json.encode({**record, "version": 99}))
    for verb in ("up", "down", "status"):
        assert "another version of qlaunch" in desk.qlaunch(verb, "deaf", expect=3).stderr
    assert "record unreadable" in desk.qlaunch("list").stdout
    assert ProcessId(record["qemu"]["pid"], record["qemu"]["start"]).is_alive()
    path.write_bytes(msgspec.json.encode(record))
    desk.qlaunch("down", "--force", "deaf")
    desk.assert_clean()


def test_a_take_over_that_fails_leaves_the_guest_alone(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    desk.qlaunch("up", "deaf", "--detach")
    record = desk.record("deaf")
    os.kill(record["supervisor"]["pid"], signal.SIGKILL)
    hasty = "import qlaunch.run.supervisor\nqlaunch.run.supervisor.GREETING_S = 0.5"
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(desk.runtime / "deaf" / "qmp.sock"))
        other.recv(10)
        desk.qlaunch("up", "deaf", first=hasty, expect=6)
    assert ProcessId(record["qemu"]["pid"], record["qemu"]["start"]).is_alive()
    desk.qlaunch("down", "deaf")
    desk.assert_clean()


def test_a_guest_that_was_powered_off_and_runs_again_is_asked_again(desk: Desk) -> None:
    desk.machine("demo", DEMO.replace("[machine]", '[machine]\non_poweroff = "pause"'))
    up = desk.up("demo")
    desk.hear(up, "the guest runs")
    with desk.serial("demo") as serial:
        serial.wait_for("end of report")
        serial.type("q")
        desk.hear(up, "QEMU stays as it is")
        serial.wait_for("powering off")
        desk.qlaunch("reset", "demo")
        desk.qlaunch("resume", "demo")
        serial.heard = ""
        serial.wait_for("end of report")
        down = desk.qlaunch("down", "demo")
        assert "the power button was pressed" in down.stderr
        serial.wait_for("qlaunch probe: power button")
    assert up.wait() == 0
    desk.assert_clean()


def test_a_start_that_is_interrupted_ends_at_once_with_nothing_left(desk: Desk) -> None:
    desk.machine("m", DEAF.replace("[shutdown]\ntimeout_s = 1", "[shutdown]\ntimeout_s = 600"))
    slow = """
import signal
import qlaunch.run.launch as launch
spawn = launch.spawn_qemu
def spawn_and_interrupt(*words):
    pid = spawn(*words)
    os.kill(os.getpid(), signal.SIGINT)
    return pid
launch.spawn_qemu = spawn_and_interrupt
"""
    done = desk.qlaunch("up", "m", first=slow)
    assert "it was stopped before its guest ran" in done.stderr
    assert "the guest runs" not in done.stderr
    desk.assert_clean()


def test_a_paused_guest_is_resumed_to_go_down(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    desk.qlaunch("up", "demo", "--detach")
    with desk.serial("demo") as serial:
        serial.wait_for("end of report")
        desk.qlaunch("pause", "demo")
        down = desk.qlaunch("down", "demo")
    assert "the guest is paused; resuming it" in down.stderr
    assert "the guest powered off" in down.stderr
    desk.assert_clean()


def test_hangups_that_are_ignored_stay_ignored(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    command = f"trap '' HUP; exec {sys.executable} -m qlaunch up deaf"
    up = subprocess.Popen(
        ["sh", "-c", command], cwd=desk.folder, env=desk.environment, stderr=subprocess.PIPE, text=True
    )
    desk.hear(up, "the guest runs")
    up.send_signal(signal.SIGHUP)
    desk.qlaunch("pause", "deaf")
    assert "paused" in desk.qlaunch("list").stdout
    assert "SIGHUP" not in desk.qlaunch("logs", "deaf").stdout
    desk.qlaunch("down", "--force", "deaf")
    up.communicate()
    desk.assert_clean()


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(desk: Desk, closed: str) -> None:
    desk.machine("deaf", DEAF)
    for verb in ("list", "up deaf --detach", "status deaf", "console deaf -c query-status", "down --force deaf"):
        command = f"{sys.executable} -m qlaunch {verb} {closed}"
        done = subprocess.run(
            ["sh", "-c", command], cwd=desk.folder, env=desk.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (verb, done.stderr)
    desk.assert_clean()
