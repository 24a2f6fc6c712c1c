"""The lock and the record of a machine: who runs it, whatever was killed when."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qlaunch.duty import Duty
from qlaunch.errors import HostError
from qlaunch.run.folder import Record, RunFolder, machine_names
from qlaunch.run.process import ProcessId, identify

LOOK = """
import sys
from qlaunch.run.folder import RunFolder
print("looking", flush=True)
while True:
    RunFolder(sys.argv[1]).is_locked()
"""
HOLD = """
import sys
from qlaunch.run.folder import RunFolder
folder = RunFolder(sys.argv[1])
folder.claim()
print("held", flush=True)
sys.stdin.read()
"""


def duty(folder: Path) -> Duty:
    return Duty(
        name="m",
        runtime=str(folder),
        state=str(folder),
        accel="tcg",
        qemu_version="10.0",
        machine_type="pc-q35-10.0",
        machine_file="/m.toml",
        vcpus=1,
        memory=1 << 20,
    )


def holder(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_a_second_claim_is_refused_and_names_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run" / "m"
    first = holder(path)
    try:
        RunFolder(str(path)).write(Record(supervisor=identify(first.pid), qemu=identify(first.pid), duty=duty(path)))
        with pytest.raises(HostError, match=rf"m is already running \(supervisor {first.pid}, QEMU {first.pid}\)"):
            RunFolder(str(path)).claim()
    finally:
        end(first)


def test_the_lock_dies_with_its_holder_and_the_record_stays(tmp_path: Path) -> None:
    path = tmp_path / "m"
    first = holder(path)
    RunFolder(str(path)).write(Record(supervisor=identify(first.pid), duty=duty(path)))
    assert RunFolder(str(path)).is_locked()
    end(first)
    second = RunFolder(str(path))
    assert not second.is_locked()
    second.claim()
    assert second.read()
    second.remove()


def test_removing_leaves_nothing_and_frees_the_name(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run" / "m"))
    for _ in range(3):
        folder.claim()
        folder.remove()
    assert not (tmp_path / "run").exists()


def test_a_claim_that_waited_on_a_removed_lock_takes_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "m"
    first, second = RunFolder(str(path)), RunFolder(str(path))
    first.claim()
    # What a slow second claim sees: its descriptor is of a file that the first one has removed meanwhile.
    real = os.path.samestat
    calls = []

    def removed_meanwhile(one: os.stat_result, other: os.stat_result) -> bool:
        calls.append(1)
        return len(calls) > 1 and real(one, other)

    first.remove()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os.path, "samestat", removed_meanwhile)
        second.claim()
    assert len(calls) == 2
    assert second.is_locked()
    second.remove()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 99}', b"\xff\xfe", b'{"version": 1}'])
def test_a_damaged_record_is_told_since_its_qemu_may_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(HostError, match="damaged, or of another version of qlaunch; its QEMU may still run"):
        RunFolder(str(tmp_path)).read()
    assert RunFolder(str(tmp_path / "none")).read() is None


def test_a_claim_is_not_refused_by_a_command_that_only_looks(tmp_path: Path) -> None:
    looking = subprocess.Popen(
        [sys.executable, "-c", LOOK, str(tmp_path / "m")], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert looking.stdout
        looking.stdout.readline()
        for _ in range(300):
            folder = RunFolder(str(tmp_path / "m"))
            folder.claim()
            folder.remove()
    finally:
        end(looking)


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    path = tmp_path / "m"
    path.mkdir()
    os.chown(path, 12345, 12345)
    with pytest.raises(HostError, match="belongs to another user"):
        RunFolder(str(path)).claim()


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="belongs to another user"):
        RunFolder(str(tmp_path / "m")).claim()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write in .*: not a directory"):
        RunFolder(str(tmp_path / "file" / "m")).claim()


def test_machines_are_named_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    assert list(machine_names(str(tmp_path))) == ["a", "b"]
    assert list(machine_names(str(tmp_path / "none"))) == []


def test_a_process_is_known_by_its_start_and_not_by_its_number() -> None:
    me = identify(os.getpid())
    assert me.is_alive()
    assert not ProcessId(me.pid, me.start + 1).is_alive()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    process = identify(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    try:
        assert not process.is_alive()
        process.send(signal.SIGTERM)  # reaches nobody, and raises nothing
    finally:
        child.wait()


def test_a_process_whose_name_holds_parentheses_is_read(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.write_bytes(Path("/bin/sleep").read_bytes())
    odd.chmod(0o755)
    child = subprocess.Popen([str(odd), "1000"], text=True)
    try:
        assert identify(child.pid).is_alive()
    finally:
        end(child)
