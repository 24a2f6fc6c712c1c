"""A machine file in the making, and the report on what became of each element.

Owns: tables and comments of the file, entries of the report, and how values of libvirt are read. Must not: know any
element by its name.

Source: libvirt's ``docs/formatdomain.rst`` and ``src/util/virutil.c``, ``virScaleInteger`` (units).
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from qlaunch.libvirt.import_node import Node

Fate = Literal["taken", "different", "your-word", "no-meaning", "unknown"]
Value = TypeVar("Value")
Table = dict[str, Any]
Key = tuple[str | int, ...]

_UNITS = {"": 1, "b": 1, "byte": 1, "bytes": 1}
for _power, _letter in enumerate("kmgtpe", 1):
    _UNITS |= {_letter: 1024**_power, f"{_letter}ib": 1024**_power, f"{_letter}b": 1000**_power}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one element, attribute or text. ``key`` is the dotted key of the machine file, or empty."""

    fate: Fate
    path: str
    line: int
    message: str = ""
    key: str = ""


class Draft:
    """Everything that mappers write to."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.tables: Table = {}
        self.comments: dict[Key, str] = {}
        self.head: list[str] = []
        self.entries: list[Entry] = []
        self.told: set[int] = set()  # elements with an entry of their own
        self.keys: dict[Key, Node] = {}
        self.aliases: dict[str, tuple[str, Table]] = {}  # devices by libvirt's names of them

    def set(self, node: Node, section: str, key: str, value: object) -> None:
        """Set a key of a table such as ``[cpu]``; None sets nothing. A dot leads into an inner table."""
        if value is None:
            return
        table = self.tables
        for part in section.split("."):
            table = table.setdefault(part, {})
        table[key] = value
        self.keys[(*section.split("."), key)] = node

    def add(self, owner: Node, section: str, /, **values: object) -> tuple[Table, Key]:
        """Add a table to an array such as ``[[disk]]``; None sets nothing. Give the table and its key."""
        rows: list[Table] = self.tables.setdefault(section, [])
        row = {key: value for key, value in values.items() if value is not None}
        rows.append(row)
        self.keys[(section, len(rows) - 1)] = owner
        return row, (section, len(rows) - 1)

    def pass_on(self, *words: str | dict[str, Any]) -> None:
        """Add words to ``qemu.extra``; a table is written as JSON, which QEMU takes for devices and objects."""
        holder = self.tables.setdefault("qemu", {}).setdefault("extra", [])
        holder += [word if isinstance(word, str) else msgspec.json.encode(word).decode() for word in words]

    def close_row(self, at: Key) -> None:
        """Take a row out of an array. Later ones move up, and so do their comments and places."""
        section, number = at[0], at[1]
        del self.tables[str(section)][number]
        for record in (self.comments, self.keys):
            close_gap(record, at)

    def comment(self, key: Key, text: str) -> None:
        """Say something beside a key of the file."""
        self.comments[key] = f"{self.comments[key]}; {text}" if key in self.comments else text

    def tell(self, fate: Fate, node: Node, message: str, key: Key = (), attribute: str = "") -> None:
        """Enter what became of an element or of one of its attributes."""
        path = node.path() + (f"@{attribute}" if attribute else "")
        dotted = ".".join(map(str, key))
        self.entries.append(Entry(fate=fate, path=path, line=node.line, message=message, key=dotted))
        if not attribute:
            self.told.add(id(node))

    def differs(self, node: Node, message: str, key: Key = (), attribute: str = "") -> None:
        """Enter that something is taken over with a difference."""
        self.tell("different", node, message, key, attribute)

    def asks(self, node: Node, message: str, key: Key = (), attribute: str = "") -> None:
        """Enter that something needs the user's word."""
        self.tell("your-word", node, message, key, attribute)

    def idle(self, node: Node | None, reason: str, *attributes: str) -> None:
        """Enter that an element with all below it, or some of its attributes, mean nothing here."""
        if node is None:
            return
        for name in attributes:
            if node.get(name) is not None:
                self.tell("no-meaning", node, reason, (), name)
        if not attributes:
            node.close()
            self.tell("no-meaning", node, reason)

    def lost(self, node: Node | None, message: str, *attributes: str) -> None:
        """Enter that an element with all below it, or some of its attributes, have no key; the user may care."""
        if node is None:
            return
        for name in attributes:
            if node.get(name) is not None:
                self.differs(node, message, (), name)
        if not attributes:
            node.close()
            self.differs(node, message)

    def choice(self, node: Node | None, name: str, words: Mapping[str, Value]) -> Value | None:
        """Read an attribute that has one of a few words."""
        text = None if node is None else node.get(name)
        if node is None or text is None:
            return None
        if text in words:
            return words[text]
        self.asks(node, f'"{shown(text)}" is not among {", ".join(words)}; left out', (), name)
        return None

    def flag(self, node: Node | None, name: str) -> bool | None:
        """Read an attribute that is yes or no."""
        return self.choice(node, name, {"yes": True, "no": False, "on": True, "off": False})

    def number(self, node: Node | None, name: str, least: int = 0, most: int = 1 << 62) -> int | None:
        """Read an attribute that is a number, decimal or hexadecimal."""
        text = None if node is None else node.get(name)
        if node is None or text is None:
            return None
        value = integer(text)
        if value is None or not least <= value <= most:
            self.asks(node, f'"{shown(text)}" is not a number of {least} to {most}; left out', (), name)
            return None
        return value

    def size(self, node: Node | None, text: str | None, unit: str = "KiB", attribute: str = "unit") -> int | None:
        """Read a size in bytes: a number, and its unit in an attribute."""
        if node is None or text is None:
            return None
        unit = node.get(attribute) or unit
        value, factor = integer(text), _UNITS.get(unit.lower())
        if value is None or factor is None or value * factor >= 1 << 63:
            self.asks(node, f'"{shown(text)} {shown(unit)}" is not a size; left out')
            return None
        return value * factor


def close_gap(record: dict[Key, Any], gone: Key) -> None:
    """Move what is noted about later rows of an array up, after one has gone."""
    place, number = len(gone) - 1, gone[-1]
    for key in [key for key in record if key[: place + 1] == gone]:
        del record[key]
    below = [key for key in record if key[:place] == gone[:-1] and len(key) > place]
    for key in sorted(below, key=lambda key: (int(key[place]), len(key))):
        if int(key[place]) > int(number):
            record[(*key[:place], int(key[place]) - 1, *key[place + 1 :])] = record.pop(key)


def integer(text: str) -> int | None:
    """Read a number as libvirt does: decimal, or hexadecimal with 0x."""
    plain = text.strip()
    if len(plain) > 20 or not plain.isascii() or "_" in plain:
        return None
    try:
        return int(plain, 16) if plain.lower().startswith("0x") else int(plain, 10)
    except ValueError:
        return None


def shown(text: str) -> str:
    """Give text of someone else's for a message: one line, nothing that a terminal would obey, and not too long."""
    plain = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return plain if len(plain) <= 60 else f"{plain[:60]}…"


def in_bytes(size: int) -> str:
    """Print a size as the machine file has it."""
    units = {"T": 1 << 40, "G": 1 << 30, "M": 1 << 20, "K": 1 << 10, "B": 1}
    unit = next(unit for unit, factor in units.items() if size % factor == 0) if size else "B"
    return f"{size // units[unit]}{unit}"
