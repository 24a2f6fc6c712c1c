"""The command contrib/lab: what its words mean, and where they go. It is the lab's only place that prints and exits."""

import argparse
import contextlib
import os
import select
import shutil
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lab import cache, emulated, image, snapshot, source
from tests.lab.emulator import Emulator, signals_end_us
from tests.lab.failure import LabError
from tests.lab.recipe import PROJECT

WORDS = """\
contrib/lab [--profile NAME] [--keep] -- COMMAND...   run a command in a fresh emulated host, as root
contrib/lab [--profile NAME] [--keep] shell           look around in one
contrib/lab -- pytest ARGUMENTS...                    run lab tests: pytest runs here, what it tests runs inside
contrib/lab build                                     only build the image (needs root, once)
contrib/lab built                                     whether it is built: status 0 or 1
contrib/lab profiles                                  the variants of the emulated host
contrib/lab stop                                      end the labs that --keep left running

In a host, /opt/qlaunch is this checkout's qlaunch as it is now. Everything that the host changes is gone when it ends.
The image and the snapshots are in ${XDG_CACHE_HOME:-~/.cache}/qlaunch/lab, or in $QLAUNCH_LAB_CACHE."""
VERBS = ("shell", "build", "built", "profiles", "stop")
ALL_DAY_S = 86400.0
LEAVE_AGAIN_S = 1.0  # a Ctrl-D is lost while the shell starts, or runs something


def main(words: Sequence[str]) -> int:
    """Does what the words say.

    The exit status is the command's own, 2 for a wrong word, 3 where the lab itself fails.
    """
    try:
        with signals_end_us():
            return _obey(list(words))
    except LabError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  -> {error.hint}", file=sys.stderr)
        return 3
    except (OSError, subprocess.SubprocessError) as error:
        print(f"error: the lab cannot go on: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


def _obey(words: list[str]) -> int:
    before, command = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(prog="contrib/lab", usage=WORDS, add_help=True)
    parser.add_argument("--profile", choices=emulated.PROFILES)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("verb", nargs="?", choices=VERBS)
    asked = parser.parse_args(before)
    if bool(asked.verb) == bool(command):
        parser.error("either a verb or -- and a command")
    if (asked.profile or asked.keep) and (asked.verb not in {None, "shell"} or command[:1] == ["pytest"]):
        parser.error(f"--profile and --keep mean nothing to {asked.verb or 'pytest, whose tests choose their own'}")
    if command[:1] == ["pytest"]:
        return _pytest(command[1:])
    if asked.verb == "build":
        print(image.ready().folder)
        return 0
    if asked.verb == "built":
        return 0 if image.is_built() else 1
    if asked.verb == "profiles":
        for name, profile in emulated.PROFILES.items():
            print(f"{name:14} {profile.meaning}")
        return 0
    if asked.verb == "stop":
        return _stop_kept()
    return _in_host(asked.profile or "full", command, keep=asked.keep)


def _pytest(arguments: list[str]) -> int:
    python = next((path for path in (PROJECT / ".venv/bin/python", Path(sys.executable)) if _has_all(path)), None)
    if python is None:
        raise LabError(
            "no Python here has pytest and what qlaunch needs", "contrib/check makes an environment that has it"
        )
    command = [str(python), "-m", "pytest", "-m", "lab", *(arguments or ["tests/lab"])]
    return subprocess.run(command, cwd=PROJECT, check=False).returncode


def _has_all(python: Path) -> bool:
    return (
        python.exists()
        and subprocess.run(
            [python, "-c", "import hypothesis, msgspec, pytest, trio"], capture_output=True, check=False
        ).returncode
        == 0
    )


def _in_host(profile: str, command: list[str], *, keep: bool) -> int:
    began = time.monotonic()
    with snapshot.fresh(profile, keep=keep, say=_say) as host:
        source.install(host)
        _say(f"The emulated host ({profile}) was ready after {time.monotonic() - began:.1f} s.")
        status = _interactive(host) if not command else _run(host, command)
    if keep:
        _say(f"The host is kept, in {host.folder}; contrib/lab stop ends it.")
    return status


def _run(host: Emulator, command: list[str]) -> int:
    def show(stream: str, data: bytes) -> None:
        output = sys.stdout if stream == "out" else sys.stderr
        output.buffer.write(data)
        output.buffer.flush()

    job = host.channel.start(command, listener=show)
    try:
        status = job.wait(ALL_DAY_S).status
    except KeyboardInterrupt:
        job.kill(2)
        status = job.wait().status
    return status if status >= 0 else 128 - status


def _interactive(host: Emulator) -> int:
    """A shell on a terminal inside, tied to this terminal; Ctrl-D leaves it, and so does the end of the input."""

    def show(_: str, data: bytes) -> None:
        os.write(1, data)

    terminal = os.environ.get("TERM", "dumb")
    job = host.channel.start(["bash", "-l"], env={"TERM": terminal}, tty=True, listener=show)
    size = shutil.get_terminal_size()
    host.channel.resize(job, size.lines, size.columns)
    inputs = [0]
    with _raw_terminal():
        while job.status is None:
            ready, _, _ = select.select([*inputs, host.channel.fileno()], [], [], None if inputs else LEAVE_AGAIN_S)
            if 0 in ready and (typed := os.read(0, 4096)):
                host.channel.type_into(job, typed)
            elif 0 in ready or not ready:
                inputs.clear()
                host.channel.type_into(job, b"\x04")
            if host.channel.fileno() in ready:
                host.channel.read_some()
    return job.status if job.status >= 0 else 128 - job.status


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    if not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _stop_kept() -> int:
    stopped = cache.stop_kept()
    print(f"{stopped} ended" if stopped else "none was running")
    return 0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
