r"""What a scripted run does in its guest: wait, talk on the serial port, copy, run a command, copy back.

A script is a file of lines:

    expect login:            wait for a regular expression, each for at most the time of the last `timeout`
    send root                type it, and Enter; \n, \x03 and the like are understood
    timeout 60
    status (\d+) done        wait for it; its first group is the exit status of the run
    # a remark
"""

import math
import shlex
from collections.abc import Sequence
from typing import Literal

import msgspec

from qlaunch.errors import HostError, UsageError
from qlaunch.run.guest_exec import Pass
from qlaunch.run.serial_talk import SerialTalk, compile_pattern


class Line(msgspec.Struct, frozen=True):
    """One line of a script."""

    verb: Literal["expect", "send", "status", "timeout"]
    text: str


class Copy(msgspec.Struct, frozen=True):
    """A file to copy, and where to."""

    source: str
    target: str


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be done in one guest, in this order. ``until`` alone ends it at the match."""

    until: str = ""
    script: Sequence[Line] = ()
    copy_in: Sequence[Copy] = ()
    command: Sequence[str] = ()
    environment: Sequence[str] = ()
    copy_out: Sequence[Copy] = ()
    out: Pass | None = None  # where the command's output goes
    err: Pass | None = None

    @property
    def wants_agent(self) -> bool:
        """Whether it takes a guest agent."""
        return bool(self.copy_in or self.command or self.copy_out)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done: the guest runs until it ends by itself."""
        return not (self.until or self.script or self.wants_agent)

    @property
    def wants(self) -> str:
        """Say what is waited for, for a sentence about a deadline."""
        if self.command:
            return f"run {shlex.join(self.command)} to its end"
        if self.wants_agent:
            return "copy its files"
        if self.script:
            return "go through its script"
        return f"print {self.until!r}" if self.until else "power off"


def parse_script(path: str) -> list[Line]:
    """Read a script. Raises UsageError with the line that is wrong, HostError."""
    try:
        with open(path, encoding="utf-8") as file:
            return [_line(text, f"{path}:{number}") for number, text in enumerate(file, 1) if _means(text)]
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"cannot read the script {path}: {error}") from error


def _means(text: str) -> bool:
    return bool(text.strip()) and not text.lstrip().startswith("#")


def _line(text: str, where: str) -> Line:
    verb, _, rest = text.strip().partition(" ")
    try:
        return _checked(msgspec.convert({"verb": verb, "text": rest.strip()}, Line))
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {verb!r} is none of expect, send, status and timeout") from error
    except ValueError as error:
        raise UsageError(f"{where}: {rest.strip()!r} cannot be used: {error}") from error
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}") from error


def _checked(line: Line) -> Line:
    match line.verb:
        case "timeout":
            float(line.text)
        case "send":
            return msgspec.structs.replace(line, text=_typed(line.text))
        case _:
            if compile_pattern(line.text).groups < (line.verb == "status"):
                raise UsageError("status wants a pattern with a group for the number, such as (\\d+)")
    return line


def _typed(text: str) -> str:
    """Give the keys that a line stands for: Enter follows, unless it ends with a control character of its own."""
    keys = text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    return keys if keys and keys[-1] < " " else f"{keys}\r"


async def talk(serial: SerialTalk, script: Sequence[Line]) -> int:
    """Go through a script; give the exit status that it found, or 0.

    Raises DeadlineError, MonitorError.
    """
    patience, status = math.inf, 0
    for line in script:
        match line.verb:
            case "timeout":
                patience = float(line.text)
            case "send":
                await serial.send(line.text)
            case "expect":
                await serial.expect(line.text, patience)
            case "status":
                said = (await serial.expect(line.text, patience))[1] or ""
                status = int(said) & 0xFF if said.isdecimal() else 1
    return status
