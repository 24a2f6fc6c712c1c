"""The console: QMP typed by people and scripts, over the machine's second socket.

``command key=value a.b=1``, or a JSON object, one a line. Values are JSON where they parse as JSON, text otherwise.

Source: QEMU's ``docs/interop/qmp-spec.rst``.
"""

import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import trio

from qlaunch.errors import MonitorError, UsageError
from qlaunch.run.events import describe
from qlaunch.run.loop import run_in_trio
from qlaunch.run.qmp import CommandError, Monitor, open_monitor

GREETING_S = 5.0
# QEMU itself takes hours for some commands (a backup to tape …); people interrupt what takes too long for them.
ANSWER_S = 24 * 3600.0
_WORD = re.compile(r'((?:[^\s"\'{\[]|"(?:\\.|[^"])*"|\'[^\']*\'|[{\[].*[}\]])+)')


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation: where commands come from, and where answers and all other words go."""

    path: str
    commands: Sequence[str]  # none: read standard input
    answer: Callable[[str], None]
    tell: Callable[[str], None]
    keep_going: bool = False
    interactive: bool = False

    def run(self) -> int:
        """Talk to the machine.

        Gives 0, or 6 when a command failed. Raises MonitorError when the machine does not talk.
        """
        return run_in_trio(self._converse)

    async def _converse(self) -> int:
        status = 0
        async with open_monitor(self.path, greeting_s=GREETING_S, answer_s=ANSWER_S) as monitor:
            async with trio.open_nursery() as nursery:
                if self.interactive:
                    self.tell("QMP: COMMAND key=value, or JSON; Ctrl-D leaves")
                    nursery.start_soon(self._show_events, monitor)
                async for line in _lines(self.commands):
                    if line.strip() and not line.lstrip().startswith("#") and not await self._execute(monitor, line):
                        status = MonitorError.exit_status
                        if not (self.keep_going or self.interactive):
                            break
                nursery.cancel_scope.cancel()
        return status

    async def _execute(self, monitor: Monitor, line: str) -> bool:
        try:
            command, arguments = parse_command(line)
            returned = await monitor.execute(command, arguments)
        except (UsageError, CommandError) as error:
            self.tell(f"error: {error.message}")
            return False
        self.answer(msgspec.json.format(msgspec.json.encode(returned), indent=2).decode())
        return True

    async def _show_events(self, monitor: Monitor) -> None:
        async for event in monitor.events:
            data = event.get("data")
            words = describe(str(event["event"]), data if isinstance(data, dict) else {})
            detail = f": {msgspec.json.encode(data).decode()}" if data else ""
            self.tell(f"  [{event['event']}{detail}]{' ' + words if words else ''}")


def parse_command(line: str) -> tuple[str, dict[str, Any]]:
    """Turn a typed line into a command and its arguments. Raises UsageError."""
    line = line.strip()
    if line.startswith("{"):
        try:
            message = msgspec.json.decode(line)
            return str(message["execute"]), dict(message.get("arguments") or {})
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is not a QMP command in JSON: {error}", '{"execute": "query-status"}') from error
    command, *words = _WORD.findall(line) or [""]
    if not command:
        raise UsageError(f"{line!r} is no QMP command", "query-status, or device_add driver=… id=…")
    arguments: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is no argument of the form key=value", f"example: {command} id=disk0")
        _put(arguments, key.split("."), _value(value))
    return command, arguments


def _put(table: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{key} is given as a value and as a table")
        table = inner
    table[keys[-1]] = value


def _value(text: str) -> object:
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {"on": True, "off": False}.get(text, text)


async def _lines(commands: Sequence[str]) -> AsyncIterator[str]:
    if commands:
        for command in commands:
            yield command
        return
    # A read that waits for ever is left to its thread: Ctrl-C ends the console, not the reading.
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line
