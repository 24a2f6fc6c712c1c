"""Tokens as commands: simple ones, lists, and the compound ones that hook scripts use.

Owns: the structure. Must not: know what a command does. Pipelines and lists with ``&&`` and ``||`` are kept whole.

Source: POSIX.1-2017, "Shell Command Language", 2.9 and 2.10; bash(1) for ``[[``, ``function`` and ``&>``.
"""

import re

from qlaunch.libvirt.hooks_nodes import Case, Chain, For, Function, If, Node, Simple, While
from qlaunch.libvirt.hooks_tokens import Token, UnreadableError, tokens

DEEPEST = 32
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_ENDS = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}"})


def parse(script: str) -> tuple[Node, ...]:
    """Read a script. Raises UnreadableError."""
    parser = _Parser(tokens(script))
    nodes = parser.list_until(frozenset())
    if parser.peek() is not None:
        raise UnreadableError(f"line {parser.here().line} has {parser.here().text!r} where no command ends")
    return nodes


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0

    def peek(self) -> str | None:
        return self._tokens[self._at].text if self._at < len(self._tokens) else None

    def here(self) -> Token:
        if self._at >= len(self._tokens):
            raise UnreadableError("it ends inside a command")
        return self._tokens[self._at]

    def take(self, wanted: str | None = None) -> Token:
        token = self.here()
        if wanted is not None and token.text != wanted:
            raise UnreadableError(f"line {token.line} has {token.text!r} where {wanted!r} is expected")
        self._at += 1
        return token

    def list_until(self, ends: frozenset[str]) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while (text := self.peek()) is not None and text not in ends:
            if self.here().operator and text in ("\n", ";", "&"):
                self.take()
            elif text in _ENDS or text in (")", ";;"):
                break
            else:
                nodes.append(self._chain())
        return tuple(nodes)

    def _chain(self) -> Node:
        first = self._command()
        parts: list[tuple[str, Node]] = [("", first)]
        while self.peek() in ("|", "&&", "||") and self.here().operator:
            operator = self.take().text
            while self.peek() == "\n":
                self.take()
            parts.append((operator, self._command()))
        if len(parts) == 1:
            return first
        return Chain(line=first.line, start=first.start, end=parts[-1][1].end, parts=tuple(parts))

    def _command(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise UnreadableError(f"line {self.here().line} is more than {DEEPEST} commands deep")
        try:
            return self._compound() or self._simple()
        finally:
            self._depth -= 1

    def _compound(self) -> Node | None:  # noqa: PLR0911 - one a kind of command
        token = self.here()
        following = self._tokens[self._at + 1].text if self._at + 1 < len(self._tokens) else ""
        match token.text:
            case "if":
                return self._if(self.take())
            case "for":
                return self._for(self.take())
            case "while" | "until":
                self.take()
                condition = self.list_until(frozenset({"do"}))
                body = self._do()
                return While(line=token.line, start=token.start, end=self._end(), condition=condition, body=body)
            case "case":
                return self._case(self.take())
            case "(" if following == "(":
                self._arithmetic()
                return Simple(line=token.line, start=token.start, end=self._end(), words=(":",))
            case "{" | "(":
                return self._group("", self.take())
            case "function":
                self.take()
                return self._function(token)
            case _ if following == "(" and not token.operator and not token.text.endswith("="):
                return self._function(token)
            case _:
                return None

    def _end(self) -> int:
        return self._tokens[self._at - 1].end

    def _if(self, first: Token) -> Node:
        branches = []
        word = "if"
        while word in ("if", "elif"):
            condition = self.list_until(frozenset({"then"}))
            self.take("then")
            body = self.list_until(frozenset({"elif", "else", "fi"}))
            branches.append((condition, body))
            word = self.take().text
        if word == "else":
            branches.append(((), self.list_until(frozenset({"fi"}))))
            self.take("fi")
        elif word != "fi":
            raise UnreadableError(f"the if of line {first.line} is never closed")
        self._redirections()
        return If(line=first.line, start=first.start, end=self._end(), branches=tuple(branches))

    def _arithmetic(self) -> str:
        """Take ``((…))``, and give the first word in it; what is counted there is not followed."""
        self.take("(")
        depth, name = 1, ""
        while depth:
            token = self.take()
            depth += (token.text == "(") - (token.text == ")")
            name = name or ("" if token.operator else token.text.partition("=")[0])
        return name

    def _for(self, first: Token) -> Node:
        words: list[str] = []
        if self.peek() == "(":
            name, words = self._arithmetic(), ["$(counted)"]
        else:
            name = self.take().text
        if self.peek() == "in":
            self.take()
            while not self.here().operator:
                words.append(self.take().text)
        body = self._do()
        return For(line=first.line, start=first.start, end=self._end(), name=name, words=tuple(words), body=body)

    def _do(self) -> tuple[Node, ...]:
        while self.peek() in ("\n", ";"):
            self.take()
        self.take("do")
        body = self.list_until(frozenset({"done"}))
        self.take("done")
        self._redirections()
        return body

    def _case(self, first: Token) -> Node:
        subject = self.take().text
        self.take("in")
        arms = []
        while True:
            while self.peek() in ("\n", ";;"):
                self.take()
            if self.peek() == "esac":
                break
            patterns = []
            while (token := self.take()).text != ")":
                if not token.operator:
                    patterns.append(token.text)
            arms.append((tuple(patterns), self.list_until(frozenset({";;", "esac"}))))
        self.take("esac")
        return Case(line=first.line, start=first.start, end=self._end(), subject=subject, arms=tuple(arms))

    def _function(self, first: Token) -> Node:
        name = self.take().text
        if self.peek() == "(":
            self.take()
            self.take(")")
        while self.peek() == "\n":
            self.take()
        return self._group(name, self.take(), first)

    def _group(self, name: str, opening: Token, first: Token | None = None) -> Node:
        closing = {"{": "}", "(": ")"}.get(opening.text)
        if closing is None:
            raise UnreadableError(f"line {opening.line} has no body for the function {name}")
        body = self.list_until(frozenset({closing}))
        self.take(closing)
        self._redirections()
        first = first or opening
        return Function(line=first.line, start=first.start, end=self._end(), name=name, body=body)

    def _redirections(self) -> list[tuple[str, str]]:
        found = []
        while (token := self._tokens[self._at] if self._at < len(self._tokens) else None) and _redirects(token):
            found.append((self.take().text, self.take().text))
        return found

    def _simple(self) -> Simple:
        first = self.here()
        assignments: list[tuple[str, str]] = []
        words: list[str] = []
        redirections: list[tuple[str, str]] = []
        while self._at < len(self._tokens):
            token = self.here()
            if _redirects(token):
                redirections += self._redirections()
            elif token.operator:
                break
            else:
                text = self._word()
                match = _ASSIGNMENT.fullmatch(text)
                if match and not words:
                    assignments.append((match[1], match[2]))
                else:
                    words.append(text)
                    if text == "[[":
                        words += self._double_brackets()
        if self._end() <= first.start:
            raise UnreadableError(f"line {first.line} has {first.text!r} where a command is expected")
        return Simple(
            line=first.line,
            start=first.start,
            end=self._end(),
            assignments=tuple(assignments),
            words=tuple(words),
            redirections=tuple(redirections),
        )

    def _word(self) -> str:
        """Take a word; ``name=(a b)``, which bash knows, is one with all that is in its brackets."""
        token = self.take()
        if not (token.text.endswith("=") and self.peek() == "(" and self.here().start == token.end):
            return token.text
        if not _ASSIGNMENT.fullmatch(token.text):
            raise UnreadableError(f"line {token.line} adds to an array")
        parts = []
        while (part := self.take()).text != ")":
            parts += [] if part.operator else [part.text]
        return f"{token.text}({' '.join(parts[1:] if parts[:1] == ['('] else parts)})"

    def _double_brackets(self) -> list[str]:
        """Take everything up to ``]]``: inside, ``&&`` and ``<`` join tests and compare."""
        words = []
        while (token := self.take()).text != "]]":
            words.append(token.text)
        return [*words, "]]"]


def _redirects(token: Token) -> bool:
    return token.operator and (">" in token.text or "<" in token.text)
