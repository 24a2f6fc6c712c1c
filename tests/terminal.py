"""A program in a pseudo-terminal: type keys, wait for words on the screen, look at the screen."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

# A screen that does not show what is wanted within this has failed; nobody waits for it otherwise.
PATIENCE_S = 60
_PIECE = re.compile(r"\x1b\[([0-9;?]*)([a-zA-Z])|\x1b\][^\x07]*\x07|\x1b.|[\r\n\b]|[^\x1b\r\n\b]+")


class Screen:
    """As much of a terminal as our programs use: letters, cursor movements, erasing."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.history: list[str] = []
        self._lines = [""] * rows
        self._row = self._column = 0
        self._rest = ""

    @property
    def text(self) -> str:
        """What is to be seen, and what has scrolled away at the top."""
        return "\n".join([*self.history, *(line.rstrip() for line in self._lines)])

    def feed(self, text: str) -> None:
        """Take what a program prints; half an escape sequence waits for its other half."""
        text, self._rest = self._rest + text, ""
        cut = text.rfind("\x1b")
        if cut >= 0 and re.fullmatch(r"\x1b(\[[0-9;?]*)?", text[cut:]):
            text, self._rest = text[:cut], text[cut:]
        for piece in _PIECE.finditer(text):
            if piece[2]:
                self._move(piece[2], [int(number or 0) for number in piece[1].replace("?", "").split(";")])
            elif piece[0] == "\r":
                self._column = 0
            elif piece[0] == "\n":
                self._down()
            elif piece[0] == "\b":
                self._column = max(0, self._column - 1)
            elif piece[0][0] != "\x1b":
                self._write(piece[0])

    def _write(self, text: str) -> None:
        for letter in text:
            if self._column >= self.columns:
                self._column = 0
                self._down()
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        if self._row < self.rows - 1:
            self._row += 1
            return
        self.history.append(self._lines.pop(0).rstrip())
        self._lines.append("")

    def _move(self, kind: str, numbers: list[int]) -> None:
        step = max(1, numbers[0])
        match kind:
            case "A":
                self._row = max(0, self._row - step)
            case "B":
                self._row = min(self.rows - 1, self._row + step)
            case "C":
                self._column = min(self.columns - 1, self._column + step)
            case "D":
                self._column = max(0, self._column - step)
            case "H":
                self._row, self._column = step - 1, max(1, numbers[-1]) - 1 if len(numbers) > 1 else 0
            case "K":
                self._lines[self._row] = self._lines[self._row][: self._column]
            case "J":
                self._lines[self._row] = self._lines[self._row][: self._column]
                self._lines[self._row + 1 :] = [""] * (self.rows - self._row - 1)
                if numbers[0] == 2:
                    self._lines = [""] * self.rows
            case _:
                pass


class Terminal:
    """One qlaunch, its terminal, and what it shows."""

    def __init__(self, *words: str, cwd: Path, env: Mapping[str, str], columns: int = 80, rows: int = 24) -> None:
        self._leader, follower = pty.openpty()
        self.raw = ""
        self.screen = Screen(columns, rows)
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self._leader)
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *words],
            cwd=cwd,
            env={**env, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"},
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        self._follower = follower

    def resize(self, columns: int, rows: int) -> None:
        """Make the window another size, as dragging its corner does."""
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, words: str) -> str:
        """Read until the words stand somewhere on the screen; give the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.screen.text:
            if not self._read(deadline):
                pytest.fail(f"{words!r} did not come:\n{self.screen.text}")
        return self.screen.text

    def type(self, keys: str) -> None:
        """Press keys, on a screen that is empty from now on in what ``wait_for`` sees of it."""
        self.screen = Screen(self.screen.columns, self.screen.rows)
        os.write(self._leader, keys.encode())

    def end(self) -> int:
        """Wait for the program's end; give its exit status. The terminal must be as it was."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            if not self._read(min(deadline, time.monotonic() + 0.05)) and time.monotonic() > deadline:
                pytest.fail(f"the program does not end:\n{self.screen.text}")
        while self._read(time.monotonic()):
            pass
        assert "Traceback" not in self.raw, self.raw
        assert termios.tcgetattr(self._leader)[:4] == self.before[:4], "the terminal was not restored"
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._leader)
        self._leader = -1

    def _read(self, deadline: float) -> bool:
        ready = select.select([self._leader], [], [], max(0, deadline - time.monotonic()))[0]
        if ready:
            text = os.read(self._leader, 65536).decode("utf-8", "replace")
            self.raw += text
            self.screen.feed(text)
        return bool(ready)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for descriptor in (self._leader, self._follower):
            if descriptor >= 0:
                os.close(descriptor)


if __name__ == "__main__":
    # The child of a Terminal: its standard input becomes the terminal that Ctrl-C and a hang-up go to.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.executable, [sys.executable, "-m", "qlaunch", *sys.argv[1:]])  # noqa: S606
