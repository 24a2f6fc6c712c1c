"""The console's grammar, what it offers to complete, and how answers look."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from qlaunch.console.answer import render
from qlaunch.console.chosen import wants_event
from qlaunch.console.complete import Completions
from qlaunch.console.typed import is_whole, parse_command, spans, split
from qlaunch.errors import MonitorError, UsageError

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("query-status", {}),
        ("  query-status  ", {}),
        ("device_add driver=e1000e id=net1 rombar=0", {"driver": "e1000e", "id": "net1", "rombar": 0}),
        ("x a.b=1 a.c.d=two", {"a": {"b": 1, "c": {"d": "two"}}}),
        ("x on=on off=off t=true n=null f=1.5", {"on": True, "off": False, "t": True, "n": None, "f": 1.5}),
        ("x a=\"1\" b='1' c=", {"a": "1", "b": "1", "c": ""}),
        ('x a={"b": [1, 2]} c=[1, {"d": 2}]', {"a": {"b": [1, 2]}, "c": [1, {"d": 2}]}),
        ("x a={'b': True, 'c': None}", {"a": {"b": True, "c": None}}),
        ("x path=/a=b", {"path": "/a=b"}),
        ("x a=00:01", {"a": "00:01"}),
        ("x a='{\"b\": 1}'", {"a": {"b": 1}}),
        ('x a="two words" b="a \\" quote"', {"a": "two words", "b": 'a " quote'}),
    ],
)
def test_a_line_means_its_arguments(typed: str, meant: dict[str, Any]) -> None:
    command, arguments = parse_command(typed)
    assert (command, arguments) == (split(typed)[0], meant)


def test_json_is_understood_as_the_protocol_has_it() -> None:
    assert parse_command('{"execute": "stop", "arguments": {"a": 1}}') == ("stop", {"a": 1})


@pytest.mark.parametrize(
    "typed", ["transaction(\n a x=1\n b\n)", "transaction( a x=1; b )", "transaction (a x=1\nb\n)"]
)
def test_a_transaction_is_its_actions(typed: str) -> None:
    wanted = [{"type": "a", "data": {"x": 1}}, {"type": "b", "data": {}}]
    assert parse_command(typed) == ("transaction", {"actions": wanted})


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "is no QMP command"),
        ("a=b", "is no QMP command"),
        ("stop now", "'now' is no argument of the form key=value"),
        ("stop =1", "'=1' is no argument"),
        ("x a=1 a.b=2", "a.b is given below a, which has a value already"),
        ("x a=1 a=2", "a is given twice"),
        ("{nonsense", "not a QMP command in JSON"),
        ('{"arguments": {}}', 'has "execute"'),
        ('{"execute": 5}', 'has "execute"'),
        ('{"execute": "x", "arguments": [1]}', 'has "execute"'),
        ("x a={nonsense}", "neither JSON nor a Python literal"),
        ("transaction(\n)", "has no actions"),
        ("transaction( a", "is not closed"),
    ],
)
def test_what_means_nothing_is_refused_with_a_sentence(typed: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        parse_command(typed)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]*", fullmatch=True), ANYTHING))
def test_every_json_value_can_be_typed(arguments: dict[str, Any]) -> None:
    typed = " ".join(["x", *(f"{key}={json.dumps(value)}" for key, value in arguments.items())])
    assert is_whole(typed)
    assert parse_command(typed) == ("x", arguments)


@given(st.text(alphabet="ab =.'\"{}[]()\\\n;"))
def test_no_text_at_all_breaks_the_console(text: str) -> None:
    assert "".join(split(text)).replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")
    assert all(start < end for start, end in spans(text))
    with suppress(UsageError):
        parse_command(text)


def test_a_value_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(UsageError, match="neither JSON nor"):
        parse_command(f"x a={'[' * 100_000}")


@pytest.mark.parametrize("text", ["x a={", 'x a="', "transaction(", "x a=[1,\n"])
def test_enter_goes_on_below_while_something_is_open(text: str) -> None:
    assert not is_whole(text)


# As much of a schema as has one of each kind.
SCHEMA: list[dict[str, Any]] = [
    {"name": "add", "meta-type": "command", "arg-type": "1", "ret-type": "[2]"},
    {"name": "query-block", "meta-type": "command", "arg-type": "2", "ret-type": "2"},
    {"name": "transaction", "meta-type": "command", "arg-type": "7", "ret-type": "2"},
    {"name": "STOP", "meta-type": "event", "arg-type": "2"},
    {
        "name": "1",
        "meta-type": "object",
        "members": [
            {"name": "driver", "type": "3"},
            {"name": "node-name", "type": "str", "default": None},
            {"name": "quiet", "type": "bool", "default": None},
        ],
        "tag": "driver",
        "variants": [{"case": "file", "type": "4"}, {"case": "null", "type": "2"}],
    },
    {"name": "2", "meta-type": "object", "members": []},
    {"name": "[2]", "meta-type": "array", "element-type": "2"},
    {"name": "3", "meta-type": "enum", "values": ["file", "null"]},
    {
        "name": "4",
        "meta-type": "object",
        "members": [{"name": "filename", "type": "str"}, {"name": "cache", "type": "5"}],
    },
    {"name": "5", "meta-type": "object", "members": [{"name": "direct", "type": "bool", "default": None}]},
    {"name": "7", "meta-type": "object", "members": [{"name": "actions", "type": "[8]"}]},
    {"name": "[8]", "meta-type": "array", "element-type": "8"},
    {
        "name": "8",
        "meta-type": "object",
        "members": [{"name": "type", "type": "3"}],
        "tag": "type",
        "variants": [{"case": "add", "type": "9"}],
    },
    {"name": "9", "meta-type": "object", "members": [{"name": "data", "type": "1"}]},
    {"name": "str", "meta-type": "builtin", "json-type": "string"},
    {"name": "bool", "meta-type": "builtin", "json-type": "boolean"},
]
LIVE = {
    "query-qmp-schema": SCHEMA,
    "query-named-block-nodes": [{"node-name": "disk0", "drv": "qcow2"}],
    "query-block": [{"device": ""}],
}


def offered(text: str, live: Mapping[str, Any] = LIVE) -> list[str]:
    def ask(command: str, _: Mapping[str, Any]) -> object:
        if command not in live:
            raise MonitorError("the machine is gone")
        return live[command]

    return [one.text for one in Completions(ask).at(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("que", ["query-block"]),
        ("block", ["query-block"]),
        ("add ", ["driver=", "node-name=", "quiet="]),
        ("add driver=", ["file", "null"]),
        ("add driver=fi", ["file"]),
        ("add driver=file ", ["cache.", "filename=", "node-name=", "quiet="]),
        ("add driver=file cache.", ["direct="]),
        ("add driver=file cache.direct=", ["on", "off"]),
        ("add node-name=", ["disk0"]),
        ("add quiet=o", ["on", "off"]),
        ("transaction(\n", ["add"]),
        ("transaction(\nadd driver=file; add driver=n", ["null"]),
        ("help a", ["add"]),
        ("events !S", ["STOP"]),
        ("nonsense ", []),
        ('{"execute": ', []),
        ("add driver=nonsense ", ["node-name=", "quiet="]),
        ("add 'unfinished", []),
    ],
)
def test_what_may_come_next_is_offered(text: str, wanted: list[str]) -> None:
    assert offered(text) == wanted


@pytest.mark.parametrize("answer", [None, 5, [5], [{"name": "x"}], {"a": 1}])
def test_a_machine_that_answers_nonsense_offers_nothing(answer: object) -> None:
    assert offered("que", {"query-qmp-schema": answer}) == []
    assert offered("add node-name=", {**LIVE, "query-named-block-nodes": answer}) == []


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [([], True), (["STOP"], True), (["S*"], True), (["BLOCK_*"], False), (["!STOP"], False), (["!BLOCK_*"], True)],
)
def test_events_are_chosen_by_patterns(patterns: list[str], wanted: bool) -> None:  # noqa: FBT001
    assert wants_event("STOP", patterns) is wanted


@given(ANYTHING, st.integers(0, 100))
def test_an_answer_is_json_at_any_width(value: object, width: int) -> None:
    assert json.loads("\n".join(render(value, width, colour=False))) == value


@given(ANYTHING, st.integers(0, 100))
def test_colours_change_nothing_but_colours(value: object, width: int) -> None:
    plain = re.sub(r"\x1b\[\d+m", "", "\n".join(render(value, width, colour=True)))
    assert plain == "\n".join(render(value, width, colour=False))


def test_what_fits_stands_on_one_line_and_what_does_not_is_opened() -> None:
    value = {"a": [1, 2, 3], "b": {"c": "x" * 20}}
    assert render(value, 40, colour=False) == ["{", '  "a": [1, 2, 3],', f'  "b": {{"c": "{"x" * 20}"}}', "}"]
    assert max(map(len, render({"a": [1] * 50}, 40, colour=False))) <= 40
