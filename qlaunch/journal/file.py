"""The journal of one machine: ``journal`` in its runtime folder, append-only, each line on disk before the next act.

Its room is taken when it is made: a disk that is full refuses the start before anything was touched, and not at a step
in the middle. Zeros after the last line are that room.
"""

import os
import threading

import msgspec

from qlaunch import __version__
from qlaunch.errors import HostError
from qlaunch.journal import FILE
from qlaunch.journal.record import (
    FORMAT,
    Begin,
    Change,
    DamagedLineError,
    Line,
    Made,
    Undoing,
    Undone,
    parse_line,
    print_line,
)

_ROOM = 128 << 10


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal says. ``damaged`` are the numbers of lines that cannot be read, counted from 1."""

    begin: Begin | None = None
    changes: tuple[Change, ...] = ()
    made: dict[int, Made] = {}
    undoing: dict[int, Undoing] = {}
    undone: dict[int, Undone] = {}
    damaged: tuple[int, ...] = ()
    length: int = 0  # bytes, up to the end of the last whole line
    is_foreign: bool = False  # of another format, which only another qlaunch can read

    @property
    def active(self) -> tuple[Change, ...]:
        """The changes that were begun and not taken back, in order."""
        return tuple(change for change in self.changes if change.number not in self.undone)

    def claims_in_force(self, change: Change) -> dict[str, str]:
        """Give the claims of a change that are in force: those of keys that were given back are not."""
        given_back = self.undoing[change.number].given_back if change.number in self.undoing else ()
        return {key: claim for key, claim in change.claims.items() if key not in given_back}

    @property
    def writer(self) -> str:
        """Who wrote it."""
        return f"{self.begin.qlaunch}, format {self.begin.format}" if self.begin else "unknown"

    def is_of_another_boot(self, boot: str) -> bool:
        """Whether the kernel has started anew since. Where either boot is not known, it has not."""
        return self.begin is not None and bool(self.begin.boot and boot) and self.begin.boot != boot


class Journal:
    """A journal that is open for writing. Several threads may append."""

    def __init__(self, path: str, descriptor: int, contents: Contents) -> None:
        self.path = path
        self._descriptor = descriptor
        self._end = contents.length
        self._number = max((change.number for change in contents.changes), default=0)
        self._room = threading.Lock()
        self._active = {change.number: change for change in contents.active}
        self._made = dict(contents.made)
        self._undoing = dict(contents.undoing)
        self.contents = contents

    @classmethod
    def open(cls, folder: str, machine: str, boot: str) -> "Journal":
        """Open a machine's journal, or begin one. The caller holds the machine's lock. Raises HostError."""
        path = f"{folder}/{FILE}"
        contents = read_journal(folder)
        if contents.is_of_another_boot(boot):
            contents = Contents()  # the kernel started anew since: all of it is undone
        if contents.is_foreign:
            raise HostError(
                f"{path} was written by another version of qlaunch ({contents.writer})",
                "undo it with that version: qlaunch recover",
            )
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _make_room(descriptor, contents)
                journal = cls(path, descriptor, contents)
                if contents.begin is None:
                    journal._append(Begin(format=FORMAT, machine=machine, boot=boot, qlaunch=__version__))
            except BaseException:
                os.close(descriptor)
                if not contents.length:
                    os.unlink(path)  # taking room may have failed half-way
                raise
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise HostError(f"cannot write {path}: {reason}; nothing was changed") from error
        return journal

    @property
    def active(self) -> list[Change]:
        """The changes that were begun and not taken back, in order."""
        return [self._active[number] for number in sorted(self._active)]

    def record(self, change: Change) -> Change:
        """Put a change on disk; it gets its number here. Raises HostError, and then it must not be made."""
        with self._room:
            numbered = msgspec.structs.replace(change, number=self._number + 1)
            try:
                self._append(numbered)
            except OSError as error:
                raise HostError(f"cannot write {self.path}: {os.strerror(error.errno or 0).lower()}") from error
            self._number = numbered.number
            self._active[numbered.number] = numbered
            return numbered

    def made(self, number: int) -> Made:
        """Give what came of a change; of one that was not carried out to its end nothing is known."""
        return self._made.get(number) or Made(number=number)

    def undoing(self, number: int) -> Undoing:
        """Give how far an undo came; of one that was not begun nothing is known."""
        return self._undoing.get(number) or Undoing(number=number)

    def note(self, line: Made | Undoing | Undone) -> None:
        """Put on disk that something is done, or that an amount is about to be given back.

        An undo goes on where it cannot be noted, as on a full disk. Then whatever was done is looked at again, and of
        an amount nobody knows after a kill whether it was given back.
        """
        with self._room:
            if isinstance(line, Undone):
                self._active.pop(line.number, None)
            elif isinstance(line, Undoing):
                self._undoing[line.number] = self.undoing(line.number).and_then(line)
            else:
                self._made[line.number] = line
            try:
                self._append(line)
            except OSError:
                return

    def close(self) -> None:
        """Leave the journal; one in which nothing is left to undo goes away."""
        if not self._active and not self.contents.damaged:
            os.unlink(self.path)
        os.close(self._descriptor)

    def _append(self, line: Line) -> None:
        data = print_line(line)
        written = os.pwrite(self._descriptor, data, self._end)
        if written != len(data):
            raise OSError(28, os.strerror(28), self.path)
        os.fdatasync(self._descriptor)
        self._end += written


def _make_room(descriptor: int, contents: Contents) -> None:
    """Take the room of a journal; in one that has something to undo a full disk is no reason not to. Raises OSError."""
    if contents.begin is None:
        os.ftruncate(descriptor, contents.length)
    else:  # its room is its own already, and on a full disk it would be lost if it were given back for an instant
        rest = os.fstat(descriptor).st_size - contents.length
        os.pwrite(descriptor, bytes(rest), contents.length)  # a torn last line goes
    try:
        os.posix_fallocate(descriptor, 0, contents.length + _ROOM)
    except OSError:
        if contents.begin is None:
            raise


def read_journal(folder: str) -> Contents:
    """Read the journal in a machine's runtime folder; empty contents where there is none. Raises HostError."""
    path = f"{folder}/{FILE}"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return Contents()
    except OSError as error:
        raise HostError(f"cannot read {path}: {os.strerror(error.errno or 0).lower()}") from error
    data = data.rstrip(b"\0")
    # Without its end a line was being written when its writer died; nothing was done for it yet.
    length = data.rfind(b"\n") + 1
    return _contents(data[:length].splitlines(), length)


def _contents(lines: list[bytes], length: int) -> Contents:
    begin: Begin | None = None
    changes: list[Change] = []
    made: dict[int, Made] = {}
    undoing: dict[int, Undoing] = {}
    undone: dict[int, Undone] = {}
    damaged: list[int] = []
    for number, text in enumerate(lines, 1):
        try:
            line = parse_line(text)
        except DamagedLineError:
            damaged.append(number)
            continue
        match line:
            case Begin():
                begin = line
            case Change():
                changes.append(line)
            case Made():
                made[line.number] = line
            case Undoing():
                undoing[line.number] = undoing[line.number].and_then(line) if line.number in undoing else line
            case Undone():
                undone[line.number] = line
    return Contents(
        begin=begin,
        changes=tuple(changes),
        made=made,
        undoing=undoing,
        undone=undone,
        damaged=tuple(damaged),
        length=length,
        is_foreign=begin is not None and begin.format != FORMAT,
    )
