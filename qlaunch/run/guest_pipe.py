"""A pipe with a name in the guest, which its agent writes to: what is typed into a shell, or streamed into a command.

Source: ``fifo(7)`` (opened for both it never blocks); ``pipe(7)`` (up to PIPE_BUF bytes go in whole or not at all);
``qga/commands-posix.c`` (files are not waited for; what is written is kept back until guest-file-flush;
guest-file-write asks ferror(3) after, and clears it last of all); glibc's ``libio/fileops.c``, new_do_write, and musl's
``__stdio_write`` (what a failed flush could not write is thrown away).
"""

import base64
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from qlaunch.errors import CommandError, HostError
from qlaunch.run.guest_agent import Turn
from qlaunch.run.guest_status import read_status

_MAKE = 'mkdir -m 700 "$0" && mkfifo "$0/in"'
_AT_ONCE = 4095  # fits into the buffer of an agent with glibc, and into a pipe as a whole or not at all
# Waits for input for so many seconds; gives what came, if anything, and None at its end.
Feed = Callable[[float], bytes | None]


class GuestPipe:
    """The end that is written to."""

    def __init__(self, turn: Turn, folder: str) -> None:
        """Make a folder for its owner alone, with the pipe ``in`` in it. Raises HostError where there is no shell."""
        _make(turn, folder)
        self._handle: int | None = turn.open(f"{folder}/in", "r+")

    def write(self, turn: Turn, data: bytes) -> bytes:
        """Write as much as the pipe takes, and give what is left."""
        handle = self._handle
        while data and handle is not None:
            piece = {"handle": handle, "buf-b64": base64.b64encode(data[:_AT_ONCE]).decode()}
            taken, flushed = turn.ask_both(("guest-file-write", piece), ("guest-file-flush", {"handle": handle}))
            if not (taken and flushed):  # the pipe is full, and nothing of the piece went
                self._forgive(turn, handle)
                break
            data = data[_AT_ONCE:]
        return data

    def _forgive(self, turn: Turn, handle: int) -> None:
        """Have the agent forget the failure, with which it would refuse the next write: writing nothing does it."""
        with suppress(CommandError):
            turn.ask("guest-file-write", {"handle": handle, "buf-b64": "AA==", "count": 0})

    def close(self, turn: Turn) -> None:
        """Close it: whoever reads comes to its end."""
        if self._handle is not None:
            with suppress(CommandError):
                turn.close(self._handle)
            self._handle = None


class Stream:
    """Input on its way into a command."""

    def __init__(self, feed: Feed, pipe: GuestPipe) -> None:
        self._feed = feed
        self._pipe = pipe
        self._left = b""
        self._has_ended = False

    def wait(self, seconds: float) -> None:
        """Wait so long, or until input comes, where it is wanted."""
        if self._left or self._has_ended:
            time.sleep(seconds)
            return
        came = self._feed(seconds)
        self._has_ended = came is None
        self._left = came or b""

    def pass_on(self, turn: Turn, *, is_read: bool) -> bool:
        """Pass on what there is, and tell whether some went.

        At its end the pipe is closed once it is read: before, what is in it would be lost.
        """
        before = len(self._left)
        self._left = self._pipe.write(turn, self._left)
        if self._has_ended and is_read and not self._left:
            self._pipe.close(turn)
        return before != len(self._left)

    def close(self, turn: Turn) -> None:
        """Give up on what is left."""
        self._pipe.close(turn)


def read_whole(feed: Feed, longest: int) -> bytes:
    """Read input to its end, or until it is longer than ``longest`` bytes."""
    whole = bytearray()
    while len(whole) <= longest and (came := feed(60)) is not None:
        whole += came
    return bytes(whole)


def _make(turn: Turn, folder: str) -> None:
    try:
        made = turn.ask("guest-exec", {"path": "/bin/sh", "arg": ["-c", _MAKE, folder], "capture-output": True})
    except CommandError as error:
        raise HostError(
            f"the guest has no POSIX shell: {error.message}", "run single commands: qlaunch exec"
        ) from error
    pid = msgspec.convert(made, dict[str, int])["pid"]
    while not (status := read_status(turn, pid)).exited:
        pass  # mkdir and mkfifo: each question is a round trip to the guest
    if status.exit_status:
        said = base64.b64decode(status.err_data).decode(errors="replace").strip()
        raise HostError(f"the guest cannot make {folder}: {said or f'status {status.exit_status}'}")
