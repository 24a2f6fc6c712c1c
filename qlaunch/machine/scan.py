"""A small reader of TOML that gives the line of each key, and no values. It trusts that tomli has read the text before.

Source: the TOML 1.0.0 specification; newlines inside inline tables are TOML 1.1.
"""

import re
from collections.abc import Callable
from contextlib import suppress

import tomli

from qlaunch.machine.keys import Key

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'''', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def lines_of_keys(text: str) -> dict[Key, int]:
    """Give the line, from 1, of each key, table, and array element; an element's number is a part of its key.

    A table that is only implied by others stands where it is first named.
    """
    scanner = _Scanner(text)
    with suppress(RecursionError):  # tomli reads arrays 400 deep; what was found until then is enough to point at
        scanner.scan()
    return scanner.lines


class _Scanner:
    """Walks the text once, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted_to = 1, 0
        self.lines: dict[Key, int] = {}
        self._elements: dict[Key, int] = {}  # arrays of tables, and how many elements they have so far

    def scan(self) -> None:
        table: Key = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at + 1  # never stands still
        return self._at

    def _note(self, key: Key, *, named: bool = True) -> None:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        if named:
            self.lines[key] = self._line
        for length in range(1, len(key) + 1):
            self.lines.setdefault(key[:length], self._line)

    def _header(self) -> Key:
        is_array = self._text.startswith("[[", self._at)
        self._at += 1 + is_array
        parts = self._key_parts()
        key: Key = ()
        for position, part in enumerate(parts):
            key = (*key, part)
            if is_array and position == len(parts) - 1:
                self._note(key, named=key not in self.lines)
                self._elements[key] = self._elements.get(key, 0) + 1
            if key in self._elements:
                key = (*key, str(self._elements[key] - 1))
        self._note(key)
        self._at += 1 + is_array
        return key

    def _key_parts(self) -> Key:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            start = self._at
            word = self._text[start : self._skip(_KEY_PART)]
            parts.append(next(iter(tomli.loads(f"{word} = 0"))) if word.startswith('"') else word.strip("'"))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _pair(self, table: Key) -> None:
        start = self._at
        parts = self._key_parts()
        end, self._at = self._at, start
        self._note((*table, *parts))
        self._at = end + 1  # the equals sign
        self._value((*table, *parts))

    def _value(self, key: Key) -> None:
        self._skip(_SPACE)
        match self._text[self._at : self._at + 1]:
            case "[":
                count = iter(range(len(self._text)))
                self._items("]", lambda: self._element((*key, str(next(count)))))
            case "{":
                self._items("}", lambda: self._pair(key))
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_SCALAR)

    def _element(self, key: Key) -> None:
        self._note(key)
        self._value(key)

    def _items(self, closing: str, read_item: Callable[[], None]) -> None:
        self._at += 1
        while self._skip(_BLANK) < len(self._text) and self._text[self._at] != closing:
            read_item()
            if self._text.startswith(",", self._skip(_BLANK)):
                self._at += 1
        self._at += 1
