"""QMP for people and scripts: a plain socket and a thread that listens. No event loop, so that a question is quick.

Several tasks may ask at once; answers are told apart by their ids.

Source: QEMU's ``docs/interop/qmp-spec.rst``.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Self

import msgspec

from qlaunch.errors import CommandError, MonitorError

Event = dict[str, Any]
Hear = Callable[[Event], None]


class Wire:
    """One QMP session, from the greeting on. ``trace`` hears every line, as it was sent and as it came."""

    def __init__(
        self, connection: socket.socket, hear: Hear = lambda _: None, trace: Callable[[str], None] | None = None
    ) -> None:
        """Listen to a socket that is connected and has greeted nobody yet; ``start`` does the rest."""
        self._socket = connection
        self._hear = hear
        self._trace = trace
        self._answers: dict[int, Event] = {}
        self._wanted: set[int] = set()
        self._number = 0
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._lines: BinaryIO = connection.makefile("rb")
        self.on_end: Callable[[], None] = lambda: None
        self.is_over = False
        self.garbage = ""  # what came instead of QMP
        self.last_words: Event = {}  # the SHUTDOWN that tells why QEMU ends
        self.was_told_to_quit = False

    def start(self, greeting_s: float) -> None:
        """Wait for the greeting, and agree. Raises MonitorError, also when somebody else holds the monitor."""
        self._socket.settimeout(greeting_s)
        try:
            greeting = msgspec.json.decode(self._lines.readline() or b"null")
        except TimeoutError as error:
            raise BusyError(f"QEMU did not open its monitor within {greeting_s:g} s") from error
        except (OSError, msgspec.DecodeError) as error:
            raise MonitorError(f"what answers is no QMP monitor: {error}") from error
        if not isinstance(greeting, dict) or "QMP" not in greeting:
            told = greeting.get("error") if isinstance(greeting, dict) else None
            raise MonitorError(str(told or "QEMU closed its monitor before it said anything"))
        self._socket.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()
        self.execute("qmp_capabilities", seconds=greeting_s)

    def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, seconds: float | None = None
    ) -> object:
        """Run a command. Raises CommandError when QEMU refuses it, MonitorError when no answer comes."""
        message: dict[str, object] = {"execute": command}
        if arguments:
            message["arguments"] = dict(arguments)
        with self._changed:
            number = self._number = self._number + 1
            self._wanted.add(number)
        try:
            self._send({**message, "id": number})
            with self._changed:
                came = self._changed.wait_for(lambda: number in self._answers or self.is_over, seconds)
        finally:  # also when it is interrupted: an answer that comes later is nobody's
            with self._changed:
                self._wanted.discard(number)
                answer = self._answers.pop(number, None)
        if answer is None:
            within = (
                f"did not answer {command} within {seconds:g} s" if seconds and not came else f"ended during {command}"
            )
            raise MonitorError(f"the monitor {within}")
        if "error" in answer:
            told = answer["error"] if isinstance(answer["error"], dict) else {}
            raise CommandError(f"QEMU refused {command}: {told.get('desc', answer['error'])}")
        if command == "quit":
            self.was_told_to_quit = True
        return answer["return"]

    def wait_for_end(self) -> None:
        """Wait until the other side is gone."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over)

    def close(self) -> None:
        """End the session."""
        self.on_end = lambda: None
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: Event) -> None:
        line = msgspec.json.encode(message)
        if self._trace:
            self._trace(f"-> {line.decode()}")
        try:
            with self._sending:
                self._socket.sendall(line + b"\n")
        except OSError as error:
            raise MonitorError(f"the monitor ended before {message['execute']}") from error

    def _listen(self) -> None:
        try:
            for line in self._lines:
                if self._trace:
                    self._trace(f"<- {line.decode('utf-8', 'replace').strip()}")
                self._take(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.garbage = str(error)
        except (OSError, ValueError):  # closed, by either side
            pass
        with self._changed:
            self.is_over = True
            self._changed.notify_all()
        self.on_end()

    def _take(self, message: Event) -> None:
        if "event" in message:
            # The first one says why; the supervisor's own `quit`, which follows, does not.
            if message["event"] == "SHUTDOWN":
                self.last_words = self.last_words or message
            elif message["event"] == "RESUME":
                self.last_words = {}
            self._hear(message)
            return
        number = message.get("id")
        with self._changed:
            if number in self._wanted and ("return" in message or "error" in message):
                self._answers[number] = message
                self._changed.notify_all()


class BusyError(MonitorError):
    """QEMU's monitor serves somebody else, or QEMU hangs: it did not greet."""
