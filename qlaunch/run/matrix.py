"""Many scripted runs, some at once: each is a qlaunch of its own, so that none can trouble another.

The file has a ``[[case]]`` for each, and ``[default]`` for what they share. Every case runs under a name of its own, so
that one machine file serves many.

Source: ``getrusage(2)`` by ``wait4(2)``: a process with all the children that it has waited for, QEMU among them.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec
import tomli

from qlaunch.errors import HostError, UsageError
from qlaunch.machine.overrides import as_word
from qlaunch.machine.search import find, machine_name

_SHOWN = 1 << 20  # bytes of a case's words that are kept for the report
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine, and what is done in it: the options of `qlaunch run`."""

    name: str = ""
    machine: str = ""
    set: dict[str, str | int | float | bool | list[str]] = {}
    until: str = ""
    script: str = ""
    command: list[str] = []
    copy_in: list[str] = []
    copy_out: list[str] = []
    env: dict[str, str] = {}
    timeout_s: float = 0
    ephemeral: bool = True
    repeat: Count = 1


class Matrix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole file. ``jobs`` machines run at once."""

    jobs: Count = 2
    default: dict[str, object] = {}
    case: list[dict[str, object]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a case went, and what it cost: seconds, seconds of CPU, bytes of memory at most (QEMU's, or qlaunch's)."""

    name: str
    exit_status: int
    seconds: float
    cpu_s: float
    memory: int
    out: str
    err: str


def read_matrix(path: str) -> tuple[int, list[Case]]:
    """Give the number that runs at once, and the cases, with names that differ. Raises UsageError, HostError."""
    try:
        with open(path, "rb") as file:
            matrix = msgspec.convert(tomli.load(file), Matrix)
        cases = [msgspec.convert({**matrix.default, **case}, Case) for case in matrix.case]
    except OSError as error:
        raise HostError(f"cannot read {path}: {(error.strerror or '').lower()}") from error
    except (tomli.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    named = [one for number, case in enumerate(cases, 1) for one in _named(case, number, path)]
    names = [case.name for case in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: there are two cases {twice[0]!r}", "give each a name of its own")
    return matrix.jobs, named


def _named(case: Case, number: int, path: str) -> Iterator[Case]:
    if not case.machine:
        raise UsageError(f"{path}: case {number} names no machine", 'example: machine = "headless"')
    name = case.name or f"{machine_name(case.machine)}-{number}"
    machine_name(name)  # it becomes a file's name
    for turn in range(1, case.repeat + 1):
        yield msgspec.structs.replace(case, name=f"{name}-{turn}" if case.repeat > 1 else name)


def run_cases(cases: Sequence[Case], jobs: int, tell: Callable[[Result], None]) -> list[Result]:
    """Run all of them, some at once; ``tell`` hears each result as it comes. An interrupt ends those that run."""
    started: set[subprocess.Popen[bytes]] = set()
    stop, telling = threading.Event(), threading.Lock()

    def one(case: Case) -> Result | None:
        if stop.is_set():
            return None
        result = _run(case, folder, started)
        with telling:
            tell(result)
        return result

    with tempfile.TemporaryDirectory(prefix="qlaunch-matrix-") as folder:
        pool = ThreadPoolExecutor(jobs)
        try:
            return [result for result in pool.map(one, cases) if result]
        except BaseException:
            stop.set()
            for process in list(started):
                process.terminate()  # which is a graceful end, with the host given back
            raise
        finally:
            pool.shutdown()


def _run(case: Case, folder: str, started: "set[subprocess.Popen[bytes]]") -> Result:
    path = f"{folder}/{case.name}.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"extends = {msgspec.json.encode(os.path.abspath(find(case.machine))).decode()}\n")
    began = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        words = [sys.executable, "-m", "qlaunch", *_words(case, path)]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        started.add(process)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        started.discard(process)
        return Result(
            name=case.name,
            exit_status=process.returncode,
            seconds=round(time.monotonic() - began, 2),
            cpu_s=round(used.ru_utime + used.ru_stime, 2),
            memory=used.ru_maxrss * 1024,
            out=_tail(out.fileno()),
            err=_tail(err.fileno()),
        )


def _words(case: Case, path: str) -> Iterator[str]:
    yield from ("run", path)
    for key, value in case.set.items():
        yield f"--set={as_word(key, value)}"
    for option in ("until", "script"):
        if value := getattr(case, option):
            yield f"--{option}={value}"
    yield from (f"--copy-in={copy}" for copy in case.copy_in)
    yield from (f"--copy-out={copy}" for copy in case.copy_out)
    yield from (f"--env={name}={value}" for name, value in case.env.items())
    if case.timeout_s:
        yield f"--timeout={case.timeout_s}"
    if case.ephemeral:
        yield "--ephemeral"
    if case.command:
        yield from ("--", *case.command)


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _SHOWN, max(0, size - _SHOWN)).decode("utf-8", "replace")
