"""Why a table is not a `Machine`: every key that is unknown, missing or of the wrong kind, in words for people.

msgspec stops at the first problem and speaks of JSON. It decides what is right; this module is asked only when
something is wrong.

Owns: the walk and the sentences. Must not: read files, or know where a key stands.
"""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from qlaunch.devices.section import Section
from qlaunch.errors import Problem
from qlaunch.machine.keys import Key, join_key
from qlaunch.machine.model import Machine
from qlaunch.machine.search import nearest
from qlaunch.machine.wording import wrong_value


def explain(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield all that keeps the table from being a machine, in the order of its keys; what is missing comes last."""
    yield from _table(Machine, data, ())


def _table(kind: type[msgspec.Struct], data: Mapping[str, Any], at: Key) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, value in data.items():
        if name in fields:
            yield from _value(fields[name].type, value, (*at, name))
        else:
            yield _unknown(name, value, list(fields), at)
    for name, field in fields.items():
        if field.required and name not in data:
            yield _missing(name, at)


def _value(annotation: object, value: object, at: Key) -> Iterator[Problem]:
    options = list(_options(annotation))
    table = next(
        (option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)), None
    )
    array = next((option for option in options if get_origin(option) is list), None)
    mapping = next((option for option in options if get_origin(option) is dict), None)
    if table and isinstance(value, dict):
        yield from _table(table, value, at)
    elif array and isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _value(get_args(array)[0], item, (*at, str(index)))
    elif mapping and isinstance(value, dict):
        for name, item in value.items():
            yield from _value(get_args(mapping)[1], item, (*at, name))
    elif message := _single_or_many(table, array, value, at) or wrong_value(annotation, options, value):
        yield Problem(code="value", key=join_key(at), message=message)


def _options(annotation: object) -> Iterator[Any]:
    """Yield the alternatives of a type, each with its limits."""
    if get_origin(annotation) in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _options(inner)
    elif get_origin(annotation) is Annotated and get_origin(get_args(annotation)[0]) is list:
        # The limits of an array are told by the array's own wording.
        yield get_args(annotation)[0]
    elif annotation is not type(None):
        yield annotation


def _single_or_many(table: object, array: object, value: object, at: Key) -> str:
    """Tell ``[disk]`` where ``[[disk]]`` is meant, and the other way round."""
    name = ".".join(part for part in at if not part.isdigit())
    of_tables = array and isinstance(get_args(array)[0], type) and issubclass(get_args(array)[0], Section)
    if of_tables and isinstance(value, dict):
        return f"is one table; write [[{name}]], since there can be several"
    if table and isinstance(value, list) and value and isinstance(value[0], dict):
        return f"is a list of tables; write [{name}], since there is only one"
    return ""


def _missing(name: str, at: Key) -> Problem:
    holder = f"every {_section(at)}" if at and at[-1].isdigit() else _section(at) or "a machine"
    what = f"{holder} needs {'one' if at else 'it'}"
    if not at and name == "memory":
        # The section is missing for the sake of the one key in it that has no default.
        return Problem(
            code="missing", key="memory.size", message="is missing", hint='add [memory] with size = "4G" or the like'
        )
    return Problem(code="missing", key=join_key((*at, name)), message=f"is missing; {what}")


def _unknown(name: str, value: object, known: list[str], at: Key) -> Problem:
    near = nearest(name, known)
    elsewhere = _elsewhere(name, at)
    if at:
        message = f"there is no such key in {_section(at)}"
    elif isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        message = "there is no such section"
    else:
        message = "a key before the first section belongs to none"
    if near and (at or not elsewhere):
        message += f"; did you mean {join_key((*at, near))}?"
    elif elsewhere:
        message += f"; did you mean {elsewhere}?"
    hint = f"it has: {', '.join(sorted(known))}" if at else f"the sections are: {', '.join(sorted(known))}"
    return Problem(
        code="unknown-key", key=join_key((*at, name)), message=message, hint="" if near or elsewhere else hint
    )


def _elsewhere(name: str, at: Key) -> str:
    """Name the key of another section that has just this name, if there is only one; tables come before arrays."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for section in msgspec.structs.fields(Machine):
        for option in _options(section.type):
            many = get_origin(option) is list
            inner = get_args(option)[0] if many else option
            if isinstance(inner, type) and issubclass(inner, Section) and name in inner.__struct_fields__:
                found[many].append(f"{section.encode_name}.{name}")
    keys = found[False] or found[True]
    return keys[0] if len(keys) == 1 and at != (keys[0].split(".")[0],) else ""


def _section(at: Key) -> str:
    name = ".".join(part for part in at if not part.isdigit())
    return f"[[{name}]]" if at and at[-1].isdigit() else f"[{name}]" if name else ""
