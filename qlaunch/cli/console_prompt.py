"""The console's prompt: completion, history with search, several lines, events above. Alone uses prompt_toolkit."""

import os
import sys
import termios
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_searching
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from qlaunch.cli.console_talk import Talk
from qlaunch.console.complete import Completions
from qlaunch.console.typed import is_whole
from qlaunch.errors import QlaunchError
from qlaunch.host.folders import find_folders


class _Offers(Completer):
    """Completions as prompt_toolkit wants them."""

    def __init__(self, completions: Completions) -> None:
        self._completions = completions

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may come at the cursor."""
        for one in self._completions.at(document.text_before_cursor):
            yield Completion(one.text, start_position=-one.length, display_meta=one.about)


def prompt(talk: Talk) -> int:
    """Talk until somebody leaves, or the machine is gone. Gives 0: what failed meanwhile was told."""
    assert talk.wire  # noqa: S101 - connected before there is a prompt
    wire = talk.wire
    session: PromptSession[str] = PromptSession(
        message=f"{talk.name}> ",
        completer=_Offers(talk.completions),
        complete_in_thread=True,
        complete_while_typing=True,
        history=_history(),
        key_bindings=_keys(),
        multiline=True,
        prompt_continuation=lambda width, *_: "." * (width - 1) + " ",
        reserve_space_for_menu=8,
    )

    def leave() -> None:
        loop = session.app.loop
        if loop is not None:
            with suppress(RuntimeError):  # the prompt is being left already
                loop.call_soon_threadsafe(_end, session)

    wire.on_end = leave
    threading.Thread(target=_read_ahead, args=(talk.completions,), daemon=True).start()
    with _typing_ahead():
        print(f"QMP of {talk.name}: Tab completes, help explains, Ctrl-D leaves", file=sys.stderr)
        while not wire.is_over and not talk.has_left:
            try:
                # Only the events go above a prompt: an answer would be late there, and keys typed meanwhile be lost.
                with patch_stdout(raw=True):
                    typed = session.prompt(pre_run=lambda: _end(session) if wire.is_over else None)
                talk.take(typed)
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
    return 0


def _end(session: PromptSession[str]) -> None:
    if session.app.is_running and not session.app.is_done:
        session.app.exit(exception=EOFError)


@contextmanager
def _typing_ahead() -> Iterator[None]:
    """Keep for the next prompt what is typed between two: the terminal itself would echo it, and swallow Ctrl-D.

    Source: ``termios(3)``. Ctrl-C still interrupts a question that takes long.
    """
    before = termios.tcgetattr(sys.stdin)
    between = termios.tcgetattr(sys.stdin)
    between[0] &= ~termios.ICRNL
    between[3] &= ~(termios.ICANON | termios.ECHO)
    try:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, between)
        yield
    finally:
        with suppress(termios.error, OSError):  # the window is closed
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _read_ahead(completions: Completions) -> None:
    """Read the schema before the first Tab."""
    with suppress(QlaunchError):
        _ = completions.schema


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def _history() -> History:
    """The user's history, of all machines alike, readable for nobody else. Without a place for it, that of now."""
    path = f"{find_folders().state}/.console-history"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)
