"""One conversation with a QEMU that has no machine: QMP over its standard input and output, with a deadline.

Blocking and short-lived; the monitor of a running machine is ``run/qmp.py``. It reads what comes as if it might not be
QEMU's at all: the path is what a user wrote.

Source: QEMU's ``docs/interop/qmp-spec.rst`` (greeting, ids).
"""

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from qlaunch.errors import HostError, QemuError

if TYPE_CHECKING:
    from subprocess import Popen

Question = dict[str, Any]

_DEADLINE_S = 30
# The longest answer, to query-qmp-schema, has some 230 kB; what never ends a line is not QEMU.
_LONGEST = 4 << 20


def interview(path: str, questions: list[Question], deadline_s: float = _DEADLINE_S) -> tuple[dict[str, Any], str, str]:
    """Run a QEMU through one conversation.

    Gives the answers by id (a question that it refused has none), how it ended, in words, and what it printed as
    errors. Raises HostError when the program cannot be run, QemuError when it is not QEMU.
    """
    import subprocess  # noqa: PLC0415 - 9 ms that a warm cache does not pay
    from threading import Timer  # noqa: PLC0415

    words = [path, "-S", "-no-user-config", "-nodefaults", "-display", "none", "-machine", "none", "-accel", "tcg"]
    pipe = subprocess.PIPE
    answers: dict[str, Any] = {}
    try:
        # A session of its own: what is not QEMU may be a script whose children keep the pipes open.
        process = subprocess.Popen(
            [*words, "-qmp", "stdio"], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise HostError(f"{path} cannot be run: {error.strerror}", "check qemu.binary") from error
    hung = False

    def give_up() -> None:
        nonlocal hung
        hung = True
        _kill(process)

    deadline = Timer(deadline_s, give_up)
    deadline.start()
    try:
        said = _talk(process, path, questions, answers)
    except BaseException:
        # Ctrl-C does not reach a session of its own.
        _kill(process)
        raise
    finally:
        deadline.cancel()
    return answers, f"does not answer within {deadline_s:g} s" if hung else _ending(process.returncode), said


def _kill(process: "Popen[bytes]") -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _talk(process: "Popen[bytes]", path: str, questions: list[Question], answers: dict[str, Any]) -> str:
    """Ask, fill the answers in, and see it out. Gives what it printed as errors."""
    assert process.stdin  # noqa: S101 - it was asked for
    assert process.stdout  # noqa: S101
    with process:
        everything = [{"execute": "qmp_capabilities"}, *questions]
        # Past the buffer of the file object, which would be flushed again, into the broken pipe of one that has died.
        # It fits into the pipe, which holds 64 KiB, so nothing has to read meanwhile.
        with suppress(BrokenPipeError):
            os.write(process.stdin.fileno(), b"\n".join(map(msgspec.json.encode, everything)) + b"\n")
        greeting = process.stdout.readline(_LONGEST)
        if greeting and not greeting.startswith(b'{"QMP"'):
            _kill(process)
            start = greeting[:60].decode(errors="replace").strip()
            raise QemuError(
                f"{path} is not QEMU: it printed {start!r} where QMP's greeting belongs", "check qemu.binary"
            )
        # quit comes after the last answer: QEMU drops what a full pipe has not taken by then.
        while line := process.stdout.readline(_LONGEST):
            if _note(line, answers) == questions[-1]["id"]:
                break
        _, said = process.communicate(b'{"execute": "quit"}\n')
    return bytes(said).decode(errors="replace").strip()


def _ending(status: int) -> str:
    """Say how a QEMU ended that has not told what it was asked."""
    if status < 0:
        return f"died of signal {-status} ({signal.strsignal(-status)}) when it was asked what it can do"
    return f"does not answer as QEMU does, and ended with status {status}"


def _note(line: bytes, answers: dict[str, Any]) -> str | None:
    """Keep an answer under its id; give the id of an answer or of a refusal."""
    try:
        message = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    if not isinstance(message, dict) or not isinstance(message.get("id"), str):
        return None
    name: str = message["id"]
    if "return" in message:
        answers[name] = message["return"]
    return name
