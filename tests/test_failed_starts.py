"""A start that fails says why in a sentence, has the right status, and leaves nothing.

No process, socket or variable store.
"""

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.live import DEAF, DEMO, Desk

pytestmark = pytest.mark.qemu


def script(desk: Desk, name: str, text: str) -> Path:
    """Write a program that stands in for QEMU once its facts are read.

    The real one answers the questions about facts.
    """
    path = desk.folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake_qemu(desk: Desk, when_started: str) -> str:
    """Give a machine whose QEMU tells its facts truly, and does something else when the machine is started."""
    from tests.live import QEMU

    wrapper = f'#!/bin/sh\ncase " $* " in *" -name guest="*) {when_started} ;; esac\nexec {QEMU} "$@"\n'
    return DEAF.replace("{qemu}", str(script(desk, "fake-qemu", wrapper)))


def test_a_disk_that_another_qemu_holds_is_named(desk: Desk) -> None:
    (desk.folder / "machines" / "disk.raw").write_bytes(bytes(1 << 20))
    for name in ("one", "two"):
        desk.machine(name, DEAF + '[[disk]]\npath = "disk.raw"\n')
    desk.qlaunch("up", "one", "--detach")
    refused = desk.qlaunch("up", "two", "--detach", expect=5)
    assert "disk.raw is in use by another QEMU" in refused.stderr
    assert 'Failed to get "write" lock' in refused.stderr
    desk.qlaunch("down", "--force", "one")
    desk.assert_clean()


def test_a_port_that_is_taken_is_named(desk: Desk) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        desk.machine("m", DEAF.replace("boot_index = 0", f'boot_index = 0\nforward = ["tcp:{port}-22"]'))
        refused = desk.qlaunch("up", "m", expect=5)
    assert f"{port}" in refused.stderr
    assert "network.forward" in refused.stderr
    desk.assert_clean()


def test_a_missing_disk_is_refused_before_anything_is_made(desk: Desk) -> None:
    desk.machine("m", DEAF + '[[disk]]\npath = "none.qcow2"\n')
    refused = desk.qlaunch("up", "m", expect=3)
    assert "none.qcow2 does not exist" in refused.stderr
    desk.assert_clean()
    assert not desk.state.exists()


def test_a_failed_first_start_takes_its_variable_store_back(desk: Desk) -> None:
    desk.machine("m", DEMO + 'extra = ["-no-such-option"]\n')
    refused = desk.qlaunch("up", "m", expect=5)
    assert "invalid option" in refused.stderr
    assert not (desk.state / "m" / "VARS.fd").exists()
    desk.assert_clean()


def test_a_failed_later_start_leaves_the_variable_store_as_it_was(desk: Desk) -> None:
    desk.machine("m", DEMO + 'extra = ["-no-such-option"]\n')
    vars_file = desk.state / "m" / "VARS.fd"
    vars_file.parent.mkdir(parents=True)
    vars_file.write_bytes(b"kept")
    desk.qlaunch("up", "m", expect=5)
    assert vars_file.read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("echo 'qemu: something odd' >&2; exit 3", "QEMU ended with status 3 at its start"),
        ("kill -ABRT $$", "QEMU died of SIGABRT at its start"),
        ("exit 0", "QEMU ended with status 0 at its start"),
    ],
)
def test_a_qemu_that_dies_at_its_start_is_told_with_its_last_words(desk: Desk, deed: str, words: str) -> None:
    desk.machine("m", fake_qemu(desk, deed))
    refused = desk.qlaunch("up", "m", "--detach", expect=5)
    assert words in refused.stderr
    assert ("something odd" in refused.stderr) is ("odd" in deed)
    desk.assert_clean()


def test_a_socket_path_that_is_too_long_is_told_before_anything_is_made(desk: Desk) -> None:
    desk.environment["QLAUNCH_RUNTIME_DIR"] = str(desk.folder / ("long" * 30))
    desk.machine("m", DEAF)
    refused = desk.qlaunch("up", "m", expect=3)
    assert "the kernel takes 107" in refused.stderr
    assert not (desk.folder / ("long" * 30)).exists()


def test_a_runtime_folder_that_is_full_is_told(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")

    desk.runtime.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "none", str(desk.runtime)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a file system")
    try:
        desk.machine("m", DEAF)
        refused = desk.qlaunch("up", "m", expect=3)
        assert "no space left on device" in refused.stderr
        assert desk.processes() == []
        assert list(desk.runtime.iterdir()) == []
    finally:
        subprocess.run(["umount", str(desk.runtime)], check=True)


def test_a_terminal_that_goes_away_does_not_end_the_supervisor(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    up = desk.up("deaf")
    desk.hear(up, "the guest runs")
    assert up.stderr
    up.stderr.close()
    desk.qlaunch("reset", "deaf")
    desk.qlaunch("pause", "deaf")
    assert desk.qlaunch("status", "deaf").stdout.startswith("deaf: paused")
    desk.qlaunch("down", "--force", "deaf")
    assert up.wait() == 0
    desk.assert_clean()


def test_a_qemu_that_never_opens_its_monitor_is_ended_with_status_6(desk: Desk) -> None:
    desk.machine("m", fake_qemu(desk, "exec sleep 1000"))
    # The real deadline gives memory time to be preallocated; here it is short.
    hasty = "import qlaunch.run.supervisor\nqlaunch.run.supervisor.GREETING_S = 0.5"
    done = desk.qlaunch("up", "m", first=hasty, expect=6)
    assert "QEMU did not open its monitor" in done.stderr
    desk.assert_clean()
