"""The lab itself: what it says when it cannot, and that it leaves nothing running, mounted or behind."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import cache, emulated, snapshot
from tests.lab.emulated import Profile
from tests.lab.failure import LabError
from tests.lab.recipe import PROJECT

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_host")]

LAB = [sys.executable, str(PROJECT / "contrib/lab")]


def lab(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LAB, *words], env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of the labs that this test starts: others may run at the same time."""
    made: list[Path] = []
    make = cache.run_folder

    def noted() -> tuple[Path, int]:
        place, lock = make()
        made.append(place)
        return place, lock

    monkeypatch.setattr(cache, "run_folder", noted)
    return made


def left_of(folder: Path) -> list[str]:
    """A lab's folder, and the processes that are at work in it."""
    left = [str(folder)] if folder.exists() else []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(place).startswith(str(folder)):
                left.append(str(place))
    return left


def test_a_build_without_root_says_so(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    place.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:3]):  # a worker of pytest-xdist has one more
        folder.chmod(0o755)
    os.chown(place, 65534, 65534)
    script = (
        "import os, sys; os.setuid(65534); sys.path.insert(0, sys.argv[1]); "
        "from tests.lab.command import main; sys.exit(main(['build']))"
    )
    # A copy that somebody else may read: the checkout may lie in root's own folder.
    copy = tmp_path / "checkout"
    for part in ("tests/lab", "tests/__init__.py", "pyproject.toml"):
        (copy / part).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", str(PROJECT / part), str(copy / part)], check=True)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, str(copy)],
        env=os.environ | {"QLAUNCH_LAB_CACHE": str(place)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "building the lab's image needs root" in done.stderr
    assert "sudo contrib/lab build" in done.stderr


def test_a_missing_tool_is_named_with_its_package(tmp_path: Path) -> None:
    done = lab("build", QLAUNCH_LAB_CACHE=str(tmp_path), PATH="/nowhere")
    assert done.returncode == 3
    assert "mmdebstrap is missing" in done.stderr
    assert "apt-get install" in done.stderr


def test_a_full_disk_is_said_before_the_build(tmp_path: Path) -> None:
    script = f"mount -t tmpfs -o size=16m,mode=755 none {tmp_path}; exec {' '.join(LAB)} build"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=os.environ | {"QLAUNCH_LAB_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "needs 4096 MiB" in done.stderr


def test_a_panic_is_told_with_the_place_of_the_log(monkeypatch: pytest.MonkeyPatch, folders: list[Path]) -> None:
    monkeypatch.setitem(emulated.PROFILES, "panic", Profile("it panics", kernel=("rdinit=/nowhere", "init=/nowhere")))
    monkeypatch.setattr(snapshot, "TRIES", 1)
    with pytest.raises(LabError, match=r"kernel ended: Kernel panic.*its logs are in"):
        snapshot.booted("panic")
    assert [left_of(folder) for folder in folders] == [[]]


def test_a_host_that_never_comes_up_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, folders: list[Path]
) -> None:
    monkeypatch.setitem(emulated.PROFILES, "stuck", Profile("it sticks", kernel=("rdinit=/bin/busybox",)))
    monkeypatch.setattr(snapshot, "TRIES", 1)
    monkeypatch.setattr(snapshot, "BOOT_S", 1.0)
    with pytest.raises(LabError, match=r"was not up after 1 s; its console .*its logs are in"):
        snapshot.booted("stuck")
    assert [left_of(folder) for folder in folders] == [[]]


def test_a_killed_lab_leaves_no_emulator() -> None:
    with subprocess.Popen([*LAB, "--", "sleep", "600"], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert any("was ready after" in line for line in iter(running.stderr.readline, ""))
        (folder,) = [
            path.parent
            for path in (cache.folder() / "run").glob("*/pid")
            if is_child(int(path.read_text()), running.pid)
        ]
        emulator = int((folder / "pid").read_text())
        descriptor = os.pidfd_open(emulator)
        running.send_signal(signal.SIGKILL)
        signal.pidfd_send_signal(descriptor, 0)
        assert os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        assert select.select([descriptor], [], [], 30)[0], "the emulator outlived the lab"
        os.close(descriptor)


def is_child(pid: int, parent: int) -> bool:
    try:
        return f"PPid:\t{parent}\n" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_who_must_wait_for_a_turn_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLAUNCH_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    said: list[str] = []

    def until_told(words: str) -> None:
        said.append(words)
        os.close(second)

    first, second = cache.slot(said.append), cache.slot(said.append)
    assert not said
    os.close(cache.slot(until_told))
    os.close(first)
    assert ["waiting until one ends" in words for words in said] == [True]


def test_a_command_has_its_own_status_and_output() -> None:
    done = lab("--", "sh", "-c", "echo out; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")


def test_a_shell_without_a_terminal_ends_with_its_input() -> None:
    done = subprocess.run(
        [*LAB, "shell"], input="echo $((6 * 7)); exit 5\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    assert "42" in done.stdout


def test_a_wrong_word_is_a_usage_error() -> None:
    assert lab("--profile", "nothing", "shell").returncode == 2
    assert lab().returncode == 2
