"""`qlaunch exec NAME -- COMMAND`, `qlaunch cp FROM TO` and `qlaunch shell NAME`: through the guest agent."""

import argparse
import os
import select
import shlex
import stat
import sys
from collections.abc import Callable, Sequence
from typing import BinaryIO

from qlaunch.cli.machines import running
from qlaunch.cli.raw_terminal import raw_terminal
from qlaunch.errors import UsageError
from qlaunch.run.guest_agent import GuestAgent
from qlaunch.run.guest_exec import LONGEST_INPUT, Job, run_in_guest, start_in_guest
from qlaunch.run.guest_files import copy_in, copy_out

_LEAVE = b"\x1d"  # Ctrl-]
_END = b"\x04"  # Ctrl-D: the end of a pipe, as the guest's terminal knows it
_AT_ONCE = 1 << 16  # as much as a pipe holds
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.2


def run(options: argparse.Namespace) -> int:
    """Run a command in the guest, copy a file, or open a shell."""
    match options.verb:
        case "exec":
            return _exec(options)
        case "cp":
            return _copy(options.source, options.target)
        case _:
            return _shell(options.name)


def _exec(options: argparse.Namespace) -> int:
    for setting in options.env:
        if not setting.partition("=")[1] or setting.startswith("="):
            raise UsageError(f"--env {setting!r} is not NAME=value", "example: --env LANG=C")
    if not options.command:
        raise UsageError("exec wants a command", f"example: qlaunch exec {options.name} -- uname -a")
    if taken := [flag for flag in ("tty", "detach") if getattr(options, flag)]:
        _refuse_beside(options, taken[0])
    if options.tty:
        return _shell(options.name, shlex.join(_in_place(options, environment=options.env)))
    agent = GuestAgent(running(options.name)[1].duty)
    if options.detach:
        start_in_guest(agent, _in_place(options, environment=options.env))
        return 0
    is_file = options.interactive and _is_short_file()
    job = Job(
        argv=_in_place(options, environment=options.env if options.user else ()),  # su sets some anew
        out=writer(sys.stdout.buffer),
        err=writer(sys.stderr.buffer),
        stdin=sys.stdin.buffer.read() if is_file else b"",
        feed=_feed if options.interactive and not is_file else None,
        environment=() if options.user else options.env,
        timeout_s=options.timeout,
    )
    return run_in_guest(agent, job)


def _refuse_beside(options: argparse.Namespace, taken: str) -> None:
    """Raise UsageError for what has no meaning beside --tty or --detach."""
    beside = {"detach": options.detach and taken == "tty", "interactive": options.interactive and taken == "detach"}
    for flag, is_given in {**beside, "timeout": options.timeout is not None}.items():
        if is_given:
            raise UsageError(f"--{flag} means nothing beside --{taken}", "leave one of them out")


def _is_short_file() -> bool:
    """Whether standard input can go in at once, which is quicker; a pipe or a keyboard may take its time."""
    about = os.fstat(sys.stdin.fileno())
    return stat.S_ISREG(about.st_mode) and about.st_size <= LONGEST_INPUT


def _in_place(options: argparse.Namespace, environment: Sequence[str] = ()) -> list[str]:
    """Give the command, with what sets its environment, takes it to its folder, and makes it its user's."""
    argv = list(options.command)
    if environment:
        argv = ["env", *environment, *argv]
    if options.workdir:
        argv = ["sh", "-c", 'cd -- "$0" && exec "$@"', options.workdir, *argv]
    if options.user:
        argv = ["su", "-s", "/bin/sh", "-c", 'exec "$0" "$@"', "--", options.user, *argv]
    return argv


def _feed(seconds: float) -> bytes | None:
    """Read standard input as it comes."""
    if not select.select([sys.stdin], [], [], seconds)[0]:
        return b""
    return os.read(sys.stdin.fileno(), _AT_ONCE) or None


def _copy(source: str, target: str) -> int:
    """Copy one file; ``NAME:PATH`` is in a guest, ``-`` is standard input or output."""
    from_name, from_path = _place(source)
    to_name, to_path = _place(target)
    if bool(from_name) == bool(to_name):
        hint = "example: qlaunch cp demo:/etc/os-release ."
        raise UsageError("cp wants one place in a guest and one on this host", hint)
    agent = GuestAgent(running(from_name or to_name)[1].duty)
    if from_name:
        copy_out(agent, from_path, to_path)
    else:
        copy_in(agent, from_path, to_path)
    return 0


def _shell(name: str, command: str = "") -> int:
    from qlaunch.run.guest_shell import Window, open_shell  # noqa: PLC0415 - not for the other two

    agent = GuestAgent(running(name)[1].duty)
    size = os.get_terminal_size(sys.stdin.fileno()) if sys.stdin.isatty() else os.terminal_size((80, 24))
    terminal = os.environ.get("TERM", "dumb")
    show = writer(sys.stdout.buffer)
    window = Window(rows=size.lines, columns=size.columns, terminal=terminal)
    with open_shell(agent, show, window, command) as shell, raw_terminal():
        if sys.stdin.isatty():
            os.write(sys.stderr.fileno(), b"[terminal in the guest; Ctrl-] leaves]\r\n")
        keys, ended, pause = b"", False, _FIRST_PAUSE_S
        while shell.exit_status is None:
            # The agent tells nothing by itself: it is asked, often while something happens, and less often then.
            if select.select([] if ended else [sys.stdin], [], [], pause)[0]:
                typed = os.read(sys.stdin.fileno(), 4096)
                typed, leave, _ = typed.partition(_LEAVE) if sys.stdin.isatty() else (typed, b"", b"")
                if leave:
                    return 0
                ended = not typed
                keys, pause = keys + typed, _FIRST_PAUSE_S
            elif ended and pause == _LONGEST_PAUSE_S:
                keys += _END  # and again later: a terminal that is just being made raw forgets it
            keys, came = shell.exchange(keys)
            pause = _FIRST_PAUSE_S if came else min(pause * 1.5, _LONGEST_PAUSE_S)
        return shell.exit_status


def _place(text: str) -> tuple[str, str]:
    """Split NAME:PATH; a path with a slash before the colon is this host's."""
    name, colon, path = text.partition(":")
    return (name, path) if colon and "/" not in name and name else ("", text)


def writer(stream: BinaryIO) -> Callable[[bytes], None]:
    """Give a function that passes bytes on at once."""

    def write(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    return write
