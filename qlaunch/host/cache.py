"""Answers that cost a process to get, kept in the user's cache folder. A file of it may be lost or damaged at any time.

A file holds a checksum, the key, which is everything that the answer depends on, and the answer, a line each. What does
not match is made anew, without a word. A file is replaced whole, so that runs at the same time never see half of one.
"""

import os
from binascii import crc32
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

T = TypeVar("T")

# QEMU's devices are in modules beside it on some distributions: installing one changes what it can do.
_MODULE_FOLDERS = ("/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu", "/usr/lib/qemu")
# Files of one name: a few QEMUs, each before and after an update.
_KEPT = 12


def remember(folder: str | None, name: str, key: object, kind: type[T], make: Callable[[], T]) -> T:
    """Give the answer of an earlier run with the same key, or make it and keep it. Without a folder nothing is kept."""
    answer = recall(folder, name, key, kind)
    if answer is None:
        answer = make()
        keep(folder, name, key, answer)
    return answer


def recall(folder: str | None, name: str, key: object, kind: type[T]) -> T | None:
    """Give the answer of an earlier run with the same key, or None."""
    if folder is None:
        return None
    about = msgspec.json.encode(key)
    try:
        return _read(_path(folder, name, about), about, kind)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def keep(folder: str | None, name: str, key: object, answer: object) -> None:
    """Write an answer beside its place and rename. A cache that cannot be written is no cache, and no error."""
    if folder is None:
        return
    about = msgspec.json.encode(key)
    content = about + b"\n" + msgspec.json.encode(answer)
    path = _path(folder, name, about)
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(temporary, "wb", opener=_private) as file:
            file.write(_checksum(content) + b"\n" + content)
        os.rename(temporary, path)
        _thin_out(folder, f"{name}-")
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)


def program_key(path: str) -> list[object]:
    """Give what changes when a program does: where it is, and the file's identity, size and times."""
    real = os.path.realpath(path)
    folders = [os.environ.get("QEMU_MODULE_DIR") or "", os.path.join(os.path.dirname(real), "lib"), *_MODULE_FOLDERS]
    return [real, *_identity(real), [_identity(folder) for folder in folders if folder]]


def _identity(path: str) -> list[int]:
    try:
        info = os.stat(path)
    except OSError:
        return []
    return [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


def _read(path: str, about: bytes, kind: type[T]) -> T:
    """Read an answer back. Raises one of OSError, MsgspecError and ValueError when there is none for this key."""
    with open(path, "rb") as file:
        # Another user's file is not believed: with sudo, HOME may still be theirs.
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            raise PermissionError
        checksum, _, content = file.read().partition(b"\n")
    known, _, answer = content.partition(b"\n")
    if checksum != _checksum(content) or known != about:
        raise ValueError
    return msgspec.json.decode(answer, type=kind)


def _path(folder: str, name: str, about: bytes) -> str:
    return f"{folder}/{name}-{crc32(about):08x}.json"


def _private(path: str, flags: int) -> int:
    # Exclusive: in another container the same number may be another process. The loser's answer is not kept.
    return os.open(path, flags | os.O_EXCL, 0o600)


def _thin_out(folder: str, prefix: str) -> None:
    """Delete the oldest files of a name, those of QEMUs that are long gone, and what killed runs left."""
    paths = [entry.path for entry in os.scandir(folder) if entry.name.startswith(prefix) and entry.is_file()]
    for path in sorted(paths, key=os.path.getmtime)[:-_KEPT]:
        os.unlink(path)


def _checksum(content: bytes) -> bytes:
    return b"%08x" % crc32(content)
