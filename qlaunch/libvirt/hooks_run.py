"""A script gone through without running it: which commands it would reach, and what each of them means.

Owns: variables, branches, loops. A branch whose condition depends on the computer is taken only if everything in it is
understood; otherwise the whole of it is one event that is kept. Must not: know what becomes of an event.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import msgspec

from qlaunch.libvirt.hooks_alone import alone
from qlaunch.libvirt.hooks_facts import Fact, needless
from qlaunch.libvirt.hooks_grammar import parse
from qlaunch.libvirt.hooks_meaning import Scene, keys, meaning, pipe
from qlaunch.libvirt.hooks_nodes import Case, Chain, For, Function, If, Node, Simple, While
from qlaunch.libvirt.hooks_tokens import tokens
from qlaunch.libvirt.hooks_words import FIELD_END, UNKNOWN, expand, holds, is_known, joined

MOST_EVENTS = 2000
# A condition on how the command before it ended.
_ASKS_BEFORE = re.compile(r"(?:if\s+|while\s+)?(?:\[+|test)\s[^;\]]*\$\?")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One command or block: its first line, its text, and what it means; None when that is not known.

    ``alone`` is the text that can run by itself, with the variables and functions that it needs, and the whole of the
    outermost block that it stands in; ``block`` is that block's line.
    """

    line: int
    text: str
    facts: tuple[Fact, ...] | None
    alone: str = ""
    block: int = 0


class Walk:
    """The state of going through one script. ``files`` gives the text behind a ``source``, or None."""

    def __init__(self, script: str, arguments: list[str], files: Callable[[str], str | None], *, starts: bool) -> None:
        self._script = script
        self._files = files
        self._starts = starts
        self.variables = {str(number): text for number, text in enumerate(arguments)}
        self._assigned: dict[str, str] = {}  # the words as written
        self._functions: dict[str, Function] = {}
        self._events = 0
        self._calls = 0
        self._doubts = 0  # how many blocks we are in that may not be reached
        self._over = False
        self._last = "true"  # what $? asks of: the command before, or nothing where a key has taken its place

    def run(self) -> list[Event]:
        """Go through the script. Raises UnreadableError when it cannot be read."""
        return self._all(parse(self._script))

    def _all(self, nodes: tuple[Node, ...]) -> list[Event]:
        events: list[Event] = []
        for node in nodes:
            if not self._over:
                new = self._one(node)
                sets = isinstance(node, Simple) and not node.words
                asked = bool(new) and all(event.facts is not None and not keys(event.facts) for event in new)
                self._last = self._last if sets else self._text(node) if asked else "true"
                events += new
        return events

    def _one(self, node: Node) -> list[Event]:  # noqa: PLR0911 - one a kind of command
        self._events += 1
        if self._events > MOST_EVENTS:
            return [self._kept(node)]
        match node:
            case Simple():
                return self._simple(node)
            case Chain():
                return self._chain(node)
            case If():
                return self._if(node)
            case Case():
                return self._case(node)
            case For():
                return self._for(node)
            case While():
                return self._perhaps(node, (*node.condition, *node.body))
            case Function(name=""):
                return self._all(node.body)
            case Function():
                self._functions[node.name] = node
                return []
            case _:
                return [self._kept(node)]

    def _simple(self, node: Simple) -> list[Event]:
        words = [field for word in node.words for field in expand(word, self.variables)]
        if node.words[:1] in (("[[",), ("[",)):
            return [self._event(node, needless())]
        if not words:
            self._assign(node.assignments)
            return []
        if words[0] == "exit" and not self._doubts:
            self._over = True
        if words[0] in ("source", ".") and len(words) > 1:
            return self._source(node, words[1])
        if words[0] == "let":
            self.variables |= dict.fromkeys((re.split(r"\W", word)[0] for word in words[1:]), UNKNOWN)
        if words[0] in ("export", "local", "readonly", "declare", "typeset"):
            self._assign(tuple((name, text) for name, _, text in (word.partition("=") for word in node.words[1:])))
            return []
        if function := self._functions.get(words[0]):
            return self._call(node, function, words)
        return [self._event(node, meaning(node, words, self._scene()))]

    def _chain(self, node: Chain) -> list[Event]:
        if all(operator in ("", "|") for operator, _ in node.parts):
            return [self._event(node, pipe([part for _, part in node.parts], self._scene()))]
        first = node.parts[0][1]
        answer = self._answer(first)
        if answer is not None and len(node.parts) == 2:
            operator, second = node.parts[1]
            return self._one(second) if answer == (operator == "&&") else []
        return self._perhaps(node, tuple(part for _, part in node.parts))

    def _if(self, node: If) -> list[Event]:
        for condition, body in node.branches:
            answer = True if not condition else self._answer(condition[-1]) if len(condition) == 1 else None
            if answer is None:
                return self._perhaps(node, tuple(part for test, then in node.branches for part in (*test, *then)))
            if answer:
                return self._all(body)
        return []

    def _case(self, node: Case) -> list[Event]:
        subject = joined(node.subject, self.variables)
        if not is_known(subject):
            return self._perhaps(node, tuple(part for _, body in node.arms for part in body))
        for patterns, body in node.arms:
            if any(fnmatchcase(subject, joined(pattern, self.variables)) for pattern in patterns):
                return self._all(body)
        return []

    def _for(self, node: For) -> list[Event]:
        values = [field for word in node.words for field in expand(word, self.variables)]
        if not values or not all(is_known(value) and "*" not in value for value in values):
            # One round for all: what stands for any CPU is as good as each of them.
            self.variables[node.name] = values[0].replace("*", UNKNOWN) if len(values) == 1 else UNKNOWN
            return self._perhaps(node, node.body)
        events: list[Event] = []
        for value in values:
            self.variables[node.name] = value
            round_ = self._all(node.body)
            if any(event.facts is None for event in round_):
                return [self._kept(node)]
            events += round_
        return self._inside(node, events)

    def _perhaps(self, node: Node, parts: tuple[Node, ...]) -> list[Event]:
        """Take all of a block if all of it is understood; keep all of it otherwise."""
        before, last = dict(self.variables), self._last
        self._doubts += 1
        events = self._all(parts)
        self._doubts -= 1
        if any(event.facts is None for event in events):
            self.variables, self._last = before, last
            return [self._kept(node)]
        return self._inside(node, events)

    def _call(self, node: Simple, function: Function, words: list[str]) -> list[Event]:
        self._calls += 1
        if self._calls > MOST_EVENTS // 10:
            return [self._kept(node)]
        before = {key: text for key, text in self.variables.items() if key.isdigit()}
        self.variables |= {str(number): text for number, text in enumerate(words) if number}
        events = self._all(function.body)
        self.variables |= before
        return events

    def _source(self, node: Simple, path: str) -> list[Event]:
        text = self._files(path)
        if text is None:
            return [self._event(node, None)]
        inner = Walk(text, [], self._files, starts=self._starts)
        events = inner.run()
        self.variables |= {key: value for key, value in inner.variables.items() if not key.isdigit()}
        if any(event.facts is None or keys(event.facts) for event in events):
            return [self._event(node, None)]
        return []

    def _assign(self, assignments: tuple[tuple[str, str], ...]) -> None:
        for name, text in assignments:
            if text.startswith("("):
                fields = [field for word in tokens(text[1:-1]) for field in expand(word.text, self.variables)]
                self.variables[f"{name}[@]"] = FIELD_END.join(fields)
                self.variables[name] = fields[0] if fields else ""
            else:
                self.variables[name] = joined(text, self.variables)
            self._assigned[name] = text.replace("$?", f"$({{ {self._last}; }} > /dev/null 2>&1; echo $?)")

    def _answer(self, node: Node) -> bool | None:
        if not isinstance(node, Simple):
            return None
        words = [field for word in node.words for field in expand(word, self.variables) or [""]]
        match words:
            case ["[", *inside, "]"] | ["[[", *inside, "]]"] | ["test", *inside]:
                return holds(inside)
            case _:
                return None

    def _scene(self) -> Scene:
        return Scene(self.variables, starts=self._starts, takes_pages="nr_hugepages" in self._script)

    def _event(self, node: Node, facts: tuple[Fact, ...] | None) -> Event:
        return msgspec.structs.replace(self._kept(node), facts=facts)

    def _kept(self, node: Node) -> Event:
        return Event(line=node.line, text=self._text(node), facts=None, alone=self._alone(node), block=node.line)

    def _inside(self, node: Node, events: list[Event]) -> list[Event]:
        """Say of events that they stand in a block: none of them can be kept without it."""
        alone = self._alone(node)
        return [msgspec.structs.replace(event, alone=alone, block=node.line) for event in events]

    def _alone(self, node: Node) -> str:
        functions = {name: self._text(function) for name, function in self._functions.items()}
        text = self._text(node)
        if _ASKS_BEFORE.match(text):
            text = f"{self._last}\n{text}"
        return alone(text, self.variables, self._assigned, functions)

    def _text(self, node: Node) -> str:
        return self._script[node.start : node.end]


def sources(files: Mapping[str, str], used: set[str]) -> Callable[[str], str | None]:
    """Give the text behind a ``source`` from the folder's own files, by the last part of its path; note it as used."""

    def find(path: str) -> str | None:
        name = path.rpartition("/")[2]
        found = next((key for key in files if key.rpartition("/")[2] == name and name), None)
        used.update([found] if found else [])
        return files[found] if found else None

    return find
