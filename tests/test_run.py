"""Scripted runs and machines of Python programs, with a real QEMU."""

import hashlib
import os
import select
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
import trio

import qlaunch
from qlaunch.errors import HostError, MachineError, MonitorError, QemuError
from qlaunch.run.process import ProcessId
from tests.live import DEAF, DEMO, PATIENCE_S, Desk

pytestmark = pytest.mark.qemu
EXAMPLES = Path(__file__).parent.parent / "contrib" / "examples"


def test_a_script_types_and_hands_on_the_status_that_it_found(desk: Desk) -> None:
    desk.machine("demo", DEMO + "[cpu.hyperv]\n")
    (desk.folder / "script").write_text("timeout 100\nexpect end of report\nsend r\nstatus ^processors: (\\d+)\n")
    done = desk.qlaunch("run", "demo", "--script", "script", "--ephemeral", expect=2)
    assert "processors: 2" in done.stdout
    desk.assert_clean()
    assert not desk.state.exists()


def test_a_command_without_an_agent_meets_the_deadline(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    done = desk.qlaunch("run", "deaf", "--timeout", "2", "--", "true", expect=124)
    assert "deaf did not run true to its end within 2 s" in done.stderr
    done = desk.qlaunch("run", "deaf", "--set", "agent.enabled=false", "--", "true", expect=2)
    assert "no channel for a guest agent" in done.stderr
    desk.assert_clean()


def test_a_run_without_an_errand_goes_well_when_the_guest_powers_off(desk: Desk) -> None:
    desk.machine("demo", DEMO)
    run = subprocess.Popen(
        [sys.executable, "-m", "qlaunch", "run", "demo"],
        cwd=desk.folder,
        env=desk.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    while "end of report" not in (line := run.stdout.readline()):
        assert line
    desk.qlaunch("powerdown", "demo")
    out, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, (out, err)
    assert "did not" not in err
    desk.assert_clean()


def test_a_panic_is_told_apart_from_a_power_off(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    run = subprocess.Popen(
        [sys.executable, "-m", "qlaunch", "run", "deaf", "--json"],
        cwd=desk.folder,
        env=desk.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr
    while "the guest runs" not in (line := run.stderr.readline()):
        assert line
    desk.qlaunch("console", "deaf", "-c", "hmp o /b 0x505 1", expect=None)
    out, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 5, err
    assert msgspec.json.decode(out)["how"] == "panicked"
    desk.assert_clean()


MATRIX = """
jobs = 2
[default]
machine = "deaf"
timeout_s = 1
[[case]]
name = "twice"
repeat = 2
[[case]]
name = "wrong"
set = { "cpu.modell" = 4 }
"""


def test_a_matrix_runs_all_tells_the_cost_and_reports(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    (desk.folder / "matrix.toml").write_text(MATRIX)
    done = desk.qlaunch("run", "--matrix", "matrix.toml", "--junit", "report.xml", expect=1)
    assert "3 machines, 3 failed" in done.stdout
    assert "MiB a machine" in done.stdout
    suite = ET.parse(desk.folder / "report.xml").getroot()  # noqa: S314 - our own
    told = {case.attrib["name"]: case.find("failure") for case in suite}
    types = {name: failure.attrib["type"] for name, failure in told.items() if failure is not None}
    assert types == {"twice-1": "status-124", "twice-2": "status-124", "wrong": "status-2"}
    desk.assert_clean()
    assert not desk.state.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jobs = 0", "jobs"),
        ("[[case]]\nmachin = 'x'", "machin"),
        ("[[case]]\nname = 'x'", "case 1 names no machine"),
        ("[[case]]\nmachine = 'a'\nname = 'x'\n[[case]]\nmachine = 'a'\nname = 'x'", "two cases 'x'"),
        ("not toml", "matrix.toml"),
    ],
)
def test_a_wrong_matrix_is_refused_before_anything_runs(desk: Desk, text: str, words: str) -> None:
    (desk.folder / "matrix.toml").write_text(text)
    assert words in desk.qlaunch("run", "--matrix", "matrix.toml", expect=2).stderr


@pytest.mark.parametrize("example", ["ask.py", "many.py", "from_asyncio.py"])
def test_the_examples_run(desk: Desk, example: str) -> None:
    desk.machine("demo", DEMO)
    words = [sys.executable, str(EXAMPLES / example)]
    done = subprocess.run(
        words, cwd=desk.folder, env=desk.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    wanted = {
        "ask.py": "is running",
        "many.py": "small: 1\nwide: 4",
        "from_asyncio.py": "asyncio went on: True",
    }
    assert wanted[example] in done.stdout
    desk.assert_clean()


@pytest.fixture
def here(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk at which this very process sits."""
    monkeypatch.chdir(desk.folder)
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    return desk


def test_an_ephemeral_machine_writes_to_an_overlay_that_goes(here: Desk) -> None:
    image = here.folder / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    here.machine("deaf", DEAF + f'[[disk]]\npath = "{image}"\n')

    async def main() -> None:
        async with qlaunch.launch("deaf", ephemeral=True) as vm:
            blocks = await vm.execute("query-block")
            inserted = next(
                block["inserted"] for block in blocks if block["qdev"].startswith("/machine/peripheral/disk0")
            )
            assert inserted["image"]["backing-image"]["filename"] == str(image)
            line = 'qemu-io -d /machine/peripheral/disk0/virtio-backend "write -P 1 0 64k"'
            said = await vm.execute("human-monitor-command", {"command-line": line})
            assert not said  # what it did is in QEMU's log; only a refusal is answered

    before = hashlib.sha256(image.read_bytes()).hexdigest()
    trio.run(main)
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
    assert not here.state.exists()
    here.assert_clean()


@pytest.mark.parametrize("how", ["down", "up, down", "killed, down", "killed, up", "killed, recover", "killed, run"])
def test_what_a_killed_throw_away_run_left_goes(desk: Desk, how: str) -> None:
    image = desk.folder / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    desk.machine("deaf", DEAF + f'[[disk]]\npath = "{image}"\n')
    desk.machine("other", DEAF)
    words = [sys.executable, "-m", "qlaunch", "run", "deaf", "--ephemeral"]
    with subprocess.Popen(words, cwd=desk.folder, env=desk.environment, stderr=subprocess.PIPE, text=True) as run:
        desk.hear(run, "the guest runs")
        run.kill()
    (left,) = desk.state.glob(".thrown-away-*")

    def recover_elsewhere() -> str:
        """Sweep from a session with another runtime folder, which knows nothing of the guest."""
        environment = {**desk.environment, "QLAUNCH_RUNTIME_DIR": str(desk.folder / "elsewhere")}
        words = [sys.executable, "-m", "qlaunch", "recover"]
        return subprocess.run(
            words, cwd=desk.folder, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert recover_elsewhere() == "nothing is left to undo\n"
    assert (left / "disk0.qcow2").exists(), "its QEMU lives, and writes there"
    *before, last = how.split(", ")
    if before == ["killed"]:
        pid = desk.record("deaf")["qemu"]["pid"]
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([pidfd], [], [])
        os.close(pidfd)
    elif before:
        desk.qlaunch("up", "deaf", "--detach")
    match last:
        case "down":
            desk.qlaunch("down", "deaf", "--force")
        case "up":
            desk.qlaunch("up", "deaf", "--detach")
        case "run":
            desk.qlaunch("run", "other", "--ephemeral", "--timeout", "1", expect=124)
        case _:
            assert recover_elsewhere() == "removed what 1 killed throw-away run had left\n"
    assert not left.exists()
    if last == "up":
        desk.qlaunch("down", "deaf", "--force")
    desk.qlaunch("recover")
    desk.assert_clean()
    assert not list(desk.state.glob(".*"))


def test_a_program_ends_a_guest_that_was_never_let_go(here: Desk) -> None:
    here.machine("deaf", DEAF)
    killed = """
import os, sys
import qlaunch.run.supervisor
qlaunch.run.supervisor.pin_threads = lambda *_: os.kill(os.getpid(), 9)
from qlaunch.cli import main
sys.exit(main())
"""
    words = [sys.executable, "-c", killed, "up", "deaf"]
    assert subprocess.run(words, check=False, capture_output=True).returncode == -signal.SIGKILL
    unborn = msgspec.convert(here.record("deaf")["qemu"], ProcessId)
    assert unborn.is_alive()

    async def main() -> None:
        async with qlaunch.launch("deaf") as vm:
            assert (await vm.execute("query-status"))["running"]
            assert not unborn.is_alive()

    trio.run(main)
    here.assert_clean()


def test_a_failure_in_the_block_ends_the_machine_and_is_raised_as_it_is(here: Desk) -> None:
    here.machine("deaf", DEAF)

    async def main() -> None:
        async with qlaunch.launch("deaf") as vm:
            assert (await vm.execute("query-status"))["running"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trio.run(main)
    here.assert_clean()


def test_a_block_that_is_cancelled_ends_the_machine(here: Desk) -> None:
    here.machine("deaf", DEAF)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            async with qlaunch.launch("deaf"):
                nursery.cancel_scope.cancel()
                await trio.sleep_forever()

    trio.run(main)
    here.assert_clean()


def test_a_machine_that_ends_by_itself_is_known_and_asked_in_vain(here: Desk) -> None:
    here.machine("deaf", DEAF)

    async def main() -> None:
        async with qlaunch.launch("deaf") as vm:
            ending = await vm.stop(force=True)
            assert ending.how == "stopped"
            with pytest.raises(MonitorError, match="deaf is gone"):
                await vm.execute("query-status")

    trio.run(main)
    here.assert_clean()


def test_a_machine_that_does_not_start_raises_what_up_says(here: Desk) -> None:
    here.machine("deaf", DEAF)
    here.machine("broken", DEAF.replace("[qemu]", '[qemu]\nextra = ["-no-such-option"]'))

    async def main(name: str, **more: object) -> None:
        async with qlaunch.launch(name, set=more):
            pass

    with pytest.raises(QemuError, match="no-such-option|QEMU"):
        trio.run(main, "broken")
    with pytest.raises(MachineError, match="there is no such key"):
        trio.run(lambda: main("deaf", **{"cpu.modell": 1}))

    async def twice() -> None:
        async with qlaunch.launch("deaf"), qlaunch.launch("deaf"):
            pass

    with pytest.raises(HostError, match="already running"):
        trio.run(twice)
    here.assert_clean()
