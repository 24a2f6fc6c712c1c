"""The commands of a shell script as values. Must not: know how they are read, or what they do.

Source: POSIX.1-2017, "Shell Command Language", 2.9.
"""

import msgspec


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One command, with its line and its place in the script."""

    line: int
    start: int
    end: int


class Simple(Node, frozen=True, kw_only=True):
    """A simple command: assignments, words as written, and redirections as operator and word."""

    assignments: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    redirections: tuple[tuple[str, str], ...] = ()


class Chain(Node, frozen=True, kw_only=True):
    """Commands joined by ``|``, ``&&`` or ``||``; the first one's operator is empty."""

    parts: tuple[tuple[str, Node], ...]


class If(Node, frozen=True, kw_only=True):
    """Conditions with what follows them; the condition of ``else`` is empty."""

    branches: tuple[tuple[tuple[Node, ...], tuple[Node, ...]], ...]


class For(Node, frozen=True, kw_only=True):
    """A loop over words."""

    name: str
    words: tuple[str, ...]
    body: tuple[Node, ...]


class While(Node, frozen=True, kw_only=True):
    """A loop on a condition."""

    condition: tuple[Node, ...]
    body: tuple[Node, ...]


class Case(Node, frozen=True, kw_only=True):
    """A choice by patterns."""

    subject: str
    arms: tuple[tuple[tuple[str, ...], tuple[Node, ...]], ...]


class Function(Node, frozen=True, kw_only=True):
    """A function, or a group in braces or brackets when it has no name."""

    name: str
    body: tuple[Node, ...]
