"""Every failure that a user can meet, and the exit status that goes with it.

    QlaunchError(message, hint)         1   never raised as such
     + UsageError                       2   the command line is wrong
     + MachineError(problems)           2   the machine file is wrong: all its problems at once
     + HostError                        3   the host cannot, or refuses
     |  + RestoreError                  4   something on the host is not as it was
     + QemuError                        5   QEMU failed
     + MonitorError                     6   the monitor (QMP) failed
     |  + CommandError                  6   QEMU refused a command
     + DeadlineError                  124   a deadline passed

A message is one sentence that says what is wrong, with the value and the place. A hint is one sentence that says
what to do next. The cause is chained (``raise … from error``), not repeated in the message.

Owns: words and numbers of failure. Must not: print, exit, or know who raises.
"""

from typing import Literal

import msgspec

Severity = Literal["error", "warning", "info"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, in a form that people and programs read.

    ``where`` is ``FILE:LINE`` or empty, ``key`` is the dotted TOML key or empty. ``code`` is stable: scripts may
    match on it.
    """

    code: str
    message: str
    key: str = ""
    where: str = ""
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.where, self.key) if part)
        return f"{place}: {self.message}" if place else self.message


class QlaunchError(Exception):
    """The root of the tree; ``hint`` says what to do next and may be empty."""

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(QlaunchError):
    """The command line is wrong."""

    exit_status = 2


class MachineError(QlaunchError):
    """The machine file is wrong; carries every problem that was found in it."""

    exit_status = 2

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class HostError(QlaunchError):
    """The host cannot do what the machine wants, or refuses."""

    exit_status = 3


class RestoreError(HostError):
    """Something on the host is not as it was; the message says what is left."""

    exit_status = 4

    def after(self, error: BaseException) -> "RestoreError":
        """Give the same failure with what came before it: why the machine was being undone at all."""
        return RestoreError(f"{error}; {self.message}", self.hint) if isinstance(error, QlaunchError) else self


class QemuError(QlaunchError):
    """QEMU failed; ``stderr`` is all that it printed."""

    exit_status = 5

    def __init__(self, message: str, hint: str = "", stderr: str = "") -> None:
        super().__init__(message, hint)
        self.stderr = stderr


class MonitorError(QlaunchError):
    """The monitor (QMP) did not answer, or answered with an error."""

    exit_status = 6


class CommandError(MonitorError):
    """QEMU understood a command and refused it; the message is QEMU's own."""


class DeadlineError(QlaunchError):
    """A deadline that the user set has passed."""

    exit_status = 124
