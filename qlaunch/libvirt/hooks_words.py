"""Words of a script with their variables filled in, and tests with a known answer.

Owns: quoting and expansion, as far as the answer depends on the script alone. What depends on the computer that it
runs on (``$(…)``, a glob, the environment) is UNKNOWN, one character that stands for any text.

Source: POSIX.1-2017, "Shell Command Language", 2.6 (word expansions); bash(1), "Brace Expansion".
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

UNKNOWN = "\N{OBJECT REPLACEMENT CHARACTER}"
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])|\{([A-Za-z_][A-Za-z0-9_]*|[0-9])(?::?-([^}]*))?\})")
_RANGE = re.compile(r"\{[^{}]*(?:\.\.|,)[^{}]*\}")
_WHOLE_ARRAY = re.compile(r'("?)\$\{([A-Za-z_][A-Za-z0-9_]*)\[[@*]\]\}\1')
LONGEST = 4096
# Between the fields of an array, which is kept under its name and ``[@]``.
FIELD_END = "\x1f"

Variables = Mapping[str, str]


def expand(word: str, variables: Variables) -> list[str]:
    """Give the fields that a word becomes: an unquoted variable is split at blanks, a quoted one is not."""
    if array := _WHOLE_ARRAY.fullmatch(word):
        return variables.get(f"{array[2]}[@]", UNKNOWN).split(FIELD_END)
    parts = list(_parts(word, variables))
    fields, current, begun = [], "", False
    for text, quoted in parts:
        if quoted:
            current, begun = current + text, True
            continue
        pieces = re.split(r"[ \t\n]+", text)
        for position, piece in enumerate(pieces):
            if position and (current or begun):
                fields.append(current)
                current, begun = "", False
            current += piece
    return [field[:LONGEST] for field in ([*fields, current] if current or begun else fields)]


def joined(word: str, variables: Variables) -> str:
    """Give a word as one text, as the value of an assignment is."""
    return "".join(text for text, _ in _parts(word, variables))[:LONGEST]


def is_known(text: str) -> bool:
    """Whether a text depends on the script alone."""
    return UNKNOWN not in text


def shown(text: str) -> str:
    """Give a text for people: a star where anything may stand."""
    return re.sub(f"{UNKNOWN}+", "*", text)


def holds(words: list[str]) -> bool | None:
    """Say whether ``[ … ]`` holds; None when that depends on the computer."""
    if words and words[0] == "!":
        answer = holds(words[1:])
        return None if answer is None else not answer
    for operator, decides in (("||", True), ("-o", True), ("&&", False), ("-a", False)):
        if operator in words:
            at = words.index(operator)
            sides = (holds(words[:at]), holds(words[at + 1 :]))
            if decides in sides:
                return decides
            return None if None in sides else not decides
    match words:
        case [left, ("=" | "==" | "!=") as operator, right] if is_known(left) and is_known(right):
            return fnmatchcase(left, right) == (operator != "!=")
        case ["-z" | "-n" as operator, text] if is_known(text):
            return (text == "") == (operator == "-z")
        case _:
            return None


def _parts(word: str, variables: Variables) -> list[tuple[str, bool]]:
    """Give pieces of text, each with whether it was quoted."""
    found: list[tuple[str, bool]] = []
    at = 0
    while at < len(word):
        letter = word[at]
        if letter == "'":
            end = word.index("'", at + 1)
            found.append((word[at + 1 : end], True))
            at = end + 1
        elif letter == '"':
            text, at = _double_quoted(word, at + 1, variables)
            found.append((text, True))
        elif letter == "\\":
            found.append((word[at + 1 : at + 2].replace("\n", ""), True))
            at += 2
        elif letter in "$`":
            text, at = _substituted(word, at, variables)
            found.append((text, False))
        else:
            end = next((place for place in range(at, len(word)) if word[place] in "'\"\\$`"), len(word))
            found.append((_RANGE.sub(UNKNOWN, word[at:end]), False))
            at = end
    return found


def _double_quoted(word: str, at: int, variables: Variables) -> tuple[str, int]:
    text = ""
    while at < len(word) and word[at] != '"':
        if word[at] == "\\":
            text += word[at + 1 : at + 2] if word[at + 1 : at + 2] in '$`"\\' else word[at : at + 2]
            at += 2
        elif word[at] in "$`":
            piece, at = _substituted(word, at, variables)
            text += piece
        else:
            text, at = text + word[at], at + 1
    return text, at + 1


def _substituted(word: str, at: int, variables: Variables) -> tuple[str, int]:
    if match := _VARIABLE.match(word, at):
        default = UNKNOWN if match[3] is None else match[3]
        return variables.get(match[1] or match[2], default), match.end()
    if word[at] == "`":
        end = word.find("`", at + 1)
        return UNKNOWN, len(word) if end < 0 else end + 1
    opening = word[at + 1 : at + 2]
    if opening not in ("(", "{"):
        return "$", at + 1
    depth, closing = 0, ")" if opening == "(" else "}"
    for place in range(at + 1, len(word)):
        depth += (word[place] == opening) - (word[place] == closing)
        if depth == 0:
            return UNKNOWN, place + 1
    return UNKNOWN, len(word)
