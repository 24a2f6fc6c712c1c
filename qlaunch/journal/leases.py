"""What other machines claim of the same things. The journals of all machines are the table: there is no second one.

A claim lives from the moment that its record is on disk until it is undone, whether or not its supervisor lives: a
machine that was killed keeps what it had until somebody recovers it. The lock is one a kind of change, so that what is
read of the others still holds when one's own record is written.

Owns: the lock files ``.KIND.lock`` beside the machines' folders, which exist only while somebody holds or wants them.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from qlaunch.errors import HostError
from qlaunch.journal.file import read_journal


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Another machine's claim on a key, and what the host had there before any machine.

    ``without`` is there where it is not known to have the amount that it claims, as before its first write and once it
    began to give it back: what the host has without it, less all other claims.
    """

    machine: str
    claim: str
    before: str | None
    without: str | None = None


class Leases:
    """The claims of every machine but one, in a folder of runtime folders such as ``/run/qlaunch``."""

    def __init__(self, folder: str, machine: str, boot: str) -> None:
        self.folder = folder
        self._machine = machine
        self._boot = boot

    def of(self, kind: str) -> dict[str, list[Lease]]:
        """Give the claims on each key of a kind. The caller holds its lock.

        Raises HostError for a machine whose claims cannot be known: its journal is another qlaunch's.
        """
        found: dict[str, list[Lease]] = {}
        for name in self._others():
            try:
                contents = read_journal(f"{self.folder}/{name}")
            except HostError:  # not ours to read: then it claims nothing that we could change either
                continue
            if contents.is_of_another_boot(self._boot):
                continue
            if contents.is_foreign:
                message = (
                    f"the machine {name} has changed this host with another version of qlaunch ({contents.writer})"
                )
                raise HostError(message, f"end it with that version: qlaunch down {name}; then: qlaunch recover {name}")
            for change in contents.active:
                if change.kind == kind:
                    begun = contents.undoing[change.number].without if change.number in contents.undoing else {}
                    for key, claim in contents.claims_in_force(change).items():
                        before = change.before.get(key)
                        without = begun.get(key, None if change.number in contents.made else before)
                        lease = Lease(machine=name, claim=claim, before=before, without=without)
                        found.setdefault(key, []).append(lease)
        return found

    @contextmanager
    def lock(self, kind: str) -> Iterator[None]:
        """Hold the lock of a kind; waits for whoever has it. Raises HostError."""
        path = f"{self.folder}/.{kind}.lock"
        descriptor = -1
        while descriptor < 0:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise HostError(f"cannot lock {path}: {os.strerror(error.errno or 0).lower()}") from error
            _open_locks.add(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_same(descriptor, path):  # its last holder has removed the file: this lock guards nothing
                _close(descriptor)
                descriptor = -1
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
            _close(descriptor)

    def sweep(self) -> None:
        """Remove lock files that nobody holds: what a process that was killed left."""
        with suppress(FileNotFoundError):
            names = [name for name in os.listdir(self.folder) if name.startswith(".") and name.endswith(".lock")]
            for name in names:
                with self.lock(name[1 : -len(".lock")]):
                    pass

    def _others(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(
                entry.name
                for entry in os.scandir(self.folder)
                if entry.name != self._machine and entry.is_dir(follow_symlinks=False)
            )
        return []


_open_locks: set[int] = set()


def _close(descriptor: int) -> None:
    _open_locks.discard(descriptor)
    os.close(descriptor)


def _let_go() -> None:
    """In a child, which the kernel may keep waiting after its parent was killed: nobody else must wait for it, too."""
    for descriptor in _open_locks:
        os.close(descriptor)
    _open_locks.clear()


os.register_at_fork(after_in_child=_let_go)


def _is_same(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
