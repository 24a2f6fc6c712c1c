"""Keys of the machine file in one line: ``disk.0.path``, ``host.sysctl."vm.stat_interval"``.

A number is the index of an array, counted from 0. A part with other characters than letters, digits, ``_`` and ``-``
is quoted.
"""

from collections.abc import Sequence

Key = tuple[str, ...]


def split_key(text: str) -> Key:
    """Read a dotted key. Raises ValueError with a sentence."""
    parts: list[str] = []
    rest = text.strip()
    while True:
        part, rest = _first_part(rest, text)
        parts.append(part)
        if not rest:
            return tuple(parts)
        if not rest.startswith("."):
            raise ValueError(f"{text!r} is not a key such as 'cpu.model' or 'disk.0.path'")
        rest = rest[1:].lstrip()


def join_key(parts: Sequence[str]) -> str:
    """Print a dotted key; the inverse of `split_key` for keys that can be shown in one line."""
    return ".".join(part if _is_plain(part) else _quote(part) for part in parts)


def split_assignment(text: str) -> tuple[Key, str]:
    """Split ``cpu.model=max`` at the first ``=`` outside quotes. Raises ValueError with a sentence."""
    quote = ""
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "=":
            return split_key(text[:position]), text[position + 1 :].strip()
    raise ValueError(f"{text!r} has no '='; write it as 'cpu.model=max'")


def _first_part(rest: str, whole: str) -> tuple[str, str]:
    if rest[:1] in ("'", '"') and rest:
        end = rest.find(rest[0], 1)
        if end < 0:
            raise ValueError(f"{whole!r} has an open quote")
        return rest[1:end], rest[end + 1 :].lstrip()
    end = next((place for place, character in enumerate(rest) if not _is_plain(character)), len(rest))
    if not end:
        raise ValueError(f"{whole!r} is not a key such as 'cpu.model' or 'disk.0.path'")
    return rest[:end], rest[end:].lstrip()


def _is_plain(part: str) -> bool:
    return bool(part) and part.isascii() and part.replace("-", "a").replace("_", "a").isalnum()


def _quote(part: str) -> str:
    """Quote a part. What a terminal could not show, or both kinds of quotes, is lost: it is for people to recognize."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in part)
    if '"' in shown and "'" in shown:
        shown = shown.replace("'", "\ufffd")
    return f"'{shown}'" if '"' in shown else f'"{shown}"'
