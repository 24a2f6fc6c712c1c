"""The calm probe and `qlaunch jitter` on a real QEMU: what is planted is found, what cannot be is a sentence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from qlaunch.jitter.histogram import bounds
from qlaunch.jitter.report import parse_report
from qlaunch.probe import FOLDERS
from tests.live import DEMO, Desk
from tests.test_probe_guest import Boot, boot  # noqa: F401 - a fixture

pytestmark = pytest.mark.qemu
PLANTED, PLANTED_S = 10, 0.05


def test_stalls_that_are_planted_are_found_counted_and_measured(boot: Boot) -> None:  # noqa: F811 - the fixture
    guest = boot("-smp", "2", program=FOLDERS["jitter"])
    line = guest.serial
    assert line
    line.wait_for("ready 2 of 2\r\n")
    line.type("5\r")
    line.wait_for("runs for 5\r\n")
    waited = _waited(guest.process.pid)
    stopped = []
    for turn in range(PLANTED):
        time.sleep(0.3 if turn else 0.5)  # only to spread them over the run
        guest.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, guest.process.pid, os.WSTOPPED | os.WNOWAIT)
        begin = time.monotonic()
        time.sleep(PLANTED_S)
        guest.process.send_signal(signal.SIGCONT)
        stopped.append(time.monotonic() - begin)
    line.wait_for("vcpu: 0 ")
    waited = _waited(guest.process.pid) - waited
    report = parse_report(line.wait_for("end of report\r\n"))
    for vcpu in report.vcpus:
        rate = report.ticks_per_second
        assert vcpu.ran == pytest.approx(5 * rate, rel=0.2)
        long = {low / rate: count for low, count in _long(vcpu.gaps.counts, 0.9 * PLANTED_S * rate)}
        assert sum(long.values()) >= PLANTED
        # A busy host adds stalls of its own, and lengthens ours; the kernel tells by how much, and it shortens none.
        total = sum(seconds * count for seconds, count in long.items())
        assert 0.9 * sum(stopped) <= total <= 1.1 * (sum(stopped) + waited)


def _waited(pid: int) -> float:
    """Sum up the seconds in which threads of a process were ready to run and had no CPU."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[1]) for file in files) / 1e9


def _long(counts: dict[int, int], least: float) -> list[tuple[float, int]]:
    pairs = [(sum(bounds(bucket)) / 2, count) for bucket, count in counts.items()]
    return [(middle, count) for middle, count in pairs if middle >= least]


def test_a_machine_is_measured_and_nothing_is_left(desk: Desk) -> None:
    desk.machine("calm", DEMO.replace("vcpus = 2", "vcpus = 1\npin = '0'"))
    picture = desk.folder / "calm.svg"
    done = desk.qlaunch("jitter", "calm", "--seconds", "1", "--load", "1", "--json", "--svg", str(picture))
    outcome = msgspec.json.decode(done.stdout)
    (run,) = outcome["runs"]
    (vcpu,) = run["vcpus"]
    assert vcpu["host_cpus"] == "0"
    assert vcpu["seconds"] >= 1
    assert vcpu["longest_us"] > 0
    assert outcome["shield"] == "none"
    assert picture.read_text().startswith("<svg")
    desk.assert_clean()
    assert not (desk.state / "calm.jitter").exists()


def test_an_interrupted_measurement_is_a_sentence_and_leaves_nothing(desk: Desk) -> None:
    desk.machine("calm", DEMO)
    words = [sys.executable, "-m", "qlaunch", "jitter", "calm"]
    process = subprocess.Popen(words, cwd=desk.folder, env=desk.environment, stderr=subprocess.PIPE, text=True)
    desk.hear(process, "the guest runs")
    assert "calm is already running" in desk.qlaunch("up", "calm", "--detach", expect=3).stderr
    process.send_signal(signal.SIGINT)
    assert process.stderr
    assert "the measurement was interrupted; the host is as it was" in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130
    desk.assert_clean()


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("--compare",), 2, "has no pins to compare"),
        (("--set", "cpu.pin=8190,8191"), 3, "CPU 8190-8191 is pinned to, but this host has"),
        (("--seconds", "0"), 2, "'0' is not a whole number of seconds up to 3600"),
        (("--seconds", "²"), 2, "is not a whole number"),
        (("--load", "many"), 2, "'many' is not a number of tasks up to 1024"),
        (("--svg", "/nowhere/a.svg"), 3, "cannot write /nowhere/a.svg"),
        (("--set", "host.shield=true"), 3, "needs to know the guest's CPUs, and none are pinned"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(desk: Desk, words: tuple[str, ...], status: int, sentence: str) -> None:
    desk.machine("calm", DEMO)
    done = desk.qlaunch("jitter", "calm", *words, expect=status)
    assert sentence in done.stderr
    desk.assert_clean()


def test_without_firmware_it_is_a_sentence(desk: Desk) -> None:
    missing = desk.folder / "missing.fd"
    firmware = f'[firmware]\ncode = "{missing}"\nvars_template = "{missing}"\n'
    desk.machine("calm", DEMO + firmware)
    done = desk.qlaunch("jitter", "calm", expect=3)
    assert f"{missing} does not exist" in done.stderr
    desk.assert_clean()


def test_a_running_machine_is_not_measured(desk: Desk) -> None:
    desk.machine("calm", DEMO)
    desk.qlaunch("up", "calm", "--detach")
    done = desk.qlaunch("jitter", "calm", expect=3)
    assert "calm is already running" in done.stderr
    desk.qlaunch("down", "calm", "--force")
    desk.assert_clean()
