"""`qlaunch serial NAME`: the guest's serial console."""

import argparse
import os
import re
import select
import sys
from contextlib import ExitStack
from typing import BinaryIO

from qlaunch.cli.machines import running
from qlaunch.cli.raw_terminal import raw_terminal
from qlaunch.errors import HostError, MonitorError
from qlaunch.run.folder import Record
from qlaunch.run.serial import SerialLine

_ESCAPE = b"\x1d"  # Ctrl-]
_MENU = "q leave, b break, l log on or off, w window size to the guest, ] Ctrl-] itself, any other key: go on"
# Questions to a terminal: asked again from the scroll-back, their answers would be typed into the guest.
_QUESTION = re.compile(rb"\x1b\[[0-9;?>=]*[cn]|\x1bZ|\x1bP\+q[^\x1b]*\x1b\\|\x1b\]1[01];\?(\x07|\x1b\\)|\x05")


def run(options: argparse.Namespace) -> int:
    """Connect a terminal, or a pipe, with the guest's serial port until somebody leaves or the machine is gone."""
    _, record = running(options.name)
    with SerialLine(record.duty) as line, ExitStack() as stack:
        session = _Session(line, record, read_only=options.read_only)
        stack.callback(session.close)
        if options.log:
            session.log_to(options.log)
        session.show(_QUESTION.sub(b"", line.log.tail(options.lines)))
        why_not = "" if options.read_only else line.take()
        if why_not:
            session.say(why_not)
        raw = stack.enter_context(raw_terminal())
        if raw:
            session.say(f"serial port of {record.duty.name}; Ctrl-] for the menu, twice to leave")
        session.relay(reads_keys=raw or not options.read_only)
    return 0


class _Session:
    """What one terminal and one serial port say to each other."""

    def __init__(self, line: SerialLine, record: Record, *, read_only: bool) -> None:
        self._line = line
        self._record = record
        self._log: BinaryIO | None = None
        self._read_only = read_only
        self._in_menu = False
        self._refused = False

    def relay(self, *, reads_keys: bool) -> None:
        """Pass bytes on, both ways, until the end."""
        log = self._line.log
        qemu = self._record.qemu
        assert qemu  # noqa: S101 - it runs
        pidfd = os.pidfd_open(qemu.pid) if qemu.is_alive() else -1
        try:
            poll = select.poll()
            for descriptor in (pidfd, log.descriptor, sys.stdin.fileno() if reads_keys else -1):
                if descriptor >= 0:
                    poll.register(descriptor, select.POLLIN)
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()} if pidfd >= 0 else {pidfd}
                self._pass_on(log.read())
                if pidfd in ready:
                    self.say(f"{self._record.duty.name} is gone")
                    return
                if reads_keys and sys.stdin.fileno() in ready:
                    keys = os.read(sys.stdin.fileno(), 4096)
                    if not keys and not sys.stdin.isatty():  # a pipe that has ended: what comes is still shown
                        poll.unregister(sys.stdin.fileno())
                    elif not keys or not self._typed(keys):
                        return
        finally:
            if pidfd >= 0:
                os.close(pidfd)

    def show(self, data: bytes) -> None:
        """Print what the guest said, as it said it."""
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]

    def say(self, text: str) -> None:
        """Say something of our own, on a line of its own."""
        os.write(sys.stderr.fileno(), f"\r\n[{text}]\r\n".encode())

    def log_to(self, path: str) -> None:
        """Write what comes from now on to a file too. Raises HostError."""
        try:
            self._log = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close
        except OSError as error:
            raise HostError(f"cannot write the log {path}: {(error.strerror or '').lower()}") from error

    def close(self) -> None:
        """Close the log."""
        if self._log:
            self._log.close()
            self._log = None

    def _pass_on(self, data: bytes) -> None:
        if self._log:
            try:
                self._log.write(data)
            except OSError as error:
                self.close()
                self.say(f"the log is not whole: {(error.strerror or '').lower()}")
        self.show(data if self._line.is_held else _QUESTION.sub(b"", data))

    def _typed(self, keys: bytes) -> bool:
        """Take keys; False when they say to leave. A pipe has no menu: its bytes are the guest's."""
        if not sys.stdin.isatty():
            self._send(keys)
            return True
        while keys:
            if self._in_menu:
                self._in_menu, choice, keys = False, keys[:1], keys[1:]
                if choice in (b"q", b"Q", b".", _ESCAPE):
                    return False
                self._choose(choice)
                continue
            plain, escape, keys = keys.partition(_ESCAPE)
            if plain:
                self._send(plain)
            if escape:
                self._in_menu = True
                self.say(_MENU)
        return True

    def _choose(self, choice: bytes) -> None:
        match choice:
            case b"]":
                self._send(_ESCAPE)
            case b"b":
                try:
                    self._line.send_break()
                    self.say("break sent")
                except MonitorError as error:
                    self.say(error.message)
            case b"l":
                self._switch_log()
            case b"w":
                size = os.get_terminal_size(sys.stdin.fileno())
                self._send(f"stty rows {size.lines} columns {size.columns}\r".encode())
            case _:
                self.say("going on")

    def _switch_log(self) -> None:
        if self._log:
            self.close()
            self.say("log off")
            return
        path = f"{self._record.duty.name}-serial.log"
        try:
            self.log_to(path)
            self.say(f"log on: {path}")
        except HostError as error:
            self.say(error.message)

    def _send(self, keys: bytes) -> None:
        """Type; who had to read only becomes the one who types as soon as the line is free."""
        why_not = "this is for reading" if self._read_only else self._line.take()
        if why_not and not self._refused:
            self.say(why_not)
        self._refused = bool(why_not)
        if not why_not:
            self._line.send(keys)
