"""Where a key stands: in which file, at which line."""

from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given, strategies as st

from qlaunch.errors import MachineError
from qlaunch.machine.keys import join_key, split_assignment, split_key
from qlaunch.machine.load import load
from qlaunch.machine.scan import lines_of_keys
from tests.strategies import Lines, bare_keys, keys, written_tables

MINIMAL = '[memory]\nsize = "1G"\n[[disk]]\npath = "a.raw"\n'


@given(written_tables())
def test_each_key_is_found_at_the_line_where_it_was_written(case: tuple[dict[str, Any], str, Lines]) -> None:
    data, text, lines = case
    assert tomli.loads(text) == data
    assert lines_of_keys(text) == lines


@given(st.text() | st.text("ab.=[]{}\"'\n#,\\ 1"))
def test_the_scanner_ends_on_any_text_that_is_toml(text: str) -> None:
    try:
        tomli.loads(text)
    except (ValueError, RecursionError):
        return
    lines_of_keys(text)


def test_quotes_right_before_the_end_of_a_long_string_belong_to_it() -> None:
    text = 'a = """x"""""\nb = \'\'\'y\'\'\'\'\'\nc = ""\nd = 1\n'
    assert tomli.loads(text)["a"] == 'x""'
    assert lines_of_keys(text) == {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4}


def test_arrays_as_deep_as_tomli_reads_them_do_not_break_the_scanner() -> None:
    assert lines_of_keys("a = " + "[" * 390 + "]" * 390)["a",] == 1


@given(
    st.lists(
        bare_keys | keys.filter(lambda key: key.isprintable() and not ({'"', "'"} <= set(key))), min_size=1, max_size=4
    )
)
def test_a_printed_key_reads_back_as_itself(parts: list[str]) -> None:
    assert split_key(join_key(parts)) == tuple(parts)


@given(st.lists(keys | st.text(max_size=3), min_size=1, max_size=3))
def test_any_key_at_all_prints_as_one_that_can_be_read(parts: list[str]) -> None:
    assert len(split_key(join_key(parts))) == len(parts)
    assert join_key(parts).isprintable()


@pytest.mark.parametrize("text", ["", ".", "a.", "a b", "a..b", '"a', "a b=1", "=1", "a"])
def test_what_is_no_assignment_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a key|has an open quote|has no '='"):
        split_assignment(text)


def test_an_equals_sign_in_quotes_belongs_to_the_key() -> None:
    assert split_assignment("host.sysctl.'a=b'=c=d") == (("host", "sysctl", "a=b"), "c=d")


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def places(folder: Path, *overrides: str) -> Any:
    places = load(str(folder / "vm.toml"), overrides).places
    return lambda key: places.where(key).replace(f"{folder}/", "")


def test_a_key_is_placed_in_the_file_that_has_the_last_word(tmp_path: Path) -> None:
    write(
        tmp_path, base=MINIMAL + "[cpu]\nvcpus = 1\nmodel = 'max'\n", vm="extends = 'base.toml'\n\n[cpu]\nvcpus = 2\n"
    )
    where = places(tmp_path)
    assert where("cpu.vcpus") == "vm.toml:4"
    assert where("cpu.model") == "base.toml:7"
    assert where("memory.size") == "base.toml:2"
    assert where("cpu") == "vm.toml:3"


def test_an_array_hides_all_elements_of_the_one_that_it_replaces(tmp_path: Path) -> None:
    write(tmp_path, base=MINIMAL + "cache = 'none'\n", vm="extends = 'base.toml'\n[[disk]]\npath = 'b.raw'\n")
    where = places(tmp_path)
    assert where("disk.0.path") == "vm.toml:3"
    assert where("disk.0.cache") == "vm.toml:2"


def test_an_override_is_its_own_place(tmp_path: Path) -> None:
    write(tmp_path, vm=MINIMAL)
    where = places(tmp_path, "cpu.topology.cores=2", "disk.0.cache=unsafe")
    assert where("cpu.topology.cores") == "--set cpu.topology.cores=2"
    assert where("cpu.topology") == "--set cpu.topology.cores=2"
    assert where("disk.0.cache") == "--set disk.0.cache=unsafe"
    assert where("disk.0.path") == "vm.toml:4"


def test_an_override_has_the_last_word_about_all_below_it(tmp_path: Path) -> None:
    write(tmp_path, vm=MINIMAL)
    where = places(tmp_path, "disk=[{path='/b'}]", "memory.size=2G")
    assert where("disk.0.path") == "--set disk=[{path='/b'}]"
    assert where("memory.size") == "--set memory.size=2G"


def test_a_key_that_is_nowhere_is_placed_at_the_table_around_it_or_the_file(tmp_path: Path) -> None:
    write(tmp_path, vm=MINIMAL)
    where = places(tmp_path)
    assert where("disk.0.cache") == "vm.toml:3"
    assert where("cpu.model") == "vm.toml"
    assert where("") == "vm.toml"


def test_a_problem_of_the_base_is_told_with_the_line_of_the_base(tmp_path: Path) -> None:
    write(tmp_path, base="[memory]\nsize = 5\n", vm="extends = 'base.toml'\n")
    with pytest.raises(MachineError) as caught:
        load(str(tmp_path / "vm.toml"))
    assert caught.value.problems[0].where == f"{tmp_path}/base.toml:2"
