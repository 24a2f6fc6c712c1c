"""How words reach the terminal: colour only there, messages to stderr, results to stdout.

Source: no-color.org (NO_COLOR); ECMA-48 (SGR).
"""

import os
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False  # a quick question waits neither for typing nor for msgspec
if TYPE_CHECKING:
    from typing import TextIO

    from qlaunch.errors import Problem

_RED, _YELLOW, _DIM, _BOLD = "31", "33", "2", "1"
_SEVERITY = {"error": _RED, "warning": _YELLOW, "info": _DIM}


def is_terminal(stream: "TextIO | None" = None) -> bool:
    """Whether people read this stream as it comes; stderr when none is named."""
    return (stream or sys.stderr).isatty() and os.environ.get("TERM", "dumb") != "dumb"


def look() -> tuple[int, bool]:
    """Give how an answer on stdout looks: the width to fold it to, 0 for programs, and whether it is coloured."""
    people = is_terminal(sys.stdout)
    return size()[0] if people else 0, people and "NO_COLOR" not in os.environ


def size() -> tuple[int, int]:
    """Give the columns and lines of the terminal behind stdout."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24


def say_error(message: str) -> None:
    """Print what is wrong."""
    _print(f"{_coloured('error:', _RED)} {message}")


def say_hint(hint: str) -> None:
    """Print what to do next."""
    _print(f"  {_coloured('→' if _is_utf8() else '->', _DIM)} {hint}")


def say_problem(problem: "Problem") -> None:
    """Print a problem with its place, and its hint below."""
    word = _coloured(f"{problem.severity}:", _SEVERITY[problem.severity])
    _print(f"{word} {problem}")
    if problem.hint:
        say_hint(problem.hint)


def give_up_stderr() -> None:
    """Let what is still to be said go nowhere: Python would end with status 120 over words that nobody reads."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stderr.fileno())
    os.close(null)


def bold(text: str) -> str:
    """Emphasize text of a result, on a terminal."""
    return f"\x1b[{_BOLD}m{text}\x1b[0m" if is_terminal(sys.stdout) and "NO_COLOR" not in os.environ else text


def short(number: float | None, units: str = "BKMGT") -> str:
    """Print bytes in at most four letters; - for what is not known. With ``units`` of " KM", other things."""
    if number is None:
        return "-"
    step = 1024 if units.startswith("B") else 1000
    for unit in units[:-1]:
        if number < 999.5:
            return f"{number:.0f}{unit}".rstrip()
        number /= step
    return f"{number:.0f}{units[-1]}"


class Live:
    """Lines of a running machine on stderr, and on a terminal a last line that says how it is now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._line = ""
        self._is_terminal = is_terminal()

    @property
    def wants_status(self) -> bool:
        """Whether there is somebody to look at a status line."""
        return self._is_terminal

    def say(self, text: str) -> None:
        """Print a sentence with the time."""
        self._clear()
        stamp = _coloured(time.strftime("%H:%M:%S"), _DIM)
        try:
            sys.stderr.write(f"{stamp} {self.name}: {text}\n")  # at once: other threads talk of other machines
            sys.stderr.flush()
        except OSError:  # the terminal, or whoever read our words, has gone
            give_up_stderr()
        self._draw()

    def show(self, line: str) -> None:
        """Replace the last line."""
        self._clear()
        self._line = line
        self._draw()

    def end(self) -> None:
        """Take the last line away."""
        self._clear()
        self._line = ""

    def _clear(self) -> None:
        if self._line:
            with suppress(OSError):
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _draw(self) -> None:
        if self._line:
            width = 79
            with suppress(OSError):
                width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            with suppress(OSError):
                print(_coloured(self._line[:width], _DIM), end="", file=sys.stderr, flush=True)


def _coloured(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if is_terminal() and "NO_COLOR" not in os.environ else text


def _is_utf8() -> bool:
    return (sys.stderr.encoding or "").lower().replace("-", "") == "utf8"


def _print(line: str) -> None:
    print(line, file=sys.stderr)
