"""Answers that cost a process to get, kept in the user's cache folder. A file of it may be lost or damaged at any time.

The key is hashed from everything that the answer depends on, so that nothing stale is ever read; a file is replaced whole, so
that runs at the same time never see half of one.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

T = TypeVar("T")

# QEMU's devices are in modules beside it on some distributions: installing one changes what it can do.
_MODULE_FOLDERS = ("/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu", "/usr/lib/qemu")


def remember(folder: str | None, name: str, key: object, kind: type[T], make: Callable[[], T]) -> T:
    """Give the answer of an earlier run with the same key, or make it and keep it. Without a folder nothing is kept."""
    if folder is None:
        return make()
    path = f"{folder}/{name}-{_digest(key)}.json"
    with suppress(OSError, msgspec.MsgspecError):
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=kind)
    answer = make()
    _keep(folder, path, msgspec.json.encode(answer))
    return answer


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


def _digest(key: object) -> str:
    import hashlib  # noqa: PLC0415 - 3 ms that a verb without a cache does not pay

    return hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:32]


def _keep(folder: str, path: str, content: bytes) -> None:
    """Write beside the place and rename. A cache that cannot be written is no cache, and no error."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
