"""An element of someone else's XML that knows what of it has been read.

Nothing is dropped in silence because reading marks: what no mapper asked for is left over, and `leftovers` finds it.
"""

from collections.abc import Iterator


class Node:
    """One element: its attributes, children and text, its place, and what was read of it."""

    __slots__ = (
        "attributes",
        "children",
        "column",
        "counts",
        "line",
        "number",
        "parent",
        "read",
        "seen",
        "tag",
        "text",
        "text_read",
    )

    def __init__(self, tag: str, attributes: dict[str, str], parent: "Node | None", line: int, column: int) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Node] = []
        self.text = ""
        self.parent = parent
        self.counts: dict[str, int] = {}  # children by name
        self.number = 1 if parent is None else parent.counts.get(tag, 0) + 1
        if parent is not None:
            parent.counts[tag] = self.number
            parent.children.append(self)
        self.line = line
        self.column = column
        self.read: set[str] = set()
        self.seen = False
        self.text_read = False

    def get(self, name: str) -> str | None:
        """Read an attribute."""
        self.read.add(name)
        return self.attributes.get(name)

    def word(self) -> str:
        """Read the text, without the white space around it."""
        self.text_read = True
        return self.text.strip()

    def one(self, tag: str) -> "Node | None":
        """Read the first child of a name; a second one stays unread."""
        found = next((child for child in self.children if child.tag == tag), None)
        if found is not None:
            found.seen = True
        return found

    def each(self, *tags: str) -> list["Node"]:
        """Read all children of these names."""
        found = [child for child in self.children if child.tag in tags]
        for child in found:
            child.seen = True
        return found

    def words(self, tag: str) -> str | None:
        """Read the text of a child."""
        child = self.one(tag)
        return None if child is None else child.word()

    def walk(self) -> Iterator["Node"]:
        """Yield this element and all below it, in the order of the document."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def close(self) -> None:
        """Count everything here and below as read."""
        for node in self.walk():
            node.seen = node.text_read = True
            node.read.update(node.attributes)

    def path(self) -> str:
        """Give the way from the domain, as in ``devices/disk[2]/driver``; the domain itself is empty."""
        steps = []
        node = self
        while node.parent is not None:
            number = f"[{node.number}]" if node.parent.counts[node.tag] > 1 else ""
            steps.append(node.tag + number)
            node = node.parent
        return "/".join(reversed(steps))


def leftovers(root: Node) -> Iterator[tuple[Node, str]]:
    """Yield what nobody read: (element, "") for a whole element, else (element, "@name") or (element, "text")."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if not node.seen:
            yield node, ""
            continue
        for name in node.attributes:
            if name not in node.read and not name.startswith("xmlns"):
                yield node, f"@{name}"
        if node.text.strip() and not node.text_read:
            yield node, "text"
        waiting.extend(reversed(node.children))
