"""A shell script as tokens: words with their quotes still on, and operators; each with its line and its place.

Owns: quotes, comments, continued lines. Must not: expand anything. What it cannot read it refuses, and the script is
kept as it is.

Source: POSIX.1-2017, "Shell Command Language", 2.2 (quoting) and 2.3 (token recognition).
"""

import re

import msgspec

# Longest first, so that ``&&`` is not two of ``&``.
_OPERATOR = re.compile(r"\d?(?:&>>|&>|>>|>&|>\||<&|<<<|<)|\d?>|;;|&&|\|\||[;&|()\n]")
_PLAIN = re.compile(r"[^\s;&|()<>'\"\\$`]+")
_CLOSING = {"(": ")", "{": "}"}


class UnreadableError(ValueError):
    """A construct that is not read here; the message names it and its line."""


class Token(msgspec.Struct, frozen=True):
    """A word (``operator`` is false) or an operator, as written; ``start`` and ``end`` are offsets in the script."""

    text: str
    operator: bool
    line: int
    start: int
    end: int


def tokens(script: str) -> list[Token]:
    """Split a script. Raises UnreadableError for a here-document, and for a quote that is never closed."""
    found: list[Token] = []
    at, line = 0, 1
    while at < len(script):
        if script.startswith("\\\n", at):
            at, line = at + 2, line + 1
        elif script[at] in " \t\r":
            at += 1
        elif script[at] == "#":
            end = script.find("\n", at)
            at = len(script) if end < 0 else end
        elif (match := _OPERATOR.match(script, at)) and not _is_here_document(script, at, line):
            found.append(Token(text=match[0], operator=True, line=line, start=at, end=match.end()))
            line += match[0] == "\n"
            at = match.end()
        else:
            end = _word_end(script, at, line)
            found.append(Token(text=script[at:end], operator=False, line=line, start=at, end=end))
            line += script.count("\n", at, end)
            at = end
    return found


def _is_here_document(script: str, at: int, line: int) -> bool:
    if script.startswith("<<", at) and not script.startswith("<<<", at):
        raise UnreadableError(f"line {line} begins a here-document")
    return False


def _word_end(script: str, at: int, line: int) -> int:
    while at < len(script):
        letter = script[at]
        if letter == "\\":
            at += 2
        elif letter in "'\"`":
            at = _quote_end(script, at, line)
        elif letter == "$" and script[at + 1 : at + 2] in ("(", "{"):
            at = _bracket_end(script, at + 1, line)
        elif letter == "$":
            at += 1
        elif match := _PLAIN.match(script, at):
            at = match.end()
        else:
            break
    return min(at, len(script))


def _quote_end(script: str, at: int, line: int) -> int:
    quote = script[at]
    at += 1
    while at < len(script) and script[at] != quote:
        if quote == '"' and script[at] == "$" and script[at + 1 : at + 2] in ("(", "{"):
            at = _bracket_end(script, at + 1, line)
        else:
            at += 2 if script[at] == "\\" and quote != "'" else 1
    if at >= len(script):
        raise UnreadableError(f"a quote of line {line} is never closed")
    return at + 1


def _bracket_end(script: str, at: int, line: int) -> int:
    """Give the place after the bracket that closes the one at ``at``; quotes inside are skipped."""
    opening, depth = script[at], 0
    while at < len(script):
        letter = script[at]
        if letter in "'\"`":
            at = _quote_end(script, at, line)
            continue
        depth += (letter == opening) - (letter == _CLOSING[opening])
        at += 2 if letter == "\\" else 1
        if depth == 0:
            return at
    raise UnreadableError(f"a bracket of line {line} is never closed")
