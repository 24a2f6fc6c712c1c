"""Machine files as tables of plain data: read, checked to be TOML, and laid over the files that they extend.

Owns: files, ``extends``, and what a relative path is relative to: the folder of the file that has the key. Must not:
know what
the keys mean, other than which of them are paths.

Source: the TOML 1.0.0 specification (UTF-8, no NUL), as tomli reads it.
"""

import os
import stat
from typing import Any, NoReturn

import msgspec
import tomli

from qlaunch.errors import MachineError, Problem
from qlaunch.machine.keys import Key

Table = dict[str, Any]

HIGHEST_BYTES = 1 << 20  # a machine file has a few KiB; what is longer is not one
LONGEST_CHAIN = 16

# Keys that hold a path; ``*`` stands for each element of an array of tables.
PATH_KEYS: tuple[Key, ...] = (
    *(("firmware", name) for name in ("code", "vars", "vars_template", "debug_log")),
    *(("boot", name) for name in ("kernel", "initrd")),
    *((section, "*", "path") for section in ("disk", "share", "evdev")),
    ("pci", "*", "rom"),
    ("sidecar", "*", "socket"),
)


class Source(msgspec.Struct, frozen=True):
    """One file of the chain: its path as it is shown, and its text."""

    path: str
    text: str


def read_chain(path: str) -> tuple[Table, tuple[Source, ...]]:
    """Read a file and all that it extends. Give the merged table, and the files, the named one first.

    Tables are merged key by key; anything else, arrays too, replaces what the base has. Raises MachineError.
    """
    tables: list[Table] = []
    sources: list[Source] = []
    seen: list[str] = []
    following: str | None = path
    while following is not None:
        if (real := os.path.realpath(following)) in seen or len(seen) == LONGEST_CHAIN:
            refuse_extends(
                sources[-1], "leads back to a file of the same chain" if real in seen else "makes the chain too long"
            )
        seen.append(real)
        source = Source(following, _read_text(following, sources[-1] if sources else None))
        table = _parse(source)
        sources.append(source)
        following = _base_of(table, source)
        resolve_paths(table, os.path.dirname(source.path))
        tables.append(table)
    merged = tables.pop()
    while tables:
        merged = _lay_over(merged, tables.pop())
    return merged, tuple(sources)


def resolve_paths(table: Table, folder: str) -> None:
    """Make the relative paths of a table absolute, in place. ``~/`` is the home folder of whoever runs qlaunch."""
    for key in PATH_KEYS:
        for holder in _holders(table, key[:-1]):
            if isinstance(text := holder.get(key[-1]), str) and text:
                holder[key[-1]] = absolute(text, folder)
    qemu = table.get("qemu")
    # A program without a slash is found on PATH.
    if isinstance(qemu, dict) and isinstance(binary := qemu.get("binary"), str) and "/" in binary:
        qemu["binary"] = absolute(binary, folder)


def absolute(text: str, folder: str) -> str:
    """Give a path as seen from a folder."""
    if text.startswith("~/"):
        return os.path.expanduser("~") + text[1:]
    return text if text.startswith("/") else os.path.abspath(os.path.join(folder, text))


def refuse_extends(source: Source, what: str) -> NoReturn:
    """Raise the error of a file whose ``extends`` does not work."""
    from qlaunch.machine.places import line_of  # noqa: PLC0415 - scans the text, only when something is wrong

    where = f"{source.path}:{line_of(source.text, ('extends',))}"
    raise MachineError([Problem(code="extends", key="extends", where=where, message=what)])


def _holders(table: object, key: Key) -> list[Table]:
    found: list[Any] = [table]
    for part in key:
        if part == "*":
            found = [item for items in found if isinstance(items, list) for item in items]
        else:
            found = [holder[part] for holder in found if isinstance(holder, dict) and part in holder]
    return [holder for holder in found if isinstance(holder, dict)]


def _read_text(path: str, extended_by: Source | None) -> str:
    try:
        # Looked at before it is opened: opening a FIFO would wait for its other end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            _refuse(path, "is not a file", extended_by)
        with open(path, "rb") as file:
            content = file.read(HIGHEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        _refuse(path, f"cannot be read: {reason}", extended_by)
    if len(content) > HIGHEST_BYTES:
        _refuse(path, "is longer than 1 MiB, so it is no machine file", extended_by)
    if content.startswith(b"\xef\xbb\xbf"):
        _refuse(
            path, "begins with a byte order mark, which TOML does not allow; save it as UTF-8 without one", extended_by
        )
    if b"\0" in content:
        _refuse(path, "holds a NUL byte, so it is no text", extended_by)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(f"{path}:{line}", f"is not UTF-8: byte {content[error.start]:#04x}", extended_by)


def _refuse(path: str, what: str, extended_by: Source | None) -> NoReturn:
    if extended_by is not None:
        refuse_extends(extended_by, f"{path} {what}")
    raise MachineError([Problem(code="file", where=path, message=what)])


def _parse(source: Source) -> Table:
    try:
        return tomli.loads(source.text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        message, _, place = str(error).partition(" (at line ")
        line = place.split(",")[0]
        if not line.isdigit():
            line = str(source.text.count("\n") + 1) if place or "end of document" in str(error) else ""
        where = f"{source.path}:{line}" if line else source.path
        message = message.split(":")[0] if "digits" in message else message.removesuffix(" (at end of document)")
        raise MachineError([Problem(code="toml", where=where, message=f"is not TOML: {message}")]) from None


def _base_of(table: Table, source: Source) -> str | None:
    base = table.pop("extends", None)
    if base is None:
        return None
    if not isinstance(base, str) or not base:
        refuse_extends(source, 'wants the path of one other file, such as "base.toml"')
    if base.startswith("~/"):
        return os.path.expanduser("~") + base[1:]
    return os.path.join(os.path.dirname(source.path), base)


def _lay_over(below: Table, above: Table) -> Table:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _lay_over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
