"""The serial port for programs: everything is read as it comes, patterns are waited for, text is sent.

It is read all the time, whoever waits: a port that is full stops its guest.
"""

import codecs
import math
import re
from collections.abc import Callable

import trio

from qlaunch.errors import DeadlineError, MonitorError, UsageError

# No pattern needs more of what came before; what nobody has waited for is kept up to a bound.
LONGEST_MATCH = 1 << 16
_KEPT = 1 << 23
Hear = Callable[[bytes | bytearray], None]


class SerialTalk:
    """One program at a serial port. ``hear`` gets each byte as it came."""

    def __init__(self, stream: trio.SocketStream, hear: Hear = lambda _: None) -> None:
        self._stream = stream
        self._hear = hear
        self._text = ""  # what came, and has not been matched yet
        self._came = trio.Event()
        self.is_over = False

    async def pump(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until the guest hangs up."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        task_status.started()
        try:
            async for chunk in self._stream:
                self._hear(chunk)
                text = (self._text + decoder.decode(chunk)).replace("\r\n", "\n")
                self._text = text[-_KEPT:]
                self._tell()
        except trio.BrokenResourceError:
            pass
        finally:
            self.is_over = True
            self._stream.socket.close()
            self._tell()

    def _tell(self) -> None:
        self._came.set()
        self._came = trio.Event()

    async def expect(self, pattern: str | re.Pattern[str], timeout_s: float = math.inf) -> re.Match[str]:
        """Wait for a regular expression in what was printed since the last match; ``^`` and ``$`` are those of lines.

        Raises DeadlineError, MonitorError when the guest hangs up before, and UsageError for a pattern that is none.
        """
        compiled = compile_pattern(pattern) if isinstance(pattern, str) else pattern
        searched = 0
        with trio.move_on_after(timeout_s):
            while True:
                came = self._came
                if match := compiled.search(self._text, max(0, searched - LONGEST_MATCH)):
                    self._text = self._text[match.end() :]
                    return match
                if self.is_over:
                    raise MonitorError(f"the guest hung up before {compiled.pattern!r} was seen{self._last_line()}")
                searched = len(self._text)
                await came.wait()
        raise DeadlineError(f"{compiled.pattern!r} was not seen within {timeout_s:g} s{self._last_line()}")

    async def send(self, text: str) -> None:
        """Type. Raises MonitorError when nobody listens any more."""
        try:
            await self._stream.send_all(text.encode())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise MonitorError("the guest's serial port is closed") from error

    def _last_line(self) -> str:
        lines = self._text.rstrip().rsplit("\n", 1)
        return f"; the last line was: {lines[-1][-120:]!r}" if lines[-1] else ""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Make a pattern of text, in which ``^`` and ``$`` are those of lines. Raises UsageError."""
    try:
        return re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a regular expression: {error}") from error
