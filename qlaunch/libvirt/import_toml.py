"""A draft as the text of a machine file: in the order of `Machine`, with comments beside what needs one.

Owns: how values are spelled. A text of someone else's can become neither a key nor a line of its own. Must not: decide
what is in the file.

Source: TOML 1.0.0 (basic strings, inline tables).
"""

import re
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from qlaunch.devices.section import Section
from qlaunch.libvirt.import_draft import Draft, Key, Table
from qlaunch.machine.model import Machine

# The column of a comment beside a key, as in machines/.
_COLUMN = 34
_WIDTH = 120
# Said even where it is the default: what a reader looks for first.
_ALWAYS = {("machine", "type"), ("machine", "accel"), ("firmware", "type"), ("network", "type"), ("display", "type")}
_ALWAYS |= {("disk", "cache"), ("cpu", "model")}
_OWN_HEADER = {("cpu", "hyperv"), ("firmware", "smbios"), ("qemu", "properties")}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# What TOML lets stand in a comment or a basic string: no control characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def write_toml(draft: Draft) -> str:
    """Give the text of the file."""
    lines = [f"# {line}".rstrip() for line in draft.head]
    for field in msgspec.structs.fields(Machine):
        value = draft.tables.get(field.name)
        kind = _struct(field.type)
        if isinstance(value, list):
            for number, row in enumerate(value):
                lines += ["", *_section(f"[[{field.name}]]", row, kind, (field.name, number), draft)]
        elif isinstance(value, dict):
            written = _section(f"[{field.name}]", value, kind, (field.name,), draft)
            # A table that holds defaults only says nothing, unless that it is there is what counts.
            if len(written) > 1 or field.default is None or (field.name,) in draft.comments:
                lines += ["", *written]
    while lines and not lines[0]:
        lines.pop(0)
    return "\n".join(lines) + "\n"


@cache
def _fields(kind: type[Section]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Give the fields of a section; finding them takes longer than writing what is in them."""
    return msgspec.structs.fields(kind)


@cache
def defaults(kind: type[Section]) -> dict[str, Any]:
    """Give the default of each key of a section."""
    return {
        field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        for field in _fields(kind)
        if not field.required
    }


def _section(header: str, table: Table, kind: type[Section] | None, at: Key, draft: Draft) -> list[str]:
    lines = _commented(header, draft.comments.get(at, ""))
    inner: list[str] = []
    standard = defaults(kind) if kind else {}
    for field in _fields(kind) if kind else ():
        name, value = field.name, table.get(field.name)
        key = (*at, name)
        if value is None or (key not in draft.comments and _is_default(standard, name, value, at)):
            if key in draft.comments:
                lines += [f"# {name}: {line}" for line in [_plain(draft.comments[key])]]
            continue
        if key in _OWN_HEADER and isinstance(value, dict):
            body = _inner(value, _struct(field.type), key, draft)
            inner += ["", f"[{at[0]}.{name}]", *body] if body else []
        else:
            lines += _commented(f"{name} = {toml_value(value)}", draft.comments.get(key, ""))
    return [*lines, *inner]


def _inner(table: Table, kind: type[Section] | None, at: Key, draft: Draft) -> list[str]:
    standard = defaults(kind) if kind else {}
    names = [name for name in kind.__struct_fields__ if name in table] if kind else list(table)
    lines = []
    for name in names:
        if name in standard and standard[name] == table[name]:
            continue
        lines += _commented(f"{toml_key(name)} = {toml_value(table[name])}", draft.comments.get((*at, name), ""))
    return lines


def _is_default(standard: dict[str, Any], name: str, value: object, at: Key) -> bool:
    return name in standard and standard[name] == value and (at[0], name) not in _ALWAYS


def _commented(line: str, comment: str) -> list[str]:
    """Put a comment beside a line, or above it where there is no room."""
    if not comment:
        return [line]
    text = _plain(comment)
    if "\n" not in line and max(len(line) + 2, _COLUMN) + len(text) + 2 <= _WIDTH:
        return [f"{line:<{_COLUMN - 1}} # {text}" if len(line) < _COLUMN else f"{line}  # {text}"]
    return [*(f"# {part}" for part in _wrapped(text)), line]


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        if line and len(line) + len(word) + 3 > _WIDTH:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def toml_value(value: object) -> str:
    """Spell a value."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case dict():
            pairs = [f"{toml_key(str(key))} = {toml_value(inner)}" for key, inner in value.items()]
            return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
        case list():
            return _array([toml_value(inner) for inner in value], long=any(isinstance(inner, dict) for inner in value))
        case _:
            return _quoted(str(value))


def _array(parts: list[str], *, long: bool) -> str:
    """Write an array in one line where it fits, and else one part a line, or ten short ones."""
    line = f"[{', '.join(parts)}]"
    if not long and len(line) <= 100:
        return line
    step = 10 if not long and all(len(part) <= 20 for part in parts) else 1
    rows = [", ".join(parts[at : at + step]) for at in range(0, len(parts), step)]
    return "[\n" + "".join(f"  {row},\n" for row in rows) + "]"


def toml_key(name: str) -> str:
    """Spell a key."""
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    return '"' + _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04X}", escaped) + '"'


def _plain(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)


def _struct(kind: Any) -> type[Section] | None:  # noqa: ANN401 - a type annotation
    """Find the section in a field's type, such as ``list[Disk]`` or ``Tpm | None``."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return typing.cast("type[Section]", kind)
    return next((found for inner in typing.get_args(kind) if (found := _struct(inner)) is not None), None)
