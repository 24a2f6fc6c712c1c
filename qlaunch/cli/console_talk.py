"""What the console does with one thing that was typed: QMP, the human monitor, or a word of its own."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from qlaunch.cli.terminal import is_terminal, look, say_error, say_hint, size
from qlaunch.console.answer import one_line, render
from qlaunch.console.chosen import wants_event
from qlaunch.console.typed import parse_command
from qlaunch.errors import CommandError, MonitorError, UsageError
from qlaunch.run.events import describe

if TYPE_CHECKING:
    from qlaunch.console.complete import Completions
    from qlaunch.run.wire import Event, Wire


class Talk:
    """One conversation with one machine."""

    def __init__(self, name: str, *, plain: bool, human: bool, by_hand: bool, events: list[str]) -> None:
        self.name = name
        self.patterns = list(events)
        self.has_left = False
        self.wire: Wire | None = None
        self._completions: Completions | None = None
        self._plain = plain
        self._human = human
        self._by_hand = by_hand
        self._shows_events = True
        self._last: list[str] = []
        self._asked_to_quit = False

    one_line = staticmethod(one_line)

    @property
    def completions(self) -> "Completions":
        """What may be typed, for the prompt and for help: a single command does not wait for it."""
        from qlaunch.console.complete import Completions  # noqa: PLC0415

        self._completions = self._completions or Completions(self._ask)
        return self._completions

    def take(self, text: str) -> int:
        """Do what was typed, and give the exit status that it stands for. Events go on meanwhile."""
        text = text.strip()
        if not text or text.startswith("#"):
            return 0
        word, _, rest = text.partition(" ")
        try:
            if self._is_slip(word):
                return 0
            own = {"hmp": self._hmp, "help": self._help, "events": self._events, "more": self._more, "exit": self._exit}
            if self._human and word not in ("exit", "more"):
                self._hmp(text)
            elif word in own:
                own[word](rest.strip())
            else:
                self._execute(text)
        except (UsageError, CommandError) as error:
            say_error(error.message)
            if error.hint and self._by_hand:
                say_hint(error.hint)
            return error.exit_status
        except MonitorError as error:
            if self.wire and not self.wire.is_over:
                say_error(error.message)
            return error.exit_status
        return 0

    def hear(self, event: "Event") -> None:
        """Show an event above the prompt."""
        if self._shows_events and wants_event(str(event["event"]), self.patterns):
            print(event_words(event), file=sys.stderr, flush=True)

    def _ask(self, command: str, arguments: Mapping[str, Any]) -> object:
        """Ask the machine for the console's own needs; not for long, since somebody waits at the prompt."""
        if self.wire is None:
            raise MonitorError("there is no connection")
        return self.wire.execute(command, arguments, seconds=3)

    def _is_slip(self, word: str) -> bool:
        """Whether somebody who wants to leave is about to end the machine."""
        asked, self._asked_to_quit = self._asked_to_quit, word == "quit"
        if word != "quit" or not self._by_hand or asked:
            return False
        say_hint("quit ends the machine at once: say it again to do so; `exit` or Ctrl-D leaves the console")
        return True

    def _execute(self, text: str) -> None:
        command, arguments = parse_command(text)
        assert self.wire  # noqa: S101 - set before the first word is taken
        self._answer(self.wire.execute(command, arguments))

    def _hmp(self, line: str) -> None:
        if not line:
            raise UsageError("hmp wants a command of the human monitor", "example: hmp info block")
        assert self.wire  # noqa: S101
        answer = self.wire.execute("human-monitor-command", {"command-line": line})
        self._show(str(answer).replace("\r\n", "\n").rstrip("\n").splitlines())

    def _answer(self, value: object) -> None:
        if self._plain:
            print(one_line(value), flush=True)
            return
        width, colour = look()
        self._show(render(value, width, colour=colour))

    def _show(self, lines: list[str]) -> None:
        """Print an answer; for people at a prompt as much as fits, the rest on demand."""
        self._last = lines
        height = size()[1] - 3
        if self._by_hand and is_terminal(sys.stdout) and len(lines) > max(height, 5):
            lines = [*lines[: max(height, 5)], f"… {len(lines) - max(height, 5)} more lines: more"]
        _print(lines)

    def _more(self, _: str) -> None:
        _print(self._last)

    def _exit(self, _: str) -> None:
        self.has_left = True

    def _events(self, words: str) -> None:
        chosen = words.split()
        if chosen in (["on"], ["off"]):
            self._shows_events, self.patterns = chosen == ["on"], []
        elif chosen:
            self._shows_events, self.patterns = True, chosen
        else:
            shown = " ".join(self.patterns) or "all"
            _print([f"events shown: {shown if self._shows_events else 'none'}; events on|off|BLOCK_*|!RTC_CHANGE"])

    def _help(self, words: str) -> None:
        if words:
            command, arguments = parse_command(words)
            lines = list(self.completions.schema.explain(command, arguments))
            if not lines:
                raise UsageError(f"this QEMU has no QMP command {command!r}", self._near(command))
            self._show(lines)
            return
        self._show(list(_overview(len(self.completions.schema.commands))))

    def _near(self, command: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - only after a slip

        near = get_close_matches(command, self.completions.schema.commands, n=3)
        return f"near: {', '.join(near)}" if near else "Tab shows all of them"


def event_words(event: "Event") -> str:
    """Say an event with its time: in words where there are some, and with its data where there are none."""
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    seconds = event.get("timestamp", {}).get("seconds", 0)
    stamp = time.strftime("%H:%M:%S", time.localtime(seconds if seconds > 0 else None))
    said = describe(str(event["event"]), data) or (one_line(data) if data else "")
    return f"{stamp} {event['event']}{': ' if said else ''}{said}"


def _overview(commands: int) -> Iterator[str]:
    yield 'COMMAND key=value a.b=c    QMP; values are JSON, or text       {"execute": …}   QMP as JSON'
    yield "transaction( … )           one action a line                   # …               a remark"
    yield "help COMMAND               what it takes and gives             hmp COMMAND       the human monitor"
    yield "events on|off|BLOCK_*      which events are shown              more              the last answer, whole"
    yield "exit, Ctrl-D               leave; the machine runs on          quit              end the machine"
    yield f"Tab completes the {commands} commands of this QEMU, their arguments, and what exists in the machine."


def _print(lines: list[str]) -> None:
    print("\n".join(lines), flush=True)
