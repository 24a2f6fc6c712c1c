"""What people type at the console, and what it means in QMP.

    query-status                                    a command
    device_add driver=e1000e id=net1 rombar=0       arguments; values are JSON where they parse as JSON, text otherwise
    blockdev-add driver=qcow2 file.driver=file      a.b=c is {"a": {"b": c}}
    qom-set path=/objects/x value='{"a": [1, 2]}'   JSON or a Python literal as a value
    {"execute": "query-status"}                     JSON, as the protocol has it
    transaction( … )                                one action a line, or between semicolons

Source: QEMU's ``docs/interop/qmp-spec.rst``; the grammar of its ``qmp-shell``, whose habits these are.
"""

from typing import Any

import msgspec

from qlaunch.errors import UsageError

_OPENING, _CLOSING = "{[(", "}])"
_TRANSACTION = "transaction("


def parse_command(text: str) -> tuple[str, dict[str, Any]]:
    """Turn what was typed into a command and its arguments. Raises UsageError."""
    text = text.strip()
    if text.startswith("{"):
        return _message(text)
    if text.replace(" ", "", 1).startswith(_TRANSACTION):
        return "transaction", {"actions": _actions(text)}
    words = split(text)
    if not words or "=" in words[0]:
        raise UsageError(f"{text!r} is no QMP command", "example: query-status, or device_add driver=… id=…")
    arguments: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r} is no argument of the form key=value", f"example: {words[0]} id=disk0")
        _put(arguments, key, _value(value))
    return words[0], arguments


def is_whole(text: str) -> bool:
    """Whether every bracket and quote that was opened is closed, so that Enter may send it."""
    depth, quote = _scan(text)
    return depth <= 0 and not quote


def split(text: str) -> list[str]:
    """Split into words at blanks outside of quotes and brackets. What is not closed reaches to the end."""
    return [text[start:end] for start, end in spans(text)]


def spans(text: str) -> list[tuple[int, int]]:
    """Give where each word starts and ends."""
    found, start, depth, quote, skip = [], None, 0, "", False
    for at, letter in enumerate(text):
        if start is None and not letter.isspace():
            start = at
        if start is not None and letter.isspace() and not depth and not quote:
            found.append((start, at))
            start = None
        depth, quote, skip = _step(letter, depth, quote, skip=skip)
    return [*found, (start, len(text))] if start is not None else found


def _scan(text: str) -> tuple[int, str]:
    depth, quote, skip = 0, "", False
    for letter in text:
        depth, quote, skip = _step(letter, depth, quote, skip=skip)
    return depth, quote


def _step(letter: str, depth: int, quote: str, *, skip: bool) -> tuple[int, str, bool]:
    """Read one letter: how many brackets are open after it, which quote is, and whether the next letter is escaped."""
    if skip:
        return depth, quote, False
    if quote:
        return depth, "" if letter == quote else quote, letter == "\\"
    if letter in "\"'":
        return depth, letter, False
    return depth + (letter in _OPENING) - (letter in _CLOSING), quote, False


def _message(text: str) -> tuple[str, dict[str, Any]]:
    try:
        message = msgspec.json.decode(text, type=dict[str, Any])
        arguments = message.get("arguments") or {}
        if not isinstance(message.get("execute"), str) or not isinstance(arguments, dict):
            raise UsageError(
                'a QMP command in JSON has "execute" and perhaps "arguments"', '{"execute": "query-status"}'
            )
    except msgspec.DecodeError as error:
        raise UsageError(f"this is not a QMP command in JSON: {error}", '{"execute": "query-status"}') from error
    return message["execute"], arguments


def _actions(text: str) -> list[dict[str, Any]]:
    if not text.endswith(")"):
        raise UsageError("the transaction is not closed", "its last line is: )")
    inner = text[text.index("(") + 1 : -1]
    lines = [line.strip() for part in inner.splitlines() for line in _at_semicolons(part)]
    actions = []
    for line in filter(None, lines):
        kind, data = parse_command(line)
        actions.append({"type": kind, "data": data})
    if not actions:
        raise UsageError("the transaction has no actions", "one a line: blockdev-snapshot node=… overlay=…")
    return actions


def _at_semicolons(text: str) -> list[str]:
    parts, depth, quote, skip = [""], 0, "", False
    for letter in text:
        if letter == ";" and not depth and not quote:
            parts.append("")
            continue
        parts[-1] += letter
        depth, quote, skip = _step(letter, depth, quote, skip=skip)
    return parts


def _put(table: dict[str, Any], path: str, value: object) -> None:
    *outer, last = path.split(".")
    for key in outer:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{path} is given below {key}, which has a value already")
        table = inner
    if last in table:
        raise UsageError(f"{path} is given twice")
    table[last] = value


def _value(text: str) -> object:
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1]
        if text[:1] not in ("{", "["):
            return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass
    if text[:1] in ("{", "["):
        return _literal(text)
    return {"on": True, "off": False, "True": True, "False": False, "None": None}.get(text, text)


def _literal(text: str) -> object:
    import ast  # noqa: PLC0415 - only for values that look like Python's

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UsageError(f"{text[:60]!r} is neither JSON nor a Python literal") from error
