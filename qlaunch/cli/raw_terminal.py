"""A terminal whose every key goes elsewhere, and that is as it was afterwards, whatever happens meanwhile.

Source: ``termios(3)`` (cfmakeraw); XTerm Control Sequences (DECSET 7, 25, 1000, 1002, 1006, 2004; SGR 0).
"""

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

# A guest that was drawing may leave the mouse, the cursor, colours and pasting as it liked them.
_SANE = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1006l\x1b[?2004l"
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def raw_terminal() -> Iterator[bool]:
    """Make the terminal raw for a block; gives whether standard input is one at all."""
    if not sys.stdin.isatty():
        yield False
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    handlers = {number: signal.signal(number, _leave) for number in _ENDING}
    try:
        tty.setraw(descriptor, termios.TCSANOW)  # what was typed ahead is for the guest
        yield True
    finally:
        with suppress(termios.error, OSError):  # the window is closed
            # Flushed, so that a terminal's late answers are not typed into the shell; at once, even if output is held.
            termios.tcflush(descriptor, termios.TCIFLUSH)
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), _SANE)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End as the signal would have, but through every ``finally``."""
    raise SystemExit(128 + number)
