"""XML from strangers as elements with their lines and columns. Pure: no file, network or program is touched.

There are no document types here, so there are no entities to expand and nothing external to fetch. Size, depth and
numbers are bounded.

Source: the manual of Python's ``xml.parsers.expat``; XML 1.0, section 4.6 (the five entities that need no declaration).
"""

from typing import NoReturn
from xml.parsers import expat

from qlaunch.errors import UsageError
from qlaunch.libvirt.import_node import Node

MOST_BYTES = 16 << 20
MOST_ELEMENTS = 20_000
MOST_ATTRIBUTES = 64
DEEPEST = 64
_TRUNCATED = (3, 5)  # XML_ERROR_NO_ELEMENTS, XML_ERROR_UNCLOSED_TOKEN


def read_xml(data: bytes, source: str) -> Node:
    """Give the root element. ``source`` is the file's name, for messages. Raises UsageError."""
    if len(data) > MOST_BYTES:
        raise UsageError(f"{source} has {len(data)} bytes; a domain has at most {MOST_BYTES}", "is it domain XML?")
    return _Reader(source).run(data)


class _Reader:
    """The handlers of one run of expat."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.root: Node | None = None
        self.open: list[Node] = []
        self.texts: list[list[str]] = []
        self.elements = 0

    def run(self, data: bytes) -> Node:
        try:
            self.parser.Parse(data, True)  # noqa: FBT003 - expat takes no keywords
        except expat.ExpatError as error:
            self._malformed(error)
        except (LookupError, ValueError) as error:  # an encoding that Python does not have
            self._refuse(f"cannot be read as text: {error}", "save it as UTF-8")
        if self.root is None:
            self._refuse("has no element", "is it domain XML?")
        return self.root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        if self.elements > MOST_ELEMENTS:
            self._refuse(f"has more than {MOST_ELEMENTS} elements", "is it domain XML?")
        if len(self.open) >= DEEPEST:
            self._refuse(f"nests elements deeper than {DEEPEST}", "is it domain XML?")
        if len(attributes) > MOST_ATTRIBUTES:
            self._refuse(f"has an element of more than {MOST_ATTRIBUTES} attributes", "is it domain XML?")
        parent = self.open[-1] if self.open else None
        line, column = self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1
        node = Node(tag, attributes, parent, line, column)
        if parent is None:
            self.root = node
        self.open.append(node)
        self.texts.append([])

    def _end(self, tag: str) -> None:
        del tag
        self.open.pop().text = "".join(self.texts.pop())

    def _text(self, text: str) -> None:
        if self.texts:
            self.texts[-1].append(text)

    def _doctype(self, *_: object) -> None:
        self._refuse("has a document type declaration, which domain XML never has", "take the <!DOCTYPE …> out")

    def _malformed(self, error: expat.ExpatError) -> NoReturn:
        where = f"{self.source}:{error.lineno}:{error.offset + 1}"
        if error.code in _TRUNCATED and self.open:
            last = self.open[-1]
            raise UsageError(
                f"{where}: the XML ends inside <{last.tag}>, which begins in line {last.line}",
                "copy the whole of it, up to </domain>",
            ) from None
        if error.code in _TRUNCATED:
            raise UsageError(f"{where}: there is no XML here", "give it what `virsh dumpxml NAME` prints") from None
        what = expat.ErrorString(error.code)
        raise UsageError(f"{where}: this is not well-formed XML: {what}", "see: xmllint --noout FILE") from None

    def _refuse(self, what: str, hint: str) -> NoReturn:
        line, column = self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1
        raise UsageError(f"{self.source}:{line}:{column}: the XML {what}", hint)
