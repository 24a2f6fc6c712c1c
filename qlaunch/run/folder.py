"""A machine's runtime folder: who runs it, under a lock that dies with its holder.

``lock`` is held by the supervisor with flock(2) for as long as it lives; ``record.json`` says what it supervises. A
supervisor that was killed leaves a record without a lock, which the next command reads: QEMU may still run.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from qlaunch.duty import Duty
from qlaunch.errors import HostError
from qlaunch.journal import FILE as JOURNAL
from qlaunch.run.process import ProcessId

RECORD_VERSION = 1


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is on disk while a machine runs. ``started`` is in seconds since the epoch."""

    version: int = RECORD_VERSION
    supervisor: ProcessId
    qemu: ProcessId | None = None
    started: float = 0
    running: bool = False  # the guest's first instruction was allowed
    duty: Duty

    @property
    def is_guest_alive(self) -> bool:
        """Whether there is a guest that would lose something: one that was never let go would not."""
        return self.running and self.qemu is not None and self.qemu.is_alive()


class RunFolder:
    """The folder of one machine, ``/run/qlaunch/NAME``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the folder and take its lock. Raises HostError when another supervisor holds it, naming that one."""
        name, patience = os.path.basename(self.path), time.monotonic() + 1
        while self._lock is None:
            self._make()
            try:
                descriptor = os.open(f"{self.path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # the last holder has just removed the folder
            except OSError as error:
                raise _cannot_write(self.path, error) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                # A command that only looks holds the lock for an instant; who runs the machine has noted himself.
                if self._is_noted() or time.monotonic() > patience:
                    raise self._already_runs(name) from None
                time.sleep(0.002)
                continue
            # The last holder may have removed the file between open and flock: then this lock guards nothing.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(f"{self.path}/lock")):
                    self._lock = descriptor
                    return
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a supervisor holds the folder."""
        if self._lock is not None:
            return True
        return is_held(f"{self.path}/lock")

    def read(self) -> Record | None:
        """Give the record, or None where there is none. Raises HostError for one that this version cannot read."""
        try:
            with open(f"{self.path}/record.json", "rb") as file:
                record = msgspec.json.decode(file.read(), type=Record)
        except OSError:
            return None
        except msgspec.MsgspecError as error:
            raise self._unreadable() from error
        if record.version != RECORD_VERSION:
            raise self._unreadable()
        return record

    def _unreadable(self) -> HostError:
        message = f"{self.path}/record.json is damaged, or of another version of qlaunch; its QEMU may still run"
        return HostError(message, "end that QEMU with the qlaunch that started it, or by hand, and remove the folder")

    def _is_noted(self) -> bool:
        try:
            record = self.read()
        except HostError:
            return True
        return record is not None and record.supervisor.is_alive()

    def has_journal(self) -> bool:
        """Whether something on the host is, or may be, changed for this machine."""
        return os.path.exists(f"{self.path}/{JOURNAL}")

    def write(self, record: Record) -> None:
        """Replace the record whole: a reader sees the old or the new one."""
        temporary = f"{self.path}/record.json.new"
        try:
            with open(temporary, "wb") as file:
                file.write(msgspec.json.encode(record))
            os.rename(temporary, f"{self.path}/record.json")
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def clear(self) -> None:
        """Remove every file but the lock and the journal: what a dead supervisor and a dead QEMU left."""
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.path):
                if entry.name not in ("lock", JOURNAL) and not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)

    def remove(self) -> None:
        """Remove the folder, the lock last, and the folder of all machines if it is empty now.

        A journal that is still there stays, with its folder: something on the host waits to be given back.
        """
        self.clear()
        with suppress(FileNotFoundError):
            os.unlink(f"{self.path}/lock")
        with suppress(OSError):
            os.rmdir(self.path)
            os.rmdir(os.path.dirname(self.path))
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self) -> None:
        try:
            parent = os.path.dirname(self.path)
            if not os.path.isdir(parent):
                os.makedirs(os.path.dirname(parent), exist_ok=True)
                with suppress(FileExistsError):
                    os.mkdir(parent, 0o700)
            with suppress(FileExistsError):
                os.mkdir(self.path, 0o700)
            info, above = os.lstat(self.path), os.stat(parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        # In a folder of somebody else's, ours could be moved away and replaced.
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or above.st_uid not in (0, os.geteuid()):
            raise HostError(
                f"{self.path} belongs to another user", "choose a folder of your own in QLAUNCH_RUNTIME_DIR"
            )
        os.chmod(self.path, 0o700)

    def _already_runs(self, name: str) -> HostError:
        record = self.read()
        holder = f" (supervisor {record.supervisor.pid}, QEMU {record.qemu.pid})" if record and record.qemu else ""
        return HostError(f"{name} is already running{holder}", f"stop it with: qlaunch down {name}")


def is_held(path: str) -> bool:
    """Whether somebody holds a lock by a file; not when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def machine_names(runtime: str) -> Iterator[str]:
    """Yield the names of the machines that have a runtime folder, in order."""
    with suppress(OSError):
        yield from sorted(entry.name for entry in os.scandir(runtime) if entry.is_dir(follow_symlinks=False))


def _cannot_write(path: str, error: OSError) -> HostError:
    reason = os.strerror(error.errno or 0).lower()
    return HostError(f"cannot write in {path}: {reason}", "free it or choose another folder in QLAUNCH_RUNTIME_DIR")
