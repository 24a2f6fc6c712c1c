"""The guest agent, for people and scripts: questions, files, commands. Blocking.

Its channel serves one client at a time, the supervisor's way down among them: so each turn connects, asks, and leaves.

Source: QEMU's ``qga/qapi-schema.json``; ``docs/interop/qemu-ga.rst`` (0xFF makes the agent drop half a message, and
comes before its answer to guest-sync-delimited).
"""

import base64
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO

import msgspec

from qlaunch.duty import Duty
from qlaunch.errors import CommandError, HostError, MonitorError

SYNC_S = 5.0  # an agent that is there answers in milliseconds
ANSWER_S = 60.0  # a guest that swaps does not
CHUNK = 1 << 20
_LONGEST_ANSWER = 256 << 20


class GuestAgent:
    """The agent of one running machine."""

    def __init__(self, duty: Duty) -> None:
        """Raises HostError for a machine without the channel."""
        self._duty = duty
        if not os.path.exists(duty.socket("agent")):
            raise HostError(f"{duty.name} has no channel for a guest agent", "set agent.enabled = true")

    @contextmanager
    def turn(self) -> "Iterator[Turn]":
        """Talk to the agent for a moment. Raises MonitorError when it does not prove within seconds to be there."""
        lock = os.open(f"{self._duty.runtime}/agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # each turn is short
            connection.settimeout(SYNC_S)
            connection.connect(self._duty.socket("agent"))
            with connection.makefile("rb") as answers:
                turn = Turn(connection, answers, self._duty.name)
                turn.greet()
                yield turn
        except TimeoutError as error:
            raise self._silent() from error
        except msgspec.ValidationError as error:
            raise MonitorError(
                f"the guest agent of {self._duty.name} said what is not to be understood: {error}"
            ) from error
        except OSError as error:
            message = f"the guest agent's channel of {self._duty.name} ended: {(error.strerror or 'closed').lower()}"
            raise MonitorError(message) from error
        finally:
            connection.close()
            os.close(lock)

    def _silent(self) -> MonitorError:
        message = f"the guest agent of {self._duty.name} does not answer"
        return MonitorError(message, "start qemu-guest-agent in the guest; a guest that boots needs time")


class Turn:
    """One conversation with an agent that has proved itself."""

    def __init__(self, connection: socket.socket, answers: BinaryIO, name: str) -> None:
        self._connection = connection
        self._answers = answers
        self._name = name

    def greet(self) -> None:
        """Find out where the agent's answers begin: what a session before left unread is dropped."""
        token = int.from_bytes(os.urandom(4), "big")
        self._connection.sendall(b"\xff" + _command("guest-sync-delimited", {"id": token}))
        for _ in range(1000):
            line = self._answers.readline(_LONGEST_ANSWER)
            if not line:
                break
            with suppress(msgspec.DecodeError):
                answer = msgspec.json.decode(line.rpartition(b"\xff")[2])
                if isinstance(answer, dict) and answer.get("return") == token:
                    self._connection.settimeout(ANSWER_S)
                    return
        raise MonitorError(f"what answers in {self._name} is no guest agent")

    def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Run an agent's command. Raises CommandError when it refuses."""
        self._connection.sendall(_command(command, arguments or {}))
        return self._answer(command)

    def ask_both(self, first: tuple[str, Mapping[str, object]], second: tuple[str, Mapping[str, object]]) -> list[bool]:
        """Run two commands in one go, the second also when the first was refused; tells which were not."""
        self._connection.sendall(_command(*first) + _command(*second))
        return [self._is_agreed(command) for command, _ in (first, second)]

    def _is_agreed(self, command: str) -> bool:
        try:
            self._answer(command)
        except CommandError:
            return False
        return True

    def _answer(self, command: str) -> object:
        line = self._answers.readline(_LONGEST_ANSWER)
        try:
            answer = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            if "error" in answer:
                told = msgspec.json.decode(answer["error"], type=dict[str, object])
                raise CommandError(f"the guest agent refused {command}: {told.get('desc', told)}")
            return msgspec.json.decode(answer["return"])
        except (msgspec.MsgspecError, KeyError) as error:
            raise MonitorError(f"the guest agent of {self._name} broke off during {command}") from error

    def open(self, path: str, mode: str) -> int:
        """Open a file in the guest and give its handle."""
        return msgspec.convert(self.ask("guest-file-open", {"path": path, "mode": mode}), int)

    def read(self, handle: int) -> bytes:
        """Read what comes next in a file; nothing at its end of now."""
        got = msgspec.convert(self.ask("guest-file-read", {"handle": handle, "count": CHUNK}), _Read)
        return base64.b64decode(got.data)

    def write(self, handle: int, data: bytes) -> None:
        """Write all of it."""
        while data:
            arguments = {"handle": handle, "buf-b64": base64.b64encode(data).decode()}
            written = msgspec.convert(self.ask("guest-file-write", arguments), _Written).count
            if written <= 0:
                raise MonitorError("the guest takes no more: is its disk full?")
            data = data[written:]

    def close(self, handle: int) -> None:
        """Close a file, with what was written on its way to the disk."""
        self.ask("guest-file-close", {"handle": handle})


class _Read(msgspec.Struct, rename={"data": "buf-b64"}):
    data: str


class _Written(msgspec.Struct):
    count: int


def _command(name: str, arguments: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"execute": name, "arguments": arguments}) + b"\n"
