"""Facts as tables of a machine file.

Owns: which facts make lists, which make tables, and what is told when two of one key differ.
"""

from collections.abc import Iterable
from typing import Any

from qlaunch.errors import Problem
from qlaunch.libvirt.hooks_facts import Fact

_LISTS = ("host.services.stop", "host.modules.unload", "host.modules.load")
_TABLES = ("host.sysctl", "host.sysfs")


def keys_of(facts: Iterable[Fact]) -> tuple[dict[str, Any], list[Problem]]:
    """Give the tables by section, in the order in which the facts came, and what does not fit together."""
    keys: dict[str, Any] = {}
    findings: list[Problem] = []
    functions: dict[str, set[int]] = {}
    cards: dict[str, dict[str, object]] = {}
    for fact in facts:
        if fact.key == "pci":
            slot, _, function = fact.item.partition(".")
            functions.setdefault(slot, set()).add(int(function))
        elif fact.key == "network":
            cards.setdefault(fact.item, {}).update(_table(fact.value))
        elif fact.key in _LISTS:
            names = _holder(keys, fact.key).setdefault(fact.key.rpartition(".")[2], [])
            names += [fact.value] if fact.value not in names else []
        elif fact.key in _TABLES and isinstance(fact.value, tuple):
            name, value = fact.value
            _holder(keys, fact.key).setdefault(fact.key.rpartition(".")[2], {})[name] = value
        elif fact.key:
            findings += _scalar(keys, fact)
    if functions:
        keys["pci"] = [{"host": slot, "functions": sorted(numbers)} for slot, numbers in functions.items()]
    if cards:
        keys["network"] = list(cards.values())
    return keys, findings


def _holder(keys: dict[str, Any], key: str) -> dict[str, Any]:
    """Give the table that a dotted key stands in, made where it is missing."""
    for part in key.split(".")[:-1]:
        keys = keys.setdefault(part, {})
    return keys


def _scalar(keys: dict[str, Any], fact: Fact) -> list[Problem]:
    holder, name = _holder(keys, fact.key), fact.key.rpartition(".")[2]
    first = holder.setdefault(name, fact.value)
    if first == fact.value:
        return []
    message = f"the scripts set both {first} and {fact.value}; the first is taken"
    return [Problem(code="hook-clash", key=fact.key, message=message, severity="warning")]


def _table(value: object) -> dict[str, object]:
    return {str(key): inner for key, inner in value.items()} if isinstance(value, dict) else {}
