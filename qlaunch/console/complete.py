"""What may come next at the console: names from QEMU's schema, and what exists in the running machine.

Pure but for the questions it asks through the function that it is given.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from qlaunch.console.schema import Member, QmpSchema
from qlaunch.console.typed import parse_command, spans
from qlaunch.errors import QlaunchError

Ask = Callable[[str, Mapping[str, Any]], object]

# Words of the console's own, which QEMU does not know.
OWN = {
    "help": "what a command takes and gives",
    "hmp": "a command of the human monitor",
    "events": "which events are shown: on, off, BLOCK_*, !RTC_CHANGE",
    "more": "the last answer, whole",
    "exit": "leave; so does Ctrl-D",
}
_NODES = ("node", "node-name", "base-node", "top-node", "overlay", "source", "target", "device", "reference")
_QOM_COMMANDS = ("qom-list", "qom-get", "qom-set")


class Candidate(msgspec.Struct, frozen=True):
    """A text that may stand at the cursor in place of its last ``length`` letters, and a word about it."""

    text: str
    length: int
    about: str = ""


class Completions:
    """Completes over one machine. Answers that do not change while it runs are kept."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._kept: dict[str, Any] = {}

    @property
    def schema(self) -> QmpSchema:
        """The running QEMU's schema, read when it is first wanted. Raises MonitorError."""
        if "schema" not in self._kept:
            self._kept["schema"] = QmpSchema(msgspec.convert(self._ask("query-qmp-schema", {}), list[dict[str, Any]]))
        schema: QmpSchema = self._kept["schema"]
        return schema

    def at(self, text: str) -> Iterator[Candidate]:
        """Yield what may come at the end of a text. A machine that does not answer offers nothing."""
        text = text.lstrip()
        in_transaction = text.startswith("transaction(")
        if in_transaction:
            text = re.split(r"[\n;]", text.partition("(")[2])[-1].lstrip()
        try:
            yield from self._at(text, in_transaction=in_transaction)
        except (QlaunchError, msgspec.ValidationError, KeyError, TypeError):
            return

    def _at(self, text: str, *, in_transaction: bool) -> Iterator[Candidate]:
        places = spans(text)
        words = [text[start:end] for start, end in places]
        last = "" if not words or places[-1][1] < len(text) or text[-1:].isspace() else words.pop()
        if text.startswith("{"):
            return
        schema = self.schema
        if not words:
            offered = schema.actions if in_transaction else {**dict.fromkeys(schema.commands, ""), **OWN}
            yield from _those(last, dict.fromkeys(offered, "") if in_transaction else offered)
        elif in_transaction:
            yield from self._argument(words[0], _given(words), last, in_transaction=True)
        elif words[0] == "hmp":
            yield from self._human(words[1:], last)
        elif words[0] == "help" and len(words) == 1:
            yield from _those(last, dict.fromkeys(schema.commands, ""))
        elif words[0] == "events":
            yield from _those(last.lstrip("!"), dict.fromkeys(("on", "off", *schema.events), ""))
        elif words[0] not in OWN:
            yield from self._argument(words[0], _given(words), last)

    def _argument(
        self, command: str, given: Mapping[str, Any], last: str, *, in_transaction: bool = False
    ) -> Iterator[Candidate]:
        key, equals, value = last.partition("=")
        *outer, name = key.split(".")
        members = self.schema.members(command, given, outer, in_transaction=in_transaction)
        if equals:
            yield from _those(value, self._values(command, name, value, given, members))
            return
        inner: Mapping[str, Any] = given
        for step in outer:
            below = inner.get(step)
            inner = below if isinstance(below, Mapping) else {}
        offered = {
            f"{one.name}{'.' if self.schema.has_members(one.type) else '='}": self.schema.kind(one.type)
            + ("" if one.optional else ", needed")
            for one in sorted(members.values(), key=lambda member: (member.optional, member.name))
            if one.name not in inner
        }
        if command == "device_add" and not outer:
            offered |= {f"{one}=": kind for one, kind in self._properties(given).items() if one not in given}
        yield from _those(name, offered)

    def _values(
        self, command: str, name: str, value: str, given: Mapping[str, Any], members: Mapping[str, Member]
    ) -> Mapping[str, str]:
        if name in members:
            known = self.schema.values(members[name].type)
        else:  # of a device that is being added
            known = ["on", "off"] if command == "device_add" and self._properties(given).get(name) == "bool" else []
        return dict.fromkeys(known, "") or self._live(command, name, value, given)

    def _properties(self, given: Mapping[str, Any]) -> dict[str, str]:
        """The properties of the device that is being added: the schema does not have them."""
        driver = given.get("driver")
        if not isinstance(driver, str):
            return {}
        if f"properties {driver}" not in self._kept:
            self._kept[f"properties {driver}"] = self._ask("device-list-properties", {"typename": driver})
        return {one["name"]: one["type"] for one in self._kept[f"properties {driver}"]}

    def _live(self, command: str, name: str, value: str, given: Mapping[str, Any]) -> dict[str, str]:
        """Name what exists in the machine now and could be meant by an argument of this name."""
        if command in _QOM_COMMANDS and name == "path":
            return self._qom_paths(value)
        if command in _QOM_COMMANDS and name == "property" and "path" in given:
            listed = self._list("qom-list", {"path": given["path"]})
            return {one["name"]: one["type"] for one in listed if not one["type"].startswith("child<")}
        if name in ("driver", "typename"):
            return self._drivers()
        if name == "id" or (name == "device" and command == "device_del"):
            return self._ids(command)
        return self._nodes() if name in _NODES else self._parts(name)

    def _nodes(self) -> dict[str, str]:
        nodes = {one["node-name"]: one["drv"] for one in self._list("query-named-block-nodes")}
        return nodes | {one["device"]: "drive" for one in self._list("query-block") if one["device"]}

    def _drivers(self) -> dict[str, str]:
        if "drivers" not in self._kept:
            self._kept["drivers"] = self._list("qom-list-types", {"implements": "device", "abstract": False})
        return {one["name"]: one.get("parent", "") for one in self._kept["drivers"]}

    def _parts(self, name: str) -> dict[str, str]:
        if name in ("chardev", "iothread"):
            key = "label" if name == "chardev" else "id"
            return {one[key]: "" for one in self._list("query-chardev" if name == "chardev" else "query-iothreads")}
        return {}

    def _ids(self, command: str) -> dict[str, str]:
        if command.startswith("job-"):
            return {one["id"]: one["type"] for one in self._list("query-jobs")}
        if command.startswith("chardev-"):
            return {one["label"]: one["filename"] for one in self._list("query-chardev")}
        folder = {"device_del": "/machine/peripheral", "object-del": "/objects"}.get(command, "")
        if command.startswith(("eject", "blockdev-", "block", "system", "set_")):
            folder = "/machine/peripheral"
        return self._children(folder) if folder else {}

    def _children(self, folder: str) -> dict[str, str]:
        listed = self._list("qom-list", {"path": folder})
        return {one["name"]: one["type"][6:-1] for one in listed if one["type"].startswith("child<")}

    def _qom_paths(self, value: str) -> dict[str, str]:
        folder = value.rpartition("/")[0]
        return {f"{folder}/{name}": kind for name, kind in self._children(folder or "/").items()}

    def _human(self, words: list[str], last: str) -> Iterator[Candidate]:
        topic = "info" if words == ["info"] else ""
        if words and not topic:
            return
        key = f"help {topic}".strip()
        if key not in self._kept:
            self._kept[key] = self._ask("human-monitor-command", {"command-line": key})
        yield from _those(last, dict(_human_words(str(self._kept[key]), topic)))

    def _list(self, command: str, arguments: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return msgspec.convert(self._ask(command, arguments or {}), list[dict[str, Any]])


def _given(words: list[str]) -> Mapping[str, Any]:
    try:
        return parse_command(" ".join(words))[1]
    except QlaunchError:
        return {}


def _those(prefix: str, offered: Mapping[str, str]) -> Iterator[Candidate]:
    """Yield what begins with a prefix; without such, what contains it."""
    fitting = [text for text in offered if text.startswith(prefix)] or [text for text in offered if prefix in text]
    yield from (Candidate(text, len(prefix), offered[text]) for text in fitting)


def _human_words(text: str, topic: str) -> Iterator[tuple[str, str]]:
    """Read the human monitor's help: ``name|short arguments -- what it does`` a line."""
    for line in text.splitlines():
        names, _, about = line.partition(" -- ")
        words = names.removeprefix(topic).split()
        if about and words:
            for name in words[0].split("|"):
                yield name, about.strip()
