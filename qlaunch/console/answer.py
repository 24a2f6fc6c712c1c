"""How an answer looks: JSON that is folded to the width, coloured for people, on one line for programs. Pure."""

from collections.abc import Iterator

import msgspec

_KEY, _TEXT, _NUMBER, _WORD = "34", "32", "36", "35"


def render(value: object, width: int, *, colour: bool) -> list[str]:
    """Give the lines of a value: what fits into the width stands on one line, the rest is opened up."""
    return list(_lines(value, "", "", width, colour=colour))


def one_line(value: object) -> str:
    """Give a value as JSON on a single line."""
    return msgspec.json.encode(value).decode()


def _lines(value: object, before: str, after: str, width: int, *, colour: bool) -> Iterator[str]:
    """Yield the lines of a value behind ``before`` (indent and key, uncoloured in length) and before ``after``."""
    flat = one_line_spaced(value)
    if not isinstance(value, dict | list) or not value or _length(before) + len(flat) + len(after) <= width:
        yield f"{before}{_painted(value, colour=colour)}{after}"
        return
    indent = " " * (len(before) - len(before.lstrip(" ")) + 2)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield before + opening
    items = list(value.items()) if isinstance(value, dict) else [(None, one) for one in value]
    for number, (key, one) in enumerate(items):
        comma = "," if number < len(items) - 1 else ""
        label = "" if key is None else f"{_paint(one_line(str(key)), _KEY, colour=colour)}: "
        yield from _lines(one, indent + label, comma, width, colour=colour)
    yield indent[2:] + closing + after


def one_line_spaced(value: object) -> str:
    """Give a value as JSON on one line with blanks, as people write it."""
    return _painted(value, colour=False)


def _painted(value: object, *, colour: bool) -> str:
    if isinstance(value, dict):
        pairs = (
            f"{_paint(one_line(str(key)), _KEY, colour=colour)}: {_painted(one, colour=colour)}"
            for key, one in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_painted(one, colour=colour) for one in value) + "]"
    code = _TEXT if isinstance(value, str) else _WORD if value is None or isinstance(value, bool) else _NUMBER
    # An escape of the terminal in a guest's text comes out as \u001b: JSON has no raw control characters.
    return _paint(one_line(value).replace("\x7f", "\\u007f"), code, colour=colour)


def _paint(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _length(text: str) -> int:
    """Count what is seen of a text."""
    length, hidden = 0, False
    for letter in text:
        if letter == "\x1b":
            hidden = True
        length += not hidden
        if hidden and letter == "m":
            hidden = False
    return length
