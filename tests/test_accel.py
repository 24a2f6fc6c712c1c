"""The trial of KVM: that the ROM runs, and what is made of each way in which it can fail."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qlaunch.host.accel import PASSED, KvmTrial, rom, run_rom, try_kvm
from tests.live import QEMU

Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Write a shell script that is to pass for QEMU; give its path."""

    def write(body: str) -> str:
        path = tmp_path / "qemu-system-x86_64"
        path.write_text(f"#!/bin/sh\nprintf . >>{tmp_path}/starts\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


def test_the_rom_ends_with_its_reset_vector() -> None:
    assert len(rom()) == 1 << 16
    assert rom()[-16:-11] == bytes.fromhex("b0 2a e6 f4 f4")


@pytest.mark.qemu
def test_the_rom_runs_and_its_byte_is_the_exit_status() -> None:
    assert run_rom(QEMU, "tcg", "max") == KvmTrial(works=True)


@pytest.mark.qemu
def test_a_cpu_that_cannot_be_made_is_told_in_qemus_words() -> None:
    trial = run_rom(QEMU, "tcg", "host")
    assert not trial.works
    assert "requires KVM" in trial.reason


@pytest.mark.qemu
def test_the_trial_of_this_host_comes_to_an_answer_and_keeps_a_sure_one(tmp_path: Path) -> None:
    binary = shutil.which(QEMU)
    assert binary
    trial = try_kvm(binary, str(tmp_path))
    assert trial.works != bool(trial.reason)
    kept = list(tmp_path.iterdir())
    assert len(kept) == (os.access("/dev/kvm", os.R_OK | os.W_OK) and trial.sure)
    if trial.sure:
        assert try_kvm(binary, str(tmp_path)) == trial


def test_the_exit_status_of_the_rom_alone_is_success(script: Script) -> None:
    assert run_rom(script(f"exit {PASSED}"), "kvm", "host").works
    assert not run_rom(script("exit 0"), "kvm", "host").works
    assert not run_rom(script("exit 1"), "kvm", "host").works


def test_a_crash_is_told_with_the_signal_and_the_last_line_and_is_sure(script: Script) -> None:
    trial = run_rom(script("echo one >&2; echo 'Assertion failed' >&2; kill -ABRT $$"), "kvm", "host")
    assert trial == KvmTrial(works=False, reason="QEMU died of SIGABRT in a trial: Assertion failed")


@pytest.mark.parametrize("body", ["kill -KILL $$", "echo 'Device or resource busy' >&2; exit 1"])
def test_what_may_pass_is_not_sure(script: Script, body: str) -> None:
    trial = run_rom(script(body), "kvm", "host")
    assert (trial.works, trial.sure) == (False, False)


def test_a_guest_that_does_not_end_is_given_up(script: Script) -> None:
    trial = run_rom(script("exec sleep 1000"), "kvm", "host", deadline_s=0.3)
    assert trial == KvmTrial(works=False, reason="a trial guest did not end within 0.3 s", sure=False)


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    trial = run_rom(str(tmp_path / "none"), "kvm", "host")
    assert trial == KvmTrial(
        works=False, reason="no trial guest could be started: No such file or directory", sure=False
    )


def test_only_a_sure_answer_is_kept(script: Script, tmp_path: Path) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("without /dev/kvm nothing is tried, so nothing can be kept")
    cache, starts = str(tmp_path / "cache"), tmp_path / "starts"
    unsure = script("exit 1")
    try_kvm(unsure, cache)
    try_kvm(unsure, cache)
    assert starts.read_text() == ".."
    sure = script("kill -ABRT $$")
    try_kvm(sure, cache)
    assert not try_kvm(sure, cache).works
    assert starts.read_text() == "..."
