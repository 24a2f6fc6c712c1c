"""Where the lab keeps what it has made: images, snapshots, folders of labs that run. It makes none of them itself.

Everything is under ``$QLAUNCH_LAB_CACHE``, or ``${XDG_CACHE_HOME:-~/.cache}/qlaunch/lab``; deleting the folder loses
only time. Nothing is made or deleted in a folder that the lab has not marked as its own.
Source of the mark: the Cache Directory Tagging Specification.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.lab.failure import LabError

# A unix socket's path has 107 characters at most, and the longest name that a lab puts into its folder is
# wire-far.sock.
LONGEST_FOLDER = 107 - len("/run/xxxxxxxx/wire-far.sock")
IMAGE = "[0-9a-f]" * 16  # the names of images
TAG = "CACHEDIR.TAG"
KEPT = "kept"  # marks the folder of a lab that outlives the command that started it
MARK = "Signature: 8a477f597d28d172789f06886806bc55\n# qlaunch's lab made this folder, and may delete what is in it.\n"


def folder() -> Path:
    """The lab's cache folder, made if need be. Raises LabError when it cannot be."""
    chosen = os.environ.get("QLAUNCH_LAB_CACHE")
    place = (
        Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qlaunch" / "lab"
    )
    place = place.absolute()
    if len(str(place)) > LONGEST_FOLDER:
        raise LabError(
            f"the lab's folder has too long a name for sockets: {place}", "set QLAUNCH_LAB_CACHE to a shorter one"
        )
    try:
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        _claim(place)
    except OSError as error:
        raise LabError(
            f"the lab's folder {place} cannot be made or used: {error.strerror}", "set QLAUNCH_LAB_CACHE"
        ) from error
    return place


def _claim(place: Path) -> None:
    """Raise LabError unless a folder is ours alone to fill and to clear: new, empty, or marked as the lab's."""
    info = place.stat()
    if info.st_uid != os.geteuid():
        raise LabError(
            f"the lab's folder {place} belongs to another user", "set QLAUNCH_LAB_CACHE to a folder of your own"
        )
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LabError(f"the lab's folder {place} can be written to by other users", f"chmod go-w {place}")
    # Looked at before the mark is read: another lab may be marking the folder at this moment.
    others = {path.name for path in place.iterdir()} - {TAG}
    with contextlib.suppress(FileNotFoundError):
        if (place / TAG).read_text(errors="replace") == MARK:
            return
    # A cache from before there was a mark has an image.
    if others and not any((place / "images").glob(f"{IMAGE}/root.img")):
        raise LabError(
            f"{place} has something in it that is not the lab's", "set QLAUNCH_LAB_CACHE to a new or an empty folder"
        )
    (place / TAG).write_text(MARK)


def forget_unused(place: Path, pattern: str, unused_s: float, holding: str = "") -> None:
    """Delete the folders of a name that nobody used for so long, of those that hold a file.

    Others may be at work with what another checkout made: whoever uses one sets its time.
    """
    for left in place.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > unused_s and (left / holding).exists():
                shutil.rmtree(left, ignore_errors=True)


def need_room(mebibytes: int, purpose: str) -> None:
    """Raises LabError unless the cache's file system has that much free."""
    place = folder()
    free = shutil.disk_usage(place).free >> 20
    if free < mebibytes:
        hint = "make room there, or set QLAUNCH_LAB_CACHE to a folder that has it"
        raise LabError(f"{purpose} needs {mebibytes} MiB in {place}, which has {free} MiB free", hint)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds a lock of the cache, waiting for whoever has it; a process that dies lets go of it."""
    with (folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def slot(say: Callable[[str], object]) -> int:
    """A turn to run an emulator: a lock that it inherits and whose end frees it. Waits, and says so, until one is free.

    As many run at once as have CPUs to run on: more of them would be late for their own timers.
    """
    with locked("turn"):  # who came first is served first
        said = False
        while True:
            for number in range(max(2, (os.cpu_count() or 1) // 2)):
                lock = os.open(folder() / f"slot-{number}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return lock
                os.close(lock)
            if not said:
                say("Other labs run here; waiting until one ends (contrib/lab stop ends those that are kept).")
                said = True
            time.sleep(0.2)


def run_folder() -> tuple[Path, int]:
    """A new folder for a lab that runs, and its lock, which the emulator inherits.

    While either lives, nobody sweeps it.
    """
    runs = folder() / "run"
    runs.mkdir(mode=0o755, exist_ok=True)
    with locked("run"):
        _sweep(runs)
        made = Path(tempfile.mkdtemp(prefix="", dir=runs))
        lock = os.open(made / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return made, lock


def stop_kept() -> int:
    """Ends the emulators of the labs that are kept, and removes their folders; how many there were."""
    stopped = 0
    for mark in (folder() / "run").glob(f"*/{KEPT}"):
        stopped += _end_emulator_of(mark.parent)
        shutil.rmtree(mark.parent, ignore_errors=True)
    return stopped


def _end_emulator_of(place: Path) -> bool:
    # No number at all, or one of a process that has gone or that is not the lab's: the folder is all that is left.
    with contextlib.suppress(OSError, ValueError):
        process = os.pidfd_open(pid := int((place / "pid").read_text()))
        try:
            if Path(f"/proc/{pid}/cwd").samefile(place):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False


def _sweep(runs: Path) -> None:
    for left in runs.iterdir():
        with contextlib.suppress(OSError), (left / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
