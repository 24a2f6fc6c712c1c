"""QEMU's own description of its commands, as ``query-qmp-schema`` gives it: what may be typed, and what it means.

Source: QEMU's ``qapi/introspect.json`` (SchemaInfo).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

_JSON_NAMES = {"string": "text", "int": "integer", "boolean": "on|off", "value": "anything"}
_MANY = 12  # so many values of an enumeration are listed in a line of help


class Member(msgspec.Struct, frozen=True):
    """An argument: its name, the number of its type in the schema, and whether it may be left out."""

    name: str
    type: str
    optional: bool


class QmpSchema:
    """One QEMU's commands, arguments and values."""

    def __init__(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self._types = {entity["name"]: entity for entity in entities}
        self.commands = sorted(name for name, entity in self._types.items() if entity["meta-type"] == "command")
        self.events = sorted(name for name, entity in self._types.items() if entity["meta-type"] == "event")

    @property
    def actions(self) -> dict[str, str]:
        """What a transaction is made of: each action with the type of its arguments."""
        argument = self._members(self._argument_type("transaction") or "", {}).get("actions")
        if argument is None:
            return {}
        action = self._types[self._types[argument.type]["element-type"]]
        data = {one["case"]: self._members(one["type"], {}).get("data") for one in action["variants"]}
        return {name: one.type for name, one in sorted(data.items()) if one}

    def _argument_type(self, command: str) -> str | None:
        entity = self._types.get(command, {})
        return str(entity["arg-type"]) if entity.get("meta-type") == "command" else None

    def members(
        self, command: str, given: Mapping[str, object], path: Sequence[str] = (), *, in_transaction: bool = False
    ) -> dict[str, Member]:
        """Give the arguments of a command, or the members below one of them.

        Those of a variant are there once ``given`` names it (``driver=qcow2``).
        """
        root = self.actions.get(command) if in_transaction else self._argument_type(command)
        if root is None:
            return {}
        found = self._members(root, given)
        for key in path:
            member = found.get(key)
            if member is None:
                return {}
            inner = given.get(key)
            given = inner if isinstance(inner, Mapping) else {}
            found = self._members(member.type, given)
        return found

    def _members(self, type_: str, given: Mapping[str, object]) -> dict[str, Member]:
        entity = self._types.get(type_, {})
        match entity.get("meta-type"):
            case "alternate":  # a node's name, or the node itself: only the table has members
                return {
                    name: one for part in entity["members"] for name, one in self._members(part["type"], given).items()
                }
            case "object":
                found = {one["name"]: Member(one["name"], one["type"], "default" in one) for one in entity["members"]}
                chosen = given.get(entity.get("tag", ""))
                for variant in entity.get("variants", ()):
                    if variant["case"] == chosen:
                        found |= self._members(variant["type"], given)
                return found
            case _:
                return {}

    def values(self, type_: str) -> list[str]:
        """Give the values that can be listed: those of an enumeration or a switch."""
        entity = self._types[type_]
        match entity["meta-type"]:
            case "enum":
                return list(entity["values"])
            case "builtin":
                return ["on", "off"] if entity["json-type"] == "boolean" else []
            case "alternate":
                return [value for part in entity["members"] for value in self.values(part["type"])]
            case _:
                return []

    def has_members(self, type_: str) -> bool:
        """Whether a value is a table, which is typed as ``a.b=c``."""
        return bool(self._members(type_, {}))

    def word(self, type_: str) -> str:
        """Say what kind of value a type is."""
        entity = self._types[type_]
        match entity["meta-type"]:
            case "enum":
                return "one of"
            case "array":
                return f"list of {self.word(entity['element-type']).replace('one of', 'names')}"
            case "builtin":
                return _JSON_NAMES.get(entity["json-type"], str(entity["json-type"]))
            case "alternate":
                return " or ".join(dict.fromkeys(self.word(part["type"]) for part in entity["members"]))
            case _:
                return "table"

    def kind(self, type_: str) -> str:
        """Say it with its values, where there are some to choose from."""
        values = self.values(type_)
        if values == ["on", "off"] or not values:
            return self.word(type_)
        return "|".join(values[:_MANY]) + ("|…" if len(values) > _MANY else "")

    def explain(self, command: str, given: Mapping[str, object]) -> Iterator[str]:
        """Explain a command, a line at a time, with what the choices of ``given`` bring. Nothing if unknown."""
        if command not in self.commands:
            return
        members = self.members(command, given)
        needed = [f"{one.name}=…" for one in members.values() if not one.optional]
        yield " ".join([command, *needed])
        yield from self._lines(members, "  ")
        returned = self._types[self._types[command]["ret-type"]]
        inner = returned if returned["meta-type"] != "array" else self._types[returned["element-type"]]
        fields = ", ".join(one["name"] for one in inner.get("members", ()))
        if fields or returned["meta-type"] != "object":
            many = "a list of " if returned["meta-type"] == "array" else ""
            yield f"answers {many}{fields or self.word(inner['name'])}"
        if "deprecated" in self._types[command].get("features", ()):
            yield "deprecated: it will go from a later QEMU"

    def _lines(self, members: Mapping[str, Member], indent: str) -> Iterator[str]:
        for one in sorted(members.values(), key=lambda member: (member.optional, member.name)):
            yield f"{indent}{one.name:<24} {'may be left out; ' if one.optional else ''}{self.kind(one.type)}"
            if not self.has_members(one.type):
                continue
            inner = self._members(one.type, {})
            yield f"{indent}  {one.name}.… {', '.join(sorted(inner))}"
