"""The JSON Schema says what the loader accepts, and is itself well formed."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from qlaunch.machine.model import Machine
from qlaunch.machine.schema import schema
from qlaunch.values.cpus import CpuSet, PinList
from qlaunch.values.mac import Mac
from qlaunch.values.pci import DeviceId, PciAddress
from qlaunch.values.size import Size

SCHEMA = schema()


def parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from parts(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from parts(inner)


def test_it_has_every_section_and_refuses_others() -> None:
    assert list(SCHEMA["properties"]) == ["extends", *Machine.__struct_fields__]
    assert SCHEMA["additionalProperties"] is False
    assert msgspec.json.decode(msgspec.json.encode(SCHEMA)) == SCHEMA


def test_every_reference_leads_somewhere() -> None:
    references = {part["$ref"] for part in parts(SCHEMA) if isinstance(part.get("$ref"), str)}
    assert references == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_every_section_says_what_it_is() -> None:
    assert not [name for name, part in SCHEMA["$defs"].items() if not part.get("description")]


def test_every_pattern_has_words_for_people() -> None:
    assert not [part for part in parts(SCHEMA) if isinstance(part.get("pattern"), str) and not part.get("description")]


def pattern_of(kind: type) -> re.Pattern[str]:
    return next(re.compile(part["pattern"], re.ASCII) for part in parts(SCHEMA) if part.get("title") == kind.__name__)


@pytest.mark.parametrize("kind", [Size, CpuSet, PinList, Mac, PciAddress, DeviceId], ids=lambda kind: kind.__name__)
@given(text=st.text("0123456789abcfgkMGTiB:.-, auto\t", max_size=20) | st.from_regex(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"))
def test_what_the_loader_accepts_the_schema_accepts(kind: Any, text: str) -> None:
    try:
        kind.parse(text)
    except ValueError:
        return
    assert pattern_of(kind).search(text)


@pytest.mark.parametrize("kind", [Mac, PciAddress, DeviceId], ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_the_schema_accepts_the_loader_accepts(kind: Any, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(pattern_of(kind), alphabet="0123456789abcdefABCDEF:.- "))
    if set(text) - set("0:- "):  # an address of zeros is one rule that the pattern leaves out
        assert kind.parse(text)


def test_its_own_examples_are_accepted() -> None:
    for kind in (Size, CpuSet, PinList, Mac, PciAddress, DeviceId):
        part = next(part for part in parts(SCHEMA) if part.get("title") == kind.__name__)
        for example in part["examples"]:
            assert kind.parse(example) or example == "auto"
            assert re.search(part["pattern"], example)
