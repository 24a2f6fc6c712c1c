"""The talk with the calm probe, without a guest; and the load that is put on the host."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from qlaunch.errors import DeadlineError, QemuError
from qlaunch.jitter.histogram import bucket_of
from qlaunch.jitter.report import BEGIN, END
from qlaunch.run.jitter import Trial, _Run
from qlaunch.run.load import Load
from qlaunch.values.cpus import CpuSet


def talk(words: bytes, *, hang_up: bool = False) -> _Run:
    """Let a probe say these words, and nothing more."""
    plan: Any = None
    run = _Run(plan, Trial(seconds=1))
    supervisor: Any = SimpleNamespace(duty=SimpleNamespace(state="/"), guest=None)

    async def listen() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(words)
        if hang_up:
            await theirs.aclose()
        stream: Any = ours
        await run.talk(supervisor, stream)

    trio.run(listen, clock=trio.testing.MockClock(autojump_threshold=0))
    if run.failure:
        raise run.failure
    return run


def test_a_vcpu_that_never_starts_is_a_sentence() -> None:
    with pytest.raises(QemuError, match="1 of 4 vCPUs did not start"):
        talk(b"qlaunch jitter: ready 3 of 4\r\n")


def test_a_probe_that_never_comes_up_is_a_sentence_with_its_last_words() -> None:
    with pytest.raises(DeadlineError, match="was not ready within 180 s") as raised:
        talk(b"BdsDxe: starting Boot0001\r\nqlaunch jit")
    assert raised.value.hint == "it said last: 'qlaunch jit'"
    with pytest.raises(DeadlineError) as raised:
        talk(b"")
    assert raised.value.hint == "it said nothing: is the host too busy? see: top"


def test_a_probe_that_begins_and_does_not_report_is_a_sentence() -> None:
    with pytest.raises(DeadlineError, match="did not report within 61 s"):
        talk(b"qlaunch jitter: ready 1 of 1\r\nqlaunch jitter: runs for 1\r\n")


def test_half_a_report_is_a_sentence() -> None:
    begun = b"qlaunch jitter: ready 1 of 1\r\nqlaunch jitter: runs for 1\r\nvcpu: 0 ran 1 longest 1 "
    with pytest.raises(DeadlineError, match="did not end its report"):
        talk(begun)


def test_a_report_has_ended_with_its_last_line_and_not_before() -> None:
    words = f"{BEGIN}\nprocessors: 1\nticks-per-second: 1000000\nqlaunch jitter: ready 1 of 1\n"
    words += "qlaunch jitter: runs for 1\nvcpu: 0 ran 1000 longest 9 lost 0 above 0 0 0\n"
    words += f"gaps: 0 {bucket_of(9)}:3\n{END}"
    with pytest.raises(DeadlineError, match="did not end its report"):
        talk(words.encode())
    report = talk(f"{words}\r\n".encode()).report
    assert report
    assert report.vcpus[0].longest == 9


def test_an_exception_of_the_guest_is_a_sentence() -> None:
    with pytest.raises(QemuError, match="cannot run on this machine: X64 Exception"):
        talk(b"!!!! X64 Exception Type - 06(#UD - Invalid Opcode)  CPU Apic ID - 00000001 !!!!\r\n")


def test_a_guest_that_goes_away_has_no_report() -> None:
    assert talk(b"BdsDxe", hang_up=True).report is None


def test_the_load_runs_where_it_may_and_is_gone_afterwards(tmp_path: Path) -> None:
    load = Load(2, str(tmp_path), CpuSet({0}))
    load.start()
    try:
        tasks = [task.pid for task in load._started]
        status = [Path(f"/proc/{task}/status").read_text() for task in tasks]
    finally:
        load.end()
    assert len(tasks) == 3  # two are busy, one writes
    assert all("Cpus_allowed_list:\t0\n" in text for text in status)
    assert not [task for task in tasks if Path(f"/proc/{task}").exists()]
    assert not list(tmp_path.iterdir())


def test_no_load_is_no_task(tmp_path: Path) -> None:
    load = Load(0, str(tmp_path))
    load.start()
    assert not load._started
    load.end()


def test_the_load_dies_with_who_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys; from qlaunch.run.load import Load; load = Load(1, sys.argv[1]); load.start();"
        "print(*(task.pid for task in load._started), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, check=False, text=True
    )
    # Reading to the end waits for the load, too: it holds no other end of this pipe, but its own pipes are closed.
    tasks = done.stdout.split()
    assert len(tasks) == 2
    patience = time.monotonic() + 30
    while any(_lives(task) for task in tasks):
        assert time.monotonic() < patience
        time.sleep(0.01)


def _lives(task: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{task}/stat").read_text()
    except OSError:
        return False
