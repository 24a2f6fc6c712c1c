"""Copy a file between this host and a guest, through its agent. Blocking."""

import os
import sys
from typing import BinaryIO

from qlaunch.errors import HostError
from qlaunch.run.guest_agent import CHUNK, GuestAgent


def copy_out(agent: GuestAgent, path: str, target: str) -> None:
    """Copy a file of the guest to a file, into a folder, or to ``-``. Raises HostError, MonitorError."""
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(path))
    with agent.turn() as turn:
        handle = turn.open(path, "rb")  # before the target is made: what is not there leaves no empty file
        try:
            with _open(target, "wb") as sink:
                while data := turn.read(handle):
                    _write(sink, data, target)
        finally:
            turn.close(handle)


def copy_in(agent: GuestAgent, source: str, path: str) -> None:
    """Copy a file, or ``-``, into the guest, where a slash at its end is a folder. Raises HostError, MonitorError."""
    if path.endswith("/"):
        path += os.path.basename(source)
    with _open(source, "rb") as file, agent.turn() as turn:
        handle = turn.open(path, "wb")
        try:
            while data := file.read(CHUNK):
                turn.write(handle, data)
            turn.ask("guest-file-flush", {"handle": handle})
        finally:
            turn.close(handle)


def _open(path: str, mode: str) -> BinaryIO:
    try:
        if path == "-":
            stream = sys.stdin if mode == "rb" else sys.stdout
            return os.fdopen(os.dup(stream.fileno()), mode)  # type: ignore[return-value]
        return open(path, mode)  # type: ignore[return-value]
    except OSError as error:
        raise _unusable(path, error) from error


def _write(sink: BinaryIO, data: bytes, path: str) -> None:
    try:
        sink.write(data)
        sink.flush()
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: OSError) -> HostError:
    return HostError(f"cannot use {path}: {(error.strerror or str(error)).lower()}")
