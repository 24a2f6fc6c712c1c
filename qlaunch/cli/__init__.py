"""The command line: verbs, one file each, and the one place that prints and exits. Nobody imports it.

Every verb is imported only when it is asked for, so that `--help` and quick verbs do not wait for what others need.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from qlaunch.errors import QlaunchError


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run one command line and give its exit status."""
    _open_closed_streams()
    try:
        status = _ask_a_question(sys.argv[1:] if arguments is None else arguments)
        return _run_verb(arguments) if status is None else status
    except BrokenPipeError:
        # The reader of a pipe has gone (`qlaunch argv x | head`): not an error, but Python would print one at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _ask_a_question(words: "Sequence[str]") -> int | None:
    """Take the short way, which imports next to nothing, where there is one."""
    if words[:1] != ["console"]:
        return None
    from qlaunch.cli.question import ask  # noqa: PLC0415

    return ask(words)


def _run_verb(arguments: "Sequence[str] | None") -> int:
    from importlib import import_module  # noqa: PLC0415 - what follows here takes most of the time of a quick verb

    from qlaunch.cli.parser import parse  # noqa: PLC0415
    from qlaunch.errors import QlaunchError  # noqa: PLC0415

    try:
        options = parse(arguments)
        verb = import_module(f"qlaunch.cli.{options.module}")
        status: int = verb.run(options)
        sys.stdout.flush()
    except QlaunchError as error:
        _tell(error)
        return error.exit_status
    return status


def _open_closed_streams() -> None:
    """Open what `>&-` closed on nothing: the next file opened would otherwise become a standard stream."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode))


def _tell(error: "QlaunchError") -> None:
    """Print a failure: what is wrong, what QEMU said about it, what to do next."""
    from qlaunch.cli.terminal import say_error, say_hint, say_problem  # noqa: PLC0415
    from qlaunch.errors import MachineError, QemuError  # noqa: PLC0415

    if isinstance(error, MachineError):
        for problem in error.problems:
            say_problem(problem)
        return
    say_error(error.message)
    if isinstance(error, QemuError) and error.stderr:
        for line in error.stderr.splitlines():
            print(f"  {line}", file=sys.stderr)
    if error.hint:
        say_hint(error.hint)
