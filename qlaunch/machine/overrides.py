"""``--set key=value``: single keys of a machine file changed for one run.

The value is TOML where it reads as such (``4``, ``true``, ``["a"]``), and plain text otherwise, so that no quotes
are needed.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import tomli

from qlaunch.errors import MachineError, Problem, UsageError
from qlaunch.machine.keys import Key, split_assignment
from qlaunch.machine.read import Table, resolve_paths

DEEPEST = 16


class Override(msgspec.Struct, frozen=True):
    """One ``--set``: the key, the value, and the text that the value was read from."""

    key: Key
    value: Any
    text: str
    shown: str

    def as_text(self) -> "Override":
        """Give the same with the plain text as its value: ``serial=123`` means text where text is wanted."""
        return Override(self.key, self.text, self.text, self.shown)


def parse_overrides(texts: Iterable[str]) -> tuple[Override, ...]:
    """Read the options of the command line. Raises UsageError."""
    return tuple(map(_parse, texts))


def apply_overrides(table: Table, overrides: Sequence[Override]) -> Table:
    """Give the table with the keys changed; relative paths are seen from the current folder. Raises MachineError."""
    for override in overrides:
        try:
            changed = _changed(table, override.key, override.value)
        except ValueError as error:
            problem = Problem(code="set", message=str(error), where=override.shown)
            raise MachineError([problem]) from None
        resolve_paths(changed, os.getcwd())  # all other paths are absolute by now, so only the one just set can change
        table = changed
    return table


def _parse(text: str) -> Override:
    shown = f"--set {text}" if len(text) <= 60 and text.isprintable() else f"--set {text[:60]!r}…"
    try:
        key, value = split_assignment(text)
    except ValueError as error:
        raise UsageError(f"{shown}: {error}") from None
    if len(key) > DEEPEST:
        raise UsageError(f"{shown}: a key has at most {DEEPEST} parts")
    return Override(key, _value(value), value, shown)


def _value(text: str) -> object:
    try:
        parsed = tomli.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _changed(holder: Any, key: Key, value: object) -> Any:  # noqa: ANN401 - any TOML value
    """Give a copy of a table or an array with one place in it changed."""
    if not key:
        return value
    part, rest = key[0], key[1:]
    if isinstance(holder, dict):
        empty: Any = [] if rest and rest[0] == "0" else {}
        return {**holder, part: _changed(holder.get(part, empty), rest, value)}
    if not isinstance(holder, list):
        what = "text" if isinstance(holder, str) else "one value"
        raise ValueError(f"there is nothing below this key: it holds {what}")  # noqa: TRY004 - told by the caller
    if not (part.isascii() and part.isdigit()) or len(part) > 4 or int(part) > len(holder):
        raise ValueError(f"{part!r} is not the number of an element, counted from 0; there are {len(holder)}")
    place = int(part)
    inner = holder[place] if place < len(holder) else {}
    return [*holder[:place], _changed(inner, rest, value), *holder[place + 1 :]]


def as_word(key: str, value: object) -> str:
    """Write an override as it stands on a command line."""
    return f"{key}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
