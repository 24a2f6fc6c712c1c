"""The folder of a throw-away run, with the overlays that its guest writes to: when it goes, whoever is killed.

Who needs it holds a shared lock on a file in it: the run, and QEMU by a descriptor that it inherits and knows nothing
of. The kernel lets go of the lock when the last of them has ended, in whatever way; then anybody may remove the folder.

Source: ``flock(2)`` (a lock belongs to the open file description, and survives in a process that inherited it; over NFS
it is known to all clients for a file opened for writing, and to none for a folder).
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from qlaunch.errors import HostError

_PREFIX = ".thrown-away-"
_LOCK = "in-use"
_TRIES = 5


@contextmanager
def run_folder(state: str) -> Iterator[str]:
    """Make a run's folder in the state folder, and remove it after the block unless a QEMU still needs it.

    Raises HostError.
    """
    folder, held = _make(state)
    try:
        yield folder
    finally:
        # A child that was forked meanwhile, and hangs in the kernel, has a copy of the descriptor.
        fcntl.flock(held, fcntl.LOCK_UN)
        os.close(held)
        with suppress(OSError):  # the next recover says why
            _remove_unless_held(folder)


def hold_folder_of(state: str) -> int | None:
    """Hold the folder that a machine's state folder is in, by one more descriptor; None if no run throws it away.

    Raises HostError.
    """
    folder = os.path.dirname(state)
    if not _is_thrown_away(folder):
        return None
    try:
        return _lock(folder, fcntl.LOCK_SH)
    except OSError as error:
        raise HostError(f"cannot hold {folder}: {_reason(error)}", "somebody removes it; start it again") from error


def remove_folder_of(state: str) -> None:
    """Remove the folder that a machine's state folder is in, if it is thrown away and nobody holds it any more."""
    folder = os.path.dirname(state)
    if _is_thrown_away(folder):
        with suppress(OSError):  # the next recover says why
            _remove_unless_held(folder)


def sweep(state: str) -> tuple[int, list[str]]:
    """Remove what this user's killed runs left in the state folder. Gives how many, and sentences on what stays."""
    try:
        entries = [entry for entry in os.scandir(state) if entry.name.startswith(_PREFIX)]
    except OSError:
        return 0, []
    swept, complaints = 0, []
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                swept += _remove_unless_held(entry.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            complaints.append(f"cannot remove {entry.path}, which a throw-away run has left: {_reason(error)}")
    return swept, complaints


def _make(state: str) -> tuple[str, int]:
    for attempt in range(1, _TRIES + 1):
        folder = None
        try:
            os.makedirs(state, mode=0o700, exist_ok=True)
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir=state)
            return folder, _lock(folder, fcntl.LOCK_SH, os.O_CREAT)
        except OSError as error:
            # Another run's end has just removed the empty state folder, or somebody's sweep the new one.
            if isinstance(error, (FileNotFoundError, BlockingIOError)) and attempt < _TRIES:
                continue
            if folder:
                _remove_empty(folder)
            raise HostError(f"cannot make a folder in {state}: {_reason(error)}") from error
    raise AssertionError


def _is_thrown_away(folder: str) -> bool:
    # The name alone may be that of a state folder that somebody has chosen.
    return os.path.basename(folder).startswith(_PREFIX) and os.path.exists(f"{folder}/{_LOCK}")


def _remove_unless_held(folder: str) -> bool:
    try:
        held = _lock(folder, fcntl.LOCK_EX)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return _remove_empty(folder)  # of a run that was killed in the instant of its making
    try:
        _remove_tree(folder)
    finally:
        os.close(held)
    return True


def _remove_empty(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except OSError:  # it has gone, or has just been made, or is somebody's who likes the name
        return False
    return True


def _remove_tree(folder: str) -> None:
    """Remove all of it, the lock last: whoever is killed over that leaves what the next one recognizes."""
    import shutil  # noqa: PLC0415 - there is rarely something to remove

    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.name != _LOCK:
            os.unlink(entry.path)
    os.unlink(f"{folder}/{_LOCK}")
    os.rmdir(folder)


def _lock(folder: str, how: int, flags: int = 0) -> int:
    """Lock the file in a folder without waiting. Raises BlockingIOError; FileNotFoundError when it goes meanwhile."""
    path = f"{folder}/{_LOCK}"
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        os.stat(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
