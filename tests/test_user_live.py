"""QEMU as a user who is not root: it may open what is its own, and nothing of it stays so."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from qlaunch.run.process import ProcessId
from tests.live import DEAF, DEMO, Desk

CHECKOUT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start QEMU as another user"),
    pytest.mark.skipif(
        not all(folder.stat().st_mode & 0o001 for folder in CHECKOUT.parents),
        reason=f"no other user gets at {CHECKOUT}",
    ),
]
USER = '[host]\nuser = "nobody"\n'
NOBODY = 65534


@pytest.fixture
def open_desk() -> Iterator[Desk]:
    """A desk in a folder that others may enter, as those of qlaunch's own are."""
    folder = Path(tempfile.mkdtemp(prefix="q", dir="/tmp"))
    folder.chmod(0o711)
    made = Desk(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def owners(*paths: Path) -> list[tuple[int, int]]:
    return [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in paths]


def test_qemu_is_that_user_and_everything_works(open_desk: Desk) -> None:
    desk = open_desk
    disk = desk.folder / "machines" / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o600)
    desk.machine("m", DEMO + USER + '[[disk]]\npath = "disk.raw"\n')
    up = desk.up("m")
    desk.hear(up, "the guest runs")
    pid = desk.record("m")["qemu"]["pid"]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert set(status["Uid"].split()) == {str(NOBODY)}
    assert int(status["CapEff"], 16) == 0
    assert status["Seccomp"] == "2"
    assert b"HOME=/nonexistent" in Path(f"/proc/{pid}/environ").read_bytes()
    store = desk.state / "m"
    assert owners(disk, store) == [(NOBODY, 0o600), (0, 0o711)]
    with desk.serial("m") as serial:
        serial.wait_for("end of report")
    assert '"running"' in desk.qlaunch("console", "m", "-c", "query-status").stdout
    desk.qlaunch("down", "m")
    assert up.wait() == 0
    assert owners(disk, store) == [(0, 0o600), (0, 0o700)]
    assert {path.stat().st_uid for path in store.iterdir()} == {0}
    desk.assert_clean()


def greeting(path: Path) -> bytes:
    """What a server says first to a client of the user's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                os.write(writing, client.recv(12))
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as said:
        return said.read()


def test_a_viewer_of_that_user_reaches_the_picture(open_desk: Desk) -> None:
    desk, shared = open_desk, Path("/dev/shm/looking-glass-m")  # noqa: S108 - the client's own name
    desk.machine("m", DEAF + USER + '[display]\ntype = "vnc"\nlooking_glass = "2M"\n')
    desk.qlaunch("up", "m", "--detach")
    store = desk.state / "m"
    assert owners(shared, store / "display") == [(NOBODY, 0o600), (NOBODY, 0o700)]
    assert shared.stat().st_size == 2 << 20
    assert greeting(store / "display" / "vnc.sock") == b"RFB 003.008\n"
    desk.qlaunch("down", "m", "--force")
    assert not shared.exists()
    assert not (store / "display").exists()
    desk.assert_clean()


def test_what_a_killed_machine_s_user_owned_is_given_back(open_desk: Desk) -> None:
    desk = open_desk
    disk = desk.folder / "machines" / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o600)
    desk.machine("m", DEAF + USER + '[[disk]]\npath = "disk.raw"\n')
    desk.qlaunch("up", "m", "--detach")
    record = desk.record("m")
    assert owners(disk) == [(NOBODY, 0o600)]
    for process in ("supervisor", "qemu"):
        os.kill(record[process]["pid"], signal.SIGKILL)
    desk.qlaunch("recover", "m")
    assert owners(disk) == [(0, 0o600)]
    desk.assert_clean()


def test_a_qemu_of_another_user_that_its_killed_supervisor_had_not_noted_yet_is_ended(open_desk: Desk) -> None:
    desk = open_desk
    desk.machine("m", DEAF + USER)
    desk.qlaunch("up", "m", "--detach")
    record = desk.record("m")
    os.kill(record["supervisor"]["pid"], signal.SIGKILL)
    unborn = {**record, "qemu": None, "running": False}
    (desk.runtime / "m" / "record.json").write_bytes(msgspec.json.encode(unborn))
    desk.qlaunch("recover", "m")
    assert not ProcessId(record["qemu"]["pid"], record["qemu"]["start"]).is_alive()
    desk.assert_clean()


def test_a_file_that_the_user_cannot_reach_is_refused_before_anything_is_touched(open_desk: Desk) -> None:
    desk = open_desk
    closed = desk.folder / "machines" / "closed"
    closed.mkdir(mode=0o700)
    disk = closed / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    desk.machine("m", DEAF + USER + '[[disk]]\npath = "closed/disk.raw"\n')
    refused = desk.qlaunch("up", "m", expect=3)
    assert f"{closed} does not let that user in" in refused.stderr
    assert owners(disk) == [(0, 0o644)]


def test_a_file_that_is_only_read_is_never_the_user_s_own(open_desk: Desk) -> None:
    desk = open_desk
    disk = desk.folder / "machines" / "install.iso"
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o640)
    desk.machine("m", DEAF + USER + '[[disk]]\npath = "install.iso"\nmedia = "cdrom"\n')
    refused = desk.qlaunch("up", "m", expect=3)
    assert f"nobody may not read {disk}" in refused.stderr
    assert f"chmod o+r {disk}" in refused.stderr
    disk.chmod(0o644)
    steps = msgspec.json.decode(desk.qlaunch("plan", "m", "--json").stdout)["steps"]
    assert not [step for step in steps if str(disk) in step.get("after", {})]


def test_a_user_who_does_not_exist_is_refused(open_desk: Desk) -> None:
    open_desk.machine("m", DEAF + USER.replace("nobody", "nobodyelse"))
    refused = open_desk.qlaunch("up", "m", expect=3)
    assert "there is no user nobodyelse on this host" in refused.stderr


def test_the_plan_shows_who_will_own_what(open_desk: Desk) -> None:
    desk = open_desk
    disk = desk.folder / "machines" / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o640)
    desk.machine("m", DEAF + USER + '[[disk]]\npath = "disk.raw"\n')
    steps = msgspec.json.decode(desk.qlaunch("plan", "m", "--json").stdout)["steps"]
    (owner,) = [step for step in steps if step["kind"] == "owner"]
    assert owner["before"] == {str(disk): "0:0 640"}  # what is made by the start is not there yet
    assert owner["after"] == {str(disk): f"{NOBODY}:0 640"}
    assert owner["needs_root"]
