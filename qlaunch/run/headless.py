"""A scripted run: serial output streamed, a pattern waited for, and a word for how it ended."""

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

import msgspec
import trio

from qlaunch.errors import HostError
from qlaunch.plan import Plan
from qlaunch.run.session import run_machine
from qlaunch.run.voice import Say

if TYPE_CHECKING:
    from qlaunch.run.supervisor import Supervisor

# A serial line that never ends must not fill the memory; no pattern needs more of it.
_LONGEST_LINE = 1 << 16

How = Literal["matched", "powered-off", "not-matched", "stopped", "reset", "panicked", "deadline", "qemu-died"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a scripted run ended: a word for scripts, a sentence for people, and the line that matched."""

    how: How
    sentence: str
    line: str = ""


class Transcript:
    """Where serial output goes.

    To a stream and to a file, either or both. Raises HostError when the file cannot be made.
    """

    def __init__(self, stream: BinaryIO | None, path: str | None) -> None:
        self._sinks = [stream] if stream else []
        self._file: BinaryIO | None = None
        self.lost = ""  # why the file is not whole
        if path:
            try:
                self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
            except OSError as error:
                raise HostError(f"cannot write the log {path}: {error.strerror}") from error
            self._sinks.append(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            with suppress(OSError):
                self._file.close()

    def write(self, data: bytes | bytearray) -> None:
        """Pass output on at once, for whoever watches a boot. A sink that fails is given up, the run is not."""
        for sink in list(self._sinks):
            try:
                sink.write(data)
                sink.flush()
            except OSError as error:  # a reader that went away, a full disk
                self._sinks.remove(sink)
                if sink is self._file:
                    self.lost = error.strerror or "unknown error"


def run_headless(
    plan: Plan, say: Say, transcript: Transcript, *, pattern: re.Pattern[str] | None, timeout_s: float | None
) -> Outcome:
    """Run a machine until the pattern is seen, the guest ends, or the deadline passes."""
    outcome: Outcome | None = None

    def settle(how: How, sentence: str, line: str = "") -> None:
        nonlocal outcome
        outcome = outcome or Outcome(how=how, sentence=sentence, line=line)

    async def watch(supervisor: "Supervisor", *, task_status: trio.TaskStatus[None]) -> None:
        stream = await trio.open_unix_socket(supervisor.duty.socket("serial"))
        task_status.started()
        with trio.move_on_after(math.inf if timeout_s is None else timeout_s) as deadline:
            line = await _read_until(stream, transcript, pattern)
            if line is None:
                return  # the guest ended first; how it did is the supervisor's to say
            settle("matched", f"matched: {line.strip()}", line.strip())
        if deadline.cancelled_caught:
            settle("deadline", f"{plan.duty.name} did not {_wanted(pattern)} within {timeout_s:g} s")
        supervisor.stop(force=deadline.cancelled_caught)
        await _drain(stream, transcript)

    ending = run_machine(plan, say, companion=watch)
    if outcome is None and pattern and ending.how in ("powered-off", "stopped"):
        return Outcome(how="not-matched", sentence=f"{ending.sentence}, before {pattern.pattern!r} was seen")
    return outcome or Outcome(how=ending.how, sentence=ending.sentence)


async def _read_until(stream: trio.SocketStream, transcript: Transcript, pattern: re.Pattern[str] | None) -> str | None:
    """Pass output on until a line matches; None when the guest hangs up first."""
    line = ""
    async for chunk in stream:
        transcript.write(chunk)
        for part in chunk.decode("utf-8", "replace").splitlines(keepends=True):
            line = (line + part)[-_LONGEST_LINE:]
            if pattern and pattern.search(line):
                return line
            if part.endswith("\n"):
                line = ""
    return None


async def _drain(stream: trio.SocketStream, transcript: Transcript) -> None:
    """Pass on what the guest still says while it goes down."""
    async for chunk in stream:
        transcript.write(chunk)


def _wanted(pattern: re.Pattern[str] | None) -> str:
    return f"print {pattern.pattern!r}" if pattern else "power off"
