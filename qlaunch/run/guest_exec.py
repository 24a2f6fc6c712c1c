"""Run a command in the guest through its agent, and pass on what it prints while it runs.

The agent gives a command's output only after its end. In a guest with a POSIX shell the command therefore writes to two
files, which are read as they grow, and removed in the end; elsewhere (Windows) everything comes at once.

Source: QEMU's ``qga/qapi-schema.json`` (guest-exec, guest-exec-status); the agent tells nothing by itself, so it is
asked again and again. ``qga/commands.c``: ``env`` replaces the whole environment, so ``env(1)`` adds to it instead.
"""

import base64
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from qlaunch.errors import CommandError, DeadlineError, MonitorError, UsageError
from qlaunch.run.guest_agent import GuestAgent, Turn
from qlaunch.run.guest_pipe import Feed, GuestPipe, Stream, read_whole
from qlaunch.run.guest_status import read_status

_SCRIPT = 'd=$1; shift; mkdir -m 700 "$d" || exit 125; exec "$@" >"$d/out" 2>"$d/err"'
_STREAMED = 'd=$1; shift; exec "$@" <"$d/in" >"$d/out" 2>"$d/err"'  # in this order: who sees err knows that in is open
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.25
LONGEST_INPUT = 32 << 20  # the agent's parser takes no word of more than 64 MiB (qobject/json-streamer.c)
Pass = Callable[[bytes], None]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: words, standard input, whole or as it comes, ``NAME=value`` settings, and where output goes."""

    argv: Sequence[str]
    out: Pass
    err: Pass
    stdin: bytes = b""
    feed: Feed | None = None
    environment: Sequence[str] = ()
    timeout_s: float | None = None
    is_wanted: Callable[[], bool] = lambda: True  # asked again and again; a command that is not is ended


def run_in_guest(agent: GuestAgent, job: Job) -> int:
    """Run a command to its end and give its exit status.

    Raises MonitorError when the agent does not answer or refuses, DeadlineError when time is up. A command that is not
    waited for any longer, for that or for an interrupt, is sent SIGTERM.
    """
    deadline = time.monotonic() + job.timeout_s if job.timeout_s is not None else None
    with agent.turn() as turn:
        is_windows = _is_windows(turn)
    if is_windows and job.feed:  # it has no such pipes
        job = msgspec.structs.replace(job, stdin=read_whole(job.feed, LONGEST_INPUT), feed=None)
    if len(job.stdin) > LONGEST_INPUT:
        raise UsageError(f"the input is longer than {LONGEST_INPUT >> 20} MiB", "copy it into the guest: qlaunch cp")
    folder = "" if is_windows else f"/tmp/.qlaunch-{os.urandom(8).hex()}"  # noqa: S108 - in the guest, made 0700
    with agent.turn() as turn:
        ends = _Ends(turn, folder, job)
        try:
            pid = start(turn, job, folder)
        except CommandError:
            ends.remove(turn)
            raise
    ended = False
    try:
        status = _follow(agent, job, pid, ends, deadline)
        ended = True
        return status
    finally:
        if folder:
            with suppress(MonitorError), agent.turn() as turn:
                if not ended:
                    turn.ask("guest-exec", signalling("TERM", pid))
                ends.remove(turn)


def signalling(name: str, pid: int) -> dict[str, object]:
    """Give what sends a signal to a process of the guest: the shell's own kill, for a small guest has no other."""
    return {"path": "/bin/sh", "arg": ["-c", f"kill -{name} {pid}"]}


def start_in_guest(agent: GuestAgent, argv: Sequence[str]) -> None:
    """Start a command whose end and output nobody waits for. Raises MonitorError."""
    with agent.turn() as turn:
        turn.ask("guest-exec", {"path": argv[0], "arg": list(argv[1:])})


def _follow(agent: GuestAgent, job: Job, pid: int, ends: "_Ends", deadline: float | None) -> int:
    pause = _FIRST_PAUSE_S
    while True:
        with agent.turn() as turn:
            status = read_status(turn, pid)
            moved = ends.pass_on(turn)
        if status.exited:
            job.out(base64.b64decode(status.out_data))
            job.err(base64.b64decode(status.err_data))
            return status.exit_status
        if not job.is_wanted():
            raise MonitorError(f"nobody waits for {job.argv[0]} any longer")
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlineError(
                f"{job.argv[0]} did not end within {job.timeout_s:g} s", "give it longer with --timeout"
            )
        pause = _FIRST_PAUSE_S if moved else min(pause * 2, _LONGEST_PAUSE_S)
        ends.wait(pause)


class _Ends:
    """Our ends of a command's streams. Without a folder in the guest there are none."""

    def __init__(self, turn: Turn, folder: str, job: Job) -> None:
        self._folder = folder
        self._outputs = [Growing(f"{folder}/out", job.out), Growing(f"{folder}/err", job.err)] if folder else []
        self._input = Stream(job.feed, GuestPipe(turn, folder)) if job.feed else None

    def pass_on(self, turn: Turn) -> bool:
        """Pass on what came, both ways; tells whether something did."""
        moved = [output.pass_on(turn) for output in self._outputs]
        if self._input:
            moved.append(self._input.pass_on(turn, is_read=self._outputs[-1].is_there))
        return any(moved)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until there is input."""
        if self._input:
            self._input.wait(seconds)
        else:
            time.sleep(seconds)

    def remove(self, turn: Turn) -> None:
        """Leave nothing in the guest."""
        if self._input:
            self._input.close(turn)
        if self._folder:
            remove(turn, self._folder, self._outputs)


def _is_windows(turn: Turn) -> bool:
    try:
        told = turn.ask("guest-get-osinfo")
    except CommandError:  # older than 2.10, or not allowed to tell
        return False
    return isinstance(told, dict) and told.get("id") == "mswindows"


def start(turn: Turn, job: Job, folder: str) -> int:
    """Start a command, and give its number in the guest; with a folder, its output goes there."""
    program, *rest = job.argv
    arguments: dict[str, object] = {"path": program, "arg": rest, "capture-output": True}
    if folder:
        settings = ["env", *job.environment] if job.environment else []
        wrapped = ["-c", _STREAMED if job.feed else _SCRIPT, "qlaunch", folder, *settings, *job.argv]
        arguments = {"path": "/bin/sh", "arg": wrapped, "capture-output": True}
    elif job.environment:
        arguments["env"] = list(job.environment)
    if job.stdin:
        arguments["input-data"] = base64.b64encode(job.stdin).decode()
    return msgspec.convert(turn.ask("guest-exec", arguments), _Started).pid


def remove(turn: Turn, folder: str, streams: "Sequence[Growing]") -> None:
    """Leave nothing in the guest."""
    for stream in streams:
        stream.close(turn)
    turn.ask("guest-exec", {"path": "/bin/rm", "arg": ["-rf", folder]})


class Growing:
    """A file in the guest that grows."""

    def __init__(self, path: str, pass_on: Pass) -> None:
        self._path = path
        self._pass = pass_on
        self._handle: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether it was seen."""
        return self._handle is not None

    def pass_on(self, turn: Turn) -> bool:
        """Pass on what was added; tells whether something was."""
        if self._handle is None:
            try:
                self._handle = turn.open(self._path, "r")
            except CommandError:  # the shell has not made it yet
                return False
        came = False
        while data := turn.read(self._handle):
            self._pass(data)
            came = True
        return came

    def close(self, turn: Turn) -> None:
        """Close it, if it was ever there."""
        if self._handle is not None:
            turn.close(self._handle)


class _Started(msgspec.Struct):
    pid: int
