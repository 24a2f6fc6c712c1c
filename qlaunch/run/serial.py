"""A person's end of a serial port: everybody reads the log, one at a time holds the line and types.

Source: ``qapi/char.json`` (query-chardev, chardev-send-break); QEMU's ``chardev/char-socket.c`` (the filename of a
socket that nobody is connected to begins with "disconnected:").
"""

import fcntl
import os
import socket
import threading
from contextlib import suppress
from typing import Self

from qlaunch.duty import Duty
from qlaunch.errors import HostError, MonitorError
from qlaunch.run.request import execute
from qlaunch.run.serial_log import SerialLog

_CHARDEV = "serial0-chr"


class SerialLine:
    """One person at a serial port."""

    def __init__(self, duty: Duty) -> None:
        """Begin to listen. Raises HostError where there is no port, or no log of it."""
        if not duty.serial:
            raise HostError(f"{duty.name} has no serial port", "set serial.enabled = true and start it again")
        self._duty = duty
        try:
            self.log = SerialLog(f"{duty.state}/serial.log")
        except HostError as error:
            hint = f"set serial.log = true; without it one program may connect to {duty.socket('serial')}"
            raise HostError(error.message, hint) from error
        self._lock: int | None = None
        self._line: socket.socket | None = None

    @property
    def is_held(self) -> bool:
        """Whether what is typed reaches the guest."""
        return self._line is not None

    def take(self) -> str:
        """Take the line if nobody holds it. Gives nothing, or the sentence why not."""
        if self._line:
            return ""
        lock = os.open(f"{self._duty.runtime}/serial.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return "somebody else types at this port: this is for reading"
        if self._is_taken():
            os.close(lock)
            return "another program is connected to this port: this is for reading"
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.connect(self._duty.socket("serial"))
        except OSError as error:
            line.close()
            os.close(lock)
            return f"nobody listens on {self._duty.socket('serial')}: {(error.strerror or '').lower()}"
        self._lock, self._line = lock, line
        # The log tells what the guest says. What comes here is read and dropped: a port that is full stops its guest.
        threading.Thread(target=_drop, args=(line,), daemon=True).start()
        return ""

    def send(self, keys: bytes) -> bool:
        """Type. Tells whether the line took it."""
        try:
            if self._line:
                self._line.sendall(keys)
                return True
        except OSError:  # QEMU is going
            pass
        return False

    def send_break(self) -> None:
        """Send a break. Raises MonitorError."""
        execute(self._duty.socket("control"), "chardev-send-break", {"id": _CHARDEV})

    def _is_taken(self) -> bool:
        with suppress(MonitorError):
            chardevs = execute(self._duty.socket("control"), "query-chardev")
            for one in chardevs if isinstance(chardevs, list) else []:
                if one.get("label") == _CHARDEV:
                    return not str(one.get("filename", "")).startswith("disconnected:")
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.log.__exit__(*exception)
        if self._line:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
            self._line.close()
        if self._lock is not None:
            os.close(self._lock)


def _drop(line: socket.socket) -> None:
    with suppress(OSError):
        while line.recv(65536):
            pass
