"""Keys as people write them, and as QEMU knows them. Pure.

Source: ``qapi/ui.json`` (QKeyCode).
"""

from collections.abc import Iterator

from qlaunch.errors import UsageError

_OTHER_NAMES = {
    "enter": "ret",
    "return": "ret",
    "escape": "esc",
    "del": "delete",
    "ins": "insert",
    "space": "spc",
    "win": "meta_l",
    "super": "meta_l",
    "meta": "meta_l",
    "altgr": "alt_r",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "control": "ctrl",
    "printscreen": "print",
}
_PLAIN = {
    " ": "spc",
    "\n": "ret",
    "\t": "tab",
    "-": "minus",
    "=": "equal",
    "[": "bracket_left",
    "]": "bracket_right",
    ";": "semicolon",
    "'": "apostrophe",
    "`": "grave_accent",
    "\\": "backslash",
    ",": "comma",
    ".": "dot",
    "/": "slash",
}
_SHIFTED = dict(zip('!@#$%^&*()_+{}:"~|<>?', "1234567890-=[];'`\\,./", strict=True))


def combination(text: str) -> list[str]:
    """Read ``ctrl-alt-f2``. QEMU itself knows which names exist."""
    names = [_OTHER_NAMES.get(name, name) for name in text.lower().split("-")]
    if not all(names):
        raise UsageError(f"{text!r} is no combination of keys", "example: ctrl-alt-delete; the key - is minus")
    return names


def typed(text: str) -> Iterator[list[str]]:
    """Yield the combinations that type a text on a US keyboard. Raises UsageError for what is not on it."""
    for letter in text:
        plain = _SHIFTED.get(letter, letter.lower() if letter.isascii() else letter)
        key = _PLAIN.get(plain, plain if plain.isascii() and plain.isalnum() else "")
        if not key:
            raise UsageError(f"{letter!r} is not on a US keyboard")
        yield ["shift", key] if plain != letter else [key]
