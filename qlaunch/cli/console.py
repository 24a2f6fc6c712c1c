"""`qlaunch console NAME`: QMP for people and scripts."""

import argparse
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING

from qlaunch.cli.console_talk import Talk, event_words
from qlaunch.cli.machines import running
from qlaunch.cli.terminal import is_terminal
from qlaunch.console.chosen import wants_event
from qlaunch.console.typed import is_whole
from qlaunch.errors import HostError, UsageError
from qlaunch.run.open_wire import open_wire, why_it_ended

if TYPE_CHECKING:
    from qlaunch.run.wire import Event


def run(options: argparse.Namespace) -> int:
    """Run the commands given, or those on standard input; on a terminal there is a prompt with all its comforts."""
    if options.watch and options.command:
        raise UsageError("--watch and -c do not go together", "open two consoles: the second one shares")
    _, record = running(options.name)
    by_hand = sys.stdin.isatty() and not options.command and not options.watch
    talk = Talk(record.duty.name, plain=options.plain, human=options.hmp, by_hand=by_hand, events=options.events)
    hear = _hear_events(talk, plain=options.plain) if options.watch else talk.hear if by_hand else lambda _: None
    say = functools.partial(print, file=sys.stderr, flush=True)
    with _log(options) as trace, open_wire(record.duty, say, hear, trace) as wire:
        talk.wire = wire
        if options.watch:
            wire.wait_for_end()
            status = 0
        elif by_hand and is_terminal(sys.stdout):
            from qlaunch.cli.console_prompt import prompt  # noqa: PLC0415 - prompt_toolkit, only where it is seen

            status = prompt(talk)
        else:
            if isinstance(sys.stdin, TextIOWrapper):  # whatever is piped in is read, and refused in words
                sys.stdin.reconfigure(errors="replace")
            status = _script(talk, iter(options.command or sys.stdin), keep_going=options.keep_going or by_hand)
        if wire.is_over and not wire.was_told_to_quit:
            raise why_it_ended(wire, record)
        return status


@contextmanager
def _log(options: argparse.Namespace) -> Iterator[Callable[[str], None] | None]:
    """Give what hears all that is sent and received, if somebody wants it. Raises HostError."""
    if not options.log:
        yield functools.partial(print, file=sys.stderr, flush=True) if options.verbose else None
        return
    try:
        file = open(options.log, "a", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise HostError(f"cannot write {options.log}: {(error.strerror or str(error)).lower()}") from error
    with file:

        def trace(line: str) -> None:
            print(line, file=file, flush=True)
            if options.verbose:
                print(line, file=sys.stderr, flush=True)

        yield trace


def _script(talk: Talk, lines: Iterator[str], *, keep_going: bool) -> int:
    """Run commands until one fails; gives its status, or with ``keep_going`` that of the first that failed."""
    first_failure, text = 0, ""
    for line in lines:
        text += line if line.endswith("\n") else f"{line}\n"
        if not is_whole(text):
            continue
        status, text = talk.take(text), ""
        first_failure = first_failure or status
        if talk.has_left or (talk.wire and talk.wire.is_over) or (status and not keep_going):
            break
    if text:
        raise UsageError("the input ends within a bracket or a quote", f"it begins with: {text.strip()[:40]}")
    return first_failure


def _hear_events(talk: Talk, *, plain: bool) -> "Callable[[Event], None]":
    """Give a listener that prints each event: in words for people, as JSON for programs."""
    as_json = plain or not sys.stdout.isatty()

    def hear(event: "Event") -> None:
        if wants_event(str(event["event"]), talk.patterns):
            print(talk.one_line(event) if as_json else event_words(event), flush=True)

    return hear
