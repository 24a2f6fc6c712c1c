"""Find a QMP session for one more person: the machine's second socket, or a share of the supervisor's.

QMP serves one client a socket and lets the next one hang. Consoles therefore hold a lock beside the socket;
whoever does not get it is served by the supervisor, which passes commands and events on. Without a supervisor one
waits in line.
"""

import fcntl
import os
import socket
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qlaunch.devices.monitor import PEOPLE
from qlaunch.errors import MonitorError
from qlaunch.run.events import describe
from qlaunch.run.wire import BusyError, Hear, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qlaunch.duty import Duty
    from qlaunch.run.folder import Record
    from qlaunch.run.voice import Say

GREETING_S = 5.0
LOCK = "console.lock"
_INSTANT_S = 0.04  # flock has no wait with an end
_LAST_WORDS_S = 1.0  # QEMU closes its monitor a moment before it is gone
_REASONS = {
    "host-qmp-quit": "it was ended",
    "host-qmp-system-reset": "it was reset, and on_reboot says stop",
    "host-signal": "QEMU was ended by a signal",
}


@contextmanager
def open_wire(
    duty: "Duty", say: "Say", hear: Hear = lambda _: None, trace: Callable[[str], None] | None = None
) -> "Iterator[Wire]":
    """Open a session with a running machine; ``say`` hears whether it is shared. Raises MonitorError."""
    lock = os.open(f"{duty.runtime}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with _connect(duty, lock, say, hear, trace) as wire:
            yield wire
    finally:
        os.close(lock)


def _connect(duty: "Duty", lock: int, say: "Say", hear: Hear, trace: Callable[[str], None] | None) -> Wire:
    if _is_free(lock):
        try:
            return _begin(duty.socket(PEOPLE), None, hear, trace)
        except BusyError:
            say("another program holds the monitor's socket; sharing the supervisor's session")
            return _begin(duty.socket("control"), b'{"ask":"share"}\n', hear, trace)
    try:
        wire = _begin(duty.socket("control"), b'{"ask":"share"}\n', hear, trace)
    except MonitorError:
        say("another console is open, and no supervisor is there to share with; waiting until it closes")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _begin(duty.socket(PEOPLE), None, hear, trace)
    say("another console is open: this one shares the supervisor's session")
    return wire


def _is_free(lock: int) -> bool:
    """Take the lock, unless a console has it: who only looks at it, for a question, has it for an instant."""
    end = time.monotonic() + _INSTANT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_INSTANT_S / 20)
        else:
            return True


def _begin(path: str, first: bytes | None, hear: Hear, trace: Callable[[str], None] | None) -> Wire:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(GREETING_S)
        connection.connect(path)
        if first:
            connection.sendall(first)
        wire = Wire(connection, hear, trace)
        wire.start(GREETING_S)
    except OSError as error:
        connection.close()
        raise MonitorError(f"nobody listens on {path}: {(error.strerror or str(error)).lower()}") from error
    except BaseException:
        connection.close()
        raise
    return wire


def why_it_ended(wire: Wire, record: "Record") -> MonitorError:
    """Give the reason for which a session is over, for whoever did not ask for it."""
    name, hint = record.duty.name, f"see: qlaunch logs {record.duty.name}"
    if wire.garbage:
        return MonitorError(f"the monitor of {name} sent what is no QMP: {wire.garbage}", hint)
    data = wire.last_words.get("data") or {}
    if words := describe("SHUTDOWN", data):
        return MonitorError(f"{name} is gone: {words}", hint)
    if reason := _REASONS.get(str(data.get("reason"))):
        return MonitorError(f"{name} is gone: {reason}", hint)
    if record.qemu and not record.qemu.ends_within(_LAST_WORDS_S):
        return MonitorError(f"the monitor of {name} closed, though QEMU {record.qemu.pid} runs on", "open it again")
    return MonitorError(f"{name} is gone: QEMU died without a word", hint)
