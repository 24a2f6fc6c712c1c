"""One value that is wrong, in words: what it is, what is wanted.

Owns: the sentences. Must not: walk tables.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from qlaunch.machine.decode import parse_value
from qlaunch.machine.search import nearest

_LONGEST = 60
_WANTED = {
    str: "text (in quotes)",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    "Size": 'a size such as "16G"',
    "CpuSet": 'a set of CPUs such as "0-3,8"',
    "PinList": 'a list of CPUs such as "1,9,2,10", or "auto"',
    "Mac": 'a MAC address such as "52:54:00:12:34:56"',
    "Subnet": 'an address with a prefix such as "192.168.77.1/24"',
    "PciAddress": 'a PCI address such as "0b:00.0"',
    "DeviceId": 'an id such as "1002:73bf"',
}
# A bool is an int in Python, so it stands first.
_KINDS = (
    *((bool, "true or false"), (str, "text"), (int, "a whole number"), (float, "a number")),
    *((dict, "a table"), (list, "a list")),
)


def wrong_value(annotation: object, options: Sequence[Any], value: object) -> str:
    """Say why a value does not fit the type, or nothing if it does."""
    try:
        msgspec.convert(value, annotation, dec_hook=parse_value)
    except (msgspec.ValidationError, RecursionError):
        pass
    else:
        return ""
    choices = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
    if isinstance(value, str):
        for option in options:
            if sentence := _from_text(option, value):
                return sentence
        if text_choices := [choice for choice in choices if isinstance(choice, str)]:
            return _not_a_choice(value, text_choices, options)
    for option in options:
        if sentence := _limits(option, value):
            return sentence
    if value == [] and any(_base(option) is list for option in options):
        return "is empty"
    what = f"{shown(value)} is {kind_of(value)}" if _is_scalar(value) else f"is {kind_of(value)}"
    return f"{what}, {_wanted(options)} is wanted{_advice(value, options)}"


def shown(value: object) -> str:
    """Give a value as the file has it, shortened."""
    if isinstance(value, str):
        text = msgspec.json.encode(value[:_LONGEST]).decode()
        # JSON leaves characters as they are that a terminal would act on.
        text = "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
        return text if len(value) <= _LONGEST else f"{text}…"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.{_LONGEST}g}" if isinstance(value, float) else str(value)[:_LONGEST]


def kind_of(value: object) -> str:
    """Name the kind of a TOML value."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a date or a time")


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | dt.date | dt.time)


def _from_text(option: object, value: str) -> str:
    """Let the types of ``values/`` say themselves what they cannot read; then the limits of text."""
    if isinstance(option, type) and hasattr(option, "parse"):
        try:
            option.parse(value)
        except ValueError as error:
            return str(error)
    return _limits(option, value)


def _not_a_choice(value: str, choices: list[str], options: Sequence[Any]) -> str:
    others = [_name(option) for option in options if get_origin(option) is not Literal and option is not bool]
    named = [msgspec.json.encode(choice).decode() for choice in choices]
    if bool in options:
        named += ["true", "false"]
    near = nearest(value, choices)
    also = "".join(f", or {other}" for other in others)
    return f"{shown(value)} is not one of {', '.join(named)}{also}" + (f"; did you mean {shown(near)}?" if near else "")


def _limits(option: object, value: object) -> str:
    """Say which limit of an annotated type a value of the right kind breaks."""
    if get_origin(option) is not Annotated:
        return ""
    base, *metas = get_args(option)
    wants = (int, float) if base is float else base
    if not isinstance(value, wants) or isinstance(value, bool):
        return ""
    for meta in metas:
        if isinstance(meta, msgspec.Meta) and (sentence := _broken(meta, value)):
            return sentence
    return ""


def _broken(meta: msgspec.Meta, value: object) -> str:
    if isinstance(value, str):
        return _broken_text(meta, value)
    if not isinstance(value, int | float):
        return ""
    low = meta.ge if meta.ge is not None else meta.gt
    if low is not None and (value < low or (meta.gt is not None and value == low)):
        return f"{shown(value)} is too low: {_range(meta)}"
    if meta.le is not None and value > meta.le:
        return f"{shown(value)} is too high: {_range(meta)}"
    return ""


def _broken_text(meta: msgspec.Meta, value: str) -> str:
    if meta.min_length and len(value) < meta.min_length:
        return "is empty" if not value else f"{shown(value)} is shorter than {meta.min_length} characters"
    if meta.max_length and len(value) > meta.max_length:
        return f"{shown(value)} has {len(value)} characters, at most {meta.max_length} fit"
    return f"{shown(value)} does not fit; wanted: {meta.description or meta.pattern}" if meta.pattern else ""


def _range(meta: msgspec.Meta) -> str:
    low = f"more than {meta.gt}" if meta.gt is not None else f"at least {meta.ge}" if meta.ge is not None else ""
    if meta.ge is not None and meta.le is not None:
        return f"{meta.ge} to {meta.le} are allowed"
    high = f"at most {meta.le}" if meta.le is not None else ""
    return " and ".join(part for part in (low, high) if part)


def _wanted(options: Sequence[Any]) -> str:
    words = list(dict.fromkeys(_name(option) for option in options))
    return " or ".join(words)


def _name(option: object) -> str:
    if get_origin(option) is Literal:
        return "one of " + ", ".join(msgspec.json.encode(choice).decode() for choice in get_args(option))
    if get_origin(option) is Annotated:
        return _name(get_args(option)[0])
    if get_origin(option) in (list, dict):
        return "a list" if get_origin(option) is list else "a table"
    return _WANTED.get(option) or _WANTED.get(getattr(option, "__name__", ""), "a table")


def _advice(value: object, options: Sequence[Any]) -> str:
    """Tell about quotes that are there and should not be, and a list of text that is one text."""
    bare = {_base(option) for option in options}
    if isinstance(value, str) and str not in bare:
        number = value.strip().lstrip("-").isdigit() and bare & {int, float}
        if number or (value in ("true", "false") and bool in bare):
            return ", without quotes"
    if isinstance(value, str | int | float) and list in bare:
        return f": [{shown(value)}]"
    return ""


def _base(option: object) -> object:
    if get_origin(option) is Annotated:
        return _base(get_args(option)[0])
    return get_origin(option) or option
