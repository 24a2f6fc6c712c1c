"""Start a machine in a process of its own, and hear from it until its guest runs. Without trio in the caller."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

import msgspec

from qlaunch.errors import HostError, MonitorError, QemuError, QlaunchError
from qlaunch.plan import Plan
from qlaunch.run.session import run_machine
from qlaunch.run.voice import Say

_KINDS: dict[str, type[QlaunchError]] = {kind.__name__: kind for kind in (HostError, QemuError, MonitorError)}


class _Word(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the child tells: a sentence, that the guest runs, or why it does not."""

    say: str = ""
    is_up: bool = False
    failure: str = ""
    message: str = ""
    hint: str = ""
    stderr: str = ""


def start_detached(plan: Plan, say: Say) -> None:
    """Start a machine; return once its guest runs. Raises what the start raised."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(reading)
        _supervise(plan, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as words:
        for line in words:
            word = msgspec.json.decode(line, type=_Word)
            if word.is_up:
                return
            if word.failure:
                raise _failure(word)
            say(word.say)
    raise HostError(f"the supervisor of {plan.duty.name} died while it started", f"see: qlaunch logs {plan.duty.name}")


def _supervise(plan: Plan, writing: int) -> NoReturn:
    """Be the supervisor: no terminal, no standard streams, and never back into the caller's code."""
    status = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)

        def tell(word: _Word) -> None:
            with suppress(OSError):  # whoever started us has gone; the machine stays
                os.write(writing, msgspec.json.encode(word) + b"\n")

        try:
            ending = run_machine(plan, lambda text: tell(_Word(say=text)), on_up=lambda: tell(_Word(is_up=True)))
            status = ending.exit_status
        except QlaunchError as error:
            status = error.exit_status
            tell(
                _Word(
                    failure=type(error).__name__,
                    message=error.message,
                    hint=error.hint,
                    stderr=getattr(error, "stderr", ""),
                )
            )
    finally:
        os._exit(status)


def _failure(word: _Word) -> QlaunchError:
    error = _KINDS.get(word.failure, QlaunchError)(word.message, word.hint)
    if isinstance(error, QemuError):
        error.stderr = word.stderr
    return error
