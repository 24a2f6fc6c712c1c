"""The log that QEMU keeps of a serial port: followed by any number of readers, and bounded by the supervisor.

QEMU writes each byte there, whoever is connected. So readers need no connection, miss nothing, and delay nobody. What
is too old is given back to the file system as a hole: no byte moves, and neither QEMU nor a reader loses its place.

Source: ``inotify(7)``; ``fallocate(2)`` (FALLOC_FL_PUNCH_HOLE); ``lseek(2)`` (SEEK_DATA).
"""

import ctypes
import os
from contextlib import suppress
from typing import Self

from qlaunch.errors import HostError

_IN_MODIFY = 0x2
_KEEP_SIZE, _PUNCH_HOLE = 0x1, 0x2
_CHUNK = 65536
RING = 8 << 20  # bytes of serial output that are kept at least, and half of what is kept at most


class SerialLog:
    """A reader of the log. ``descriptor`` becomes readable when something was added."""

    def __init__(self, path: str) -> None:
        """Begin at the end. Raises HostError when there is no log, or none can be watched."""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(f"cannot read {path}: {os.strerror(error.errno or 0).lower()}") from error
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0 or libc.inotify_add_watch(self.descriptor, os.fsencode(path), _IN_MODIFY) < 0:
            raise HostError(f"cannot watch {path}: {os.strerror(ctypes.get_errno()).lower()}")
        self._at = os.fstat(self._file).st_size

    def tail(self, lines: int) -> bytes:
        """Give the last lines of what was printed before, as far as it is kept."""
        try:
            begin = max(os.lseek(self._file, 0, os.SEEK_DATA), self._at - 2 * RING)
        except OSError:  # nothing but a hole, or nothing at all
            return b""
        kept = os.pread(self._file, self._at - begin, begin).lstrip(b"\0")
        whole = kept.splitlines(keepends=True)
        return b"".join(whole[-lines:]) if lines else b""

    def read(self) -> bytes:
        """Give what was added since the last time, or nothing."""
        with suppress(BlockingIOError):
            while os.read(self.descriptor, _CHUNK):
                pass
        return self._rest()

    def _rest(self) -> bytes:
        chunks = []
        while chunk := os.pread(self._file, _CHUNK, self._at):
            self._at += len(chunk)
            chunks.append(chunk)
        return b"".join(chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        os.close(self.descriptor)


def bound(path: str, keep: int = RING) -> None:
    """Let go of what is older than the last ``keep`` bytes, once twice as much is stored; without a log, of nothing."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            info = os.fstat(descriptor)
            if info.st_blocks * 512 > 2 * keep:
                fallocate = ctypes.CDLL(None, use_errno=True).fallocate
                fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
                fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, 0, info.st_size - keep)
        finally:
            os.close(descriptor)
