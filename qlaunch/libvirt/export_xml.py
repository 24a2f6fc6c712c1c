"""XML as it is written: elements as values, and one function that turns them into text.

Owns: escaping. A value of a machine file can become neither an element nor an attribute. Must not: know libvirt's
words.

Source: XML 1.0, fifth edition: section 2.2 (characters that cannot be written at all), 2.4 (escaping) and 3.3.3 (line
ends in attributes are lost unless written as references).
"""

import re
from collections.abc import Iterator

import msgspec

Attribute = str | int | None

# Everything but tab, line feed, carriage return and the three ranges of section 2.2; lone surrogates are outside too.
_NO_CHARACTER = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_ESCAPES |= {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;", "\x85": "&#133;", "\u2028": "&#8232;"}
_SPECIAL = re.compile("[" + "".join(_ESCAPES) + "]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Element(msgspec.Struct, frozen=True):
    """One element: its name, attributes in their order, and either text or children."""

    tag: str
    attributes: dict[str, str] = {}
    children: tuple["Element", ...] = ()
    text: str = ""

    def walk(self) -> Iterator["Element"]:
        """Yield this element and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def element(tag: str, /, *children: Element | None, text: Attribute = None, **attributes: Attribute) -> Element:
    """Give an element. A None among children and attributes is left out; ``class_`` stands for ``class``."""
    written = {key.removesuffix("_"): str(value) for key, value in attributes.items() if value is not None}
    inside = tuple(child for child in children if child is not None)
    return Element(tag, written, inside, "" if text is None else str(text))


def write(root: Element) -> str:
    """Give the document, two spaces a level. What XML cannot hold becomes U+FFFD; see `unwritable`."""
    return "\n".join(_lines(root, "")) + "\n"


def unwritable(root: Element) -> list[str]:
    """Name the places whose value holds a character that XML cannot write, such as ``source@file``."""
    found = []
    for node in root.walk():
        found += [f"{node.tag}@{key}" for key, value in node.attributes.items() if _NO_CHARACTER.search(value)]
        found += [node.tag] if _NO_CHARACTER.search(node.text) else []
    return found


def _lines(node: Element, indent: str) -> Iterator[str]:
    start = node.tag + "".join(f' {key}="{_escape(value)}"' for key, value in node.attributes.items())
    if node.children:
        yield f"{indent}<{start}>"
        for child in node.children:
            yield from _lines(child, f"{indent}  ")
        yield f"{indent}</{node.tag}>"
    elif node.text:
        yield f"{indent}<{start}>{_escape(node.text)}</{node.tag}>"
    else:
        yield f"{indent}<{start}/>"


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], _NO_CHARACTER.sub(REPLACEMENT, text))
