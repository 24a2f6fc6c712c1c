"""What is waited for by who talks to machines: one question, the list of a hundred, the first completion."""

import statistics
import sys
from collections.abc import Callable, Iterator

from tests.bench.libvirt import virsh
from tests.bench.row import Row, compared, milliseconds, take_turns, timed
from tests.bench.scratch import NAME, Scratch
from tests.bench.starts import write_tiny
from tests.terminal import Terminal

_VIRSH, _PYTHON = "`virsh qemu-monitor-command`", "`python -c pass`"
# A program in Python has Python's start before it, whatever it does: half of virsh is for the rest.
_BOUND = f"half of {_VIRSH}, and {_PYTHON}"
_FILES, _RUNNING = 100, 10
_LIST_MS, _COMPLETION_MS = 300.0, 100.0
_ROUNDS = 5


def talk(scratch: Scratch) -> Iterator[Row]:
    """Yield the three."""
    scratch.start()
    try:
        yield from _question(scratch)
        yield _limited("console: first completion after the prompt", lambda: _completion(scratch), _COMPLETION_MS)
    finally:
        scratch.qlaunch("down", "--force", NAME)
    names = [f"tiny{number:02}" for number in range(_FILES)]
    write_tiny(scratch, names)
    scratch.qlaunch("up", "--detach", *names[:_RUNNING])
    try:
        yield _limited(f"`list`, {_FILES} machines, {_RUNNING} run", lambda: scratch.timed("list"), _LIST_MS)
    finally:
        scratch.qlaunch("down", "--force", *names[:_RUNNING])


def _question(scratch: Scratch) -> Iterator[Row]:
    python = [sys.executable, "-c", "pass"]
    candidates: dict[str, Callable[[], float]] = {
        "qlaunch": lambda: scratch.timed("console", NAME, "-c", "query-status"),
        _PYTHON: lambda: timed(lambda: scratch.run(python)),
    }
    with virsh(scratch) as libvirt:
        if libvirt:
            libvirt.start()
            candidates[_VIRSH] = lambda: timed(libvirt.query_status)
        try:
            times = take_turns(candidates, scratch.rounds)
        finally:
            if libvirt:
                libvirt.destroy()
    if _VIRSH in times:
        rounds = zip(times[_VIRSH], times[_PYTHON], strict=True)
        times[_BOUND] = [virsh_took / 2 + python_took for virsh_took, python_took in rounds]
    yield from compared("`console -c query-status`", times, {_BOUND: 1})


def _completion(scratch: Scratch) -> float:
    """Give how long a prompt that has just come takes to offer a command, in milliseconds."""
    with Terminal("console", NAME, cwd=scratch.folder, env=scratch.environment) as terminal:
        terminal.wait_for(f"{NAME}>")

        def complete() -> None:
            terminal.type("query-stat")
            terminal.wait_for("query-status")

        took = timed(complete)
        terminal.type("\x03\x04")
        terminal.end()
    return took


def _limited(what: str, measure: Callable[[], float], target: float) -> Row:
    """Give a row whose median is held against milliseconds."""
    median = statistics.median(take_turns({"": measure}, _ROUNDS)[""])
    return Row(what=what, qlaunch=milliseconds(median), value=median, unit="ms", target=target)
