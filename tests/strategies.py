"""What tests make up: tables of TOML with the line of every key, machine files, and text that is meant to hurt."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from qlaunch.machine.keys import Key

Lines = dict[Key, int]
Choose = Callable[[list[Any]], Any]

bare_keys = st.text("abcXYZ019_-", min_size=1, max_size=6)
odd_keys = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", min_codepoint=32), max_size=6)
keys = bare_keys | odd_keys
strings = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from("\n#[]{}=,\"'\\"), max_size=12
)
scalars = (
    strings
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dates(dt.date(1000, 1, 1))
    | st.datetimes(dt.datetime(1000, 1, 1))  # noqa: DTZ001 - a TOML local date-time has no zone
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
tables = st.dictionaries(
    keys, values | st.lists(st.dictionaries(keys, values, max_size=3), min_size=1, max_size=3), max_size=5
)


class TomlWriter:
    """Writes a table as TOML in ways that are chosen as it goes, and keeps the line of each key."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self.text = ""
        self.lines: Lines = {}

    def table(self, data: dict[str, Any], at: Key = (), header: Key = ()) -> None:
        """Write what needs no header first, then each table under its own; headers have no numbers of elements."""
        later = {}
        for name, value in data.items():
            tabular = isinstance(value, dict) or (_is_tables(value) and self._choose([False, True]))
            if tabular and self._choose([False, True]):
                later[name] = value
                continue
            self._blank()
            self._note((*at, name))
            self.text += f"{self._key(name)}{self._choose(['=', ' = ', chr(9) + '= '])}"
            self._value(value, (*at, name))
            self.text += self._choose(["\n", " # a = 'b'\n", "\r\n"])
        for name, value in later.items():
            if isinstance(value, dict):
                self._header("[", "]", (*at, name), (*header, name))
                self.table(value, (*at, name), (*header, name))
                continue
            for index, element in enumerate(value):
                self._header("[[", "]]", (*at, name, str(index)), (*header, name))
                self.table(element, (*at, name, str(index)), (*header, name))

    def _header(self, opening: str, closing: str, at: Key, shown: Key) -> None:
        self._blank()
        for length in range(1, len(at) + 1):
            self._note(at[:length])
        parts = [self._key(part) for part in shown]
        self.text += f"{opening}{self._choose(['', ' '])}{'.'.join(parts)}{closing}\n"

    def _line(self) -> int:
        return self.text.count("\n") + 1

    def _note(self, key: Key) -> None:
        self.lines.setdefault(key, self._line())

    def _blank(self) -> None:
        self.text += self._choose(["", "", "\n", "# [x]\n", "  "])

    def _key(self, name: str) -> str:
        plain = name and name.isascii() and name.replace("-", "a").replace("_", "a").isalnum()
        return name if plain and self._choose([False, True]) else basic(name)

    def _value(self, value: Any, at: Key) -> None:
        match value:
            case bool():
                self.text += "true" if value else "false"
            case str():
                self.text += self._string(value)
            case dict():
                self._inline(value, at)
            case list():
                self.text += "["
                for index, item in enumerate(value):
                    self.text += self._choose(["", "\n", " # ]\n", " "])
                    self._note((*at, str(index)))
                    self._value(item, (*at, str(index)))
                    self.text += ","
                self.text += self._choose(["]", "\n]", " # x\n ]"])
            case dt.date():
                self.text += value.isoformat()
            case _:
                self.text += repr(value)

    def _inline(self, value: dict[str, Any], at: Key) -> None:
        self.text += "{"
        for index, (name, item) in enumerate(value.items()):
            self.text += ", " if index else " "
            self._note((*at, name))
            self.text += f"{self._key(name)} = "
            self._value(item, (*at, name))
        self.text += " }"

    def _string(self, value: str) -> str:
        style = self._choose(["basic", "literal", "long", "long literal"])
        if style == "literal" and "'" not in value and "\n" not in value:
            return f"'{value}'"
        if style == "long":
            return '"""' + basic(value)[1:-1].replace("\\n", "\n" if not value.startswith("\n") else "\\n") + '"""'
        if style == "long literal" and "'''" not in value and not value.startswith("\n") and not value.endswith("'"):
            return f"'''{value}'''"
        return basic(value)


def basic(text: str) -> str:
    """Give a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


@st.composite
def written_tables(draw: Any) -> tuple[dict[str, Any], str, Lines]:
    """A table, one way to write it, and the line of every key in that."""
    data = draw(tables)
    writer = TomlWriter(lambda options: draw(st.sampled_from(options)))
    writer.table(data)
    return data, writer.text, writer.lines
