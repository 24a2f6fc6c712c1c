"""No value of a machine file can become another option."""

import msgspec
from hypothesis import given, strategies as st

from qlaunch.devices.arg import Arg, device, keyval, raw
from qlaunch.devices.ports import Port, pc_slot, room

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


def split_keyval(body: str) -> list[str]:
    """Split as QEMU does (util/keyval.c): a doubled comma is a comma of the value."""
    parts, current, position = [], "", 0
    while position < len(body):
        if body[position] != ",":
            current += body[position]
        elif body[position + 1 : position + 2] == ",":
            current += ","
            position += 1
        else:
            parts.append(current)
            current = ""
        position += 1
    return [*parts, current]


@given(text, text)
def test_a_comma_in_a_value_never_ends_it(path: str, other: str) -> None:
    flag, body = keyval("chardev", "socket", path=path, other=other).words()
    assert flag == "-chardev"
    assert split_keyval(body) == ["socket", f"path={path}", f"other={other}"]


@given(text)
def test_a_json_value_stays_one_value(path: str) -> None:
    _, body = Arg("blockdev", {"driver": "file", "filename": path}, json=True).words()
    assert msgspec.json.decode(body) == {"driver": "file", "filename": path}


def test_what_is_none_is_left_out_also_inside() -> None:
    assert (
        device("x", "a", one=None, two={"three": None, "four": 4}).words()[1]
        == '{"driver":"x","id":"a","two":{"four":4}}'
    )


def test_booleans_are_words_in_keyval_and_booleans_in_json() -> None:
    assert keyval("m", a=True, b=False).words()[1] == "a=on,b=off"
    assert device("x", None, a=True).words()[1] == '{"driver":"x","a":true}'


def test_a_flag_has_one_word() -> None:
    assert raw("S").words() == ("-S",)


places = st.sampled_from(["disk", "net", "pci", "share"]).flatmap(
    lambda kind: st.integers(0, room("q35", kind) - 1).map(lambda number: Port(kind, number))
)


@given(places, places)
def test_no_two_devices_share_a_place(one: Port, other: Port) -> None:
    same = one == other
    assert (one.chassis == other.chassis) is same
    assert (one.address == other.address) is same
    assert (one.id == other.id) is same


def test_the_places_of_a_pc_board_are_distinct() -> None:
    kinds = ("fixed", "disk", "net", "pci", "share")
    slots = [pc_slot(Port(kind, number)) for kind in kinds for number in range(room("pc", kind))]
    assert len(set(slots)) == len(slots)
    assert all(0x2 <= int(slot, 16) <= 0x1D for slot in slots)
