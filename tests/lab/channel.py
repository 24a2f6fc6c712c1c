"""The outer end of the lab's control channel: starts programs inside, and hands back what they say and how they end.

The inner end is agent.py, which has the wire format. One thread reads when somebody waits; there is no other.
"""

import base64
import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.lab.failure import LabError

PATIENCE_S = 120.0
# Everything is many times slower in emulation, and a second emulator may share the machine: what counts is that it
# ends.
GRACE_S = 20.0
Listener = Callable[[str, bytes], object]  # of which output, "out" or "err", and what was said there


class Ended(NamedTuple):
    """How a program ended: its status (minus the signal's number if a signal ended it), and all that it said."""

    argv: tuple[str, ...]
    status: int
    out: str
    err: str

    def checked(self) -> str:
        """Its standard output. Raises LabError with what it said if its status is not 0."""
        if self.status != 0:
            raise LabError(
                f"inside the lab, {' '.join(self.argv)[:200]} ended with status {self.status}: "
                f"{self.err.strip() or self.out.strip()}"
            )
        return self.out


class Job:
    """A program that runs inside."""

    def __init__(self, channel: "Channel", number: int, argv: tuple[str, ...], listener: Listener | None) -> None:
        self._channel = channel
        self.number = number
        self.argv = argv
        self.listener = listener
        self.out = b""
        self.err = b""
        self.status: int | None = None

    def wait(self, patience_s: float = PATIENCE_S) -> Ended:
        """Waits until it has ended. Past the deadline it is killed, and LabError tells what it had said."""
        if not self._channel.read_until(lambda: self.status is not None, patience_s):
            self.kill()
            if not self._channel.read_until(lambda: self.status is not None, GRACE_S):
                raise LabError(f"the emulated host answers nothing any more, since {' '.join(self.argv)[:200]}")
            said = (self.err or self.out).decode(errors="replace").strip()
            raise LabError(
                f"inside the lab, {' '.join(self.argv)[:200]} had not ended after {patience_s:.0f} s; "
                f"it had said: {said[-2000:]}"
            )
        assert self.status is not None
        return Ended(self.argv, self.status, self.out.decode(errors="replace"), self.err.decode(errors="replace"))

    def wait_for_output(self, text: str, patience_s: float = PATIENCE_S) -> None:
        """Waits until it has said a text, on either output. Raises LabError when it ends or falls silent first."""
        wanted = text.encode()
        self._channel.read_until(lambda: wanted in self.out + self.err or self.status is not None, patience_s)
        if wanted not in self.out + self.err:
            said = (self.out + self.err).decode(errors="replace").strip()
            raise LabError(
                f"inside the lab, {' '.join(self.argv)[:200]} never said {text!r}; status {self.status}, "
                f"it said: {said[-2000:]}"
            )

    def kill(self, number: int = 9) -> None:
        """Sends a signal to the program and to all of its session."""
        self._channel.send({"id": self.number, "kill": number})

    def hear(self, message: dict[str, Any]) -> None:
        for stream in ("out", "err"):
            if stream in message:
                data = base64.b64decode(message[stream])
                if self.listener is not None:
                    self.listener(stream, data)
                elif stream == "out":
                    self.out += data
                else:
                    self.err += data
        if "status" in message:
            self.status = message["status"]


class Channel:
    """A connection to the agent inside. ``gone`` makes the error that is raised when the emulator has died."""

    def __init__(self, path: str, gone: Callable[[], LabError]) -> None:
        self._gone = gone
        self._numbers = itertools.count(time.time_ns() // 1000)  # never those of somebody who was connected before
        self._jobs: dict[int, Job] = {}
        self._unread = b""
        self.greeted = False
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._socket.sendall(b"\n")  # ends half a line of somebody who was cut off

    def start(
        self,
        argv: Iterable[str],
        *,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        tty: bool = False,
        listener: Listener | None = None,
    ) -> Job:
        """Starts a program inside and does not wait for it. A listener gets what it says as it says it."""
        words = tuple(argv)
        asked: dict[str, Any] = {"argv": words, "env": env or {}, "cwd": cwd, "tty": tty}
        if stdin is not None:
            asked["stdin"] = base64.b64encode(stdin).decode()
        return self._ask(asked, words, listener)

    def run(
        self,
        *argv: str,
        patience_s: float = PATIENCE_S,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
    ) -> Ended:
        """Runs a program inside to its end."""
        return self.start(argv, env=env, cwd=cwd, stdin=stdin).wait(patience_s)

    def shell(self, script: str, patience_s: float = PATIENCE_S) -> str:
        """Runs a shell script inside, hands back its standard output. Raises LabError unless it ends with status 0."""
        return self.run("sh", "-ec", script, patience_s=patience_s).checked()

    def call(self, source: str, function: str, patience_s: float = PATIENCE_S, **arguments: Any) -> Any:
        """Runs a function of a Python source inside, as root, in a process of its own.

        Hands back what it returns, by JSON.
        """
        job = self._ask({"python": source, "call": function, "arguments": arguments}, (function,), None)
        return json.loads(job.wait(patience_s).checked())

    def type_into(self, job: Job, data: bytes) -> None:
        self.send({"id": job.number, "in": base64.b64encode(data).decode()})

    def resize(self, job: Job, rows: int, columns: int) -> None:
        self.send({"id": job.number, "size": [rows, columns]})

    def send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.settimeout(PATIENCE_S)
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise self._gone() from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def read_until(self, done: Callable[[], bool], patience_s: float) -> bool:
        """Reads what comes from inside until something is so; False when the time is over first."""
        deadline = time.monotonic() + patience_s
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                self.read_some()
        return True

    def read_some(self) -> None:
        """Reads what has come from inside, or waits for it as long as the socket's timeout says (TimeoutError then)."""
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        self._take(data)

    def close(self) -> None:
        self._socket.close()

    def _ask(self, asked: dict[str, Any], argv: tuple[str, ...], listener: Listener | None) -> Job:
        job = Job(self, next(self._numbers), argv, listener)
        self._jobs[job.number] = job
        self.send({"id": job.number, **asked})
        return job

    def _take(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:  # the rest of a line that was meant for somebody before
                continue
            if "hello" in message:
                self.greeted = True
            job = self._jobs.get(message.get("id"))
            if job is not None:
                job.hear(message)
                if job.status is not None:
                    del self._jobs[job.number]
