"""What the supervisor says while a machine runs.

To its log, to whoever started it, and to whoever asked for the end.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress

Say = Callable[[str], None]


class Voice:
    """One place to speak.

    Listeners come and go. A listener that fails is dropped: speaking never stops the supervisor.
    """

    def __init__(self, log_path: str, *, anew: bool = False) -> None:
        """``anew`` begins the log again: it is that of one run."""
        self._listeners: list[Say] = []
        self._log_path = log_path
        self.last = ""  # what was said last
        if anew:
            with suppress(OSError):
                os.unlink(log_path)

    def say(self, text: str) -> None:
        """Say a sentence to all, and write it to the log with the time."""
        self.last = text
        self._write(text)
        for listener in list(self._listeners):
            try:
                listener(text)
            except OSError:  # a terminal that went away
                self._listeners.remove(listener)

    def add(self, listener: Say) -> None:
        """Let a listener hear what is said from now on."""
        self._listeners.append(listener)

    def drop(self, listener: Say) -> None:
        """Stop speaking to a listener."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _write(self, text: str) -> None:
        try:
            with open(self._log_path, "a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        except OSError:  # a full disk must not end a guest
            return
