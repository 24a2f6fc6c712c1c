"""From a name to a checked machine: search path, reading, ``extends``, ``--set``, and what any file at all can do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import HealthCheck, example, given, settings, strategies as st

from qlaunch.errors import MachineError, Problem, UsageError
from qlaunch.machine.load import load
from qlaunch.machine.model import Machine
from qlaunch.machine.search import find, known_names, search_folders
from qlaunch.values.size import Size
from tests.strategies import TomlWriter, tables, values, written_tables

HERE = Path(__file__).parent
MINIMAL = '[memory]\nsize = "1G"\n[[disk]]\npath = "a.raw"\n'
EVERYTHING = HERE / "examples" / "everything.toml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "vm.toml").write_text(MINIMAL)
    return tmp_path


def told(path: str, *overrides: str) -> list[str]:
    with pytest.raises(MachineError) as caught:
        load(path, overrides)
    return [str(problem) for problem in caught.value.problems]


def test_the_example_of_the_design_is_a_machine() -> None:
    loaded = load(str(EVERYTHING))
    sections = {name: getattr(loaded.machine, name) for name in Machine.__struct_fields__}
    absent = {name for name, section in sections.items() if section in (None, [])}
    assert absent == {"controller", "input", "channel", "vsock", "shmem"}  # what imports keep of a domain
    assert loaded.machine.memory.size == 16 << 30
    assert loaded.machine.boot.kernel == str(HERE / "examples/vmlinuz")


# The search path.


def test_machines_are_searched_here_then_the_users_then_the_systems(folder: Path) -> None:
    user = folder / "home/.config/qlaunch/machines"
    for place in (folder / "machines", user):
        place.mkdir(parents=True)
        (place / "vm.toml").write_text(MINIMAL)
    (user / "other.toml").write_text(MINIMAL)
    assert find("vm") == "machines/vm.toml"
    assert find("other") == str(user / "other.toml")
    assert set(known_names()) >= {"vm", "other"}
    assert search_folders({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == (
        "machines",
        "/c/qlaunch/machines",
        "/etc/qlaunch/machines",
    )


def test_a_name_with_a_slash_or_the_suffix_is_a_path(folder: Path) -> None:
    assert load("vm.toml").name == "vm"
    assert load(str(folder / "vm.toml")).path == str(folder / "vm.toml")


def test_an_unknown_machine_names_the_near_ones_and_the_folders(folder: Path) -> None:
    (folder / "machines").mkdir()
    (folder / "machines/gaming.toml").write_text(MINIMAL)
    with pytest.raises(UsageError, match="there is no machine 'gamin'") as caught:
        load("gamin")
    assert caught.value.hint.startswith("did you mean gaming? searched in machines, ")
    with pytest.raises(UsageError) as caught:
        load("machines/gamign.toml")
    assert caught.value.hint == "did you mean machines/gaming.toml?"


@pytest.mark.parametrize("name", ["", "\0", "a\0.toml", "/", "~", "../..", "x" * 5000, "\ud800", "nowhere/vm.toml"])
@pytest.mark.usefixtures("folder")
def test_no_name_at_all_gives_more_than_a_sentence(name: str) -> None:
    with pytest.raises((UsageError, MachineError)):
        load(name)


@pytest.mark.parametrize("name", [".toml", "-vm.toml", "a b.toml", "a,b.toml", "ä.toml", f"{'x' * 65}.toml"])
def test_a_file_whose_name_cannot_be_a_machines_name_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text(MINIMAL)
    assert "gives the machine its name" in told(name)[0]


# Reading.


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"\xef\xbb\xbf[memory]",
            "vm.toml: begins with a byte order mark, which TOML does not allow; save it as UTF-8 without one",
        ),
        (b"a = 1\nb = '\xff'\n", "vm.toml:2: is not UTF-8: byte 0xff"),
        (b"a = '\0'", "vm.toml: holds a NUL byte, so it is no text"),
        (b"#" * (1 << 20) + b"\n", "vm.toml: is longer than 1 MiB, so it is no machine file"),
        (b"a = " + b"9" * 5000, "vm.toml: is not TOML: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_a_file_that_is_no_text_is_told_in_one_sentence(folder: Path, content: bytes, sentence: str) -> None:
    (folder / "vm.toml").write_bytes(content)
    assert told("vm.toml") == [sentence]


def test_a_folder_a_pipe_and_a_broken_link_are_no_files(folder: Path) -> None:
    (folder / "a.toml").mkdir()
    os.mkfifo(folder / "b.toml")
    (folder / "c.toml").symlink_to("nowhere")
    assert told("a.toml") == ["a.toml: is not a file"]
    assert told("b.toml") == ["b.toml: is not a file"]
    assert told("c.toml") == ["c.toml: cannot be read: No such file or directory"]


def test_tables_as_deep_as_toml_allows_are_told_in_a_sentence(folder: Path) -> None:
    for text in (
        "a = " + "[" * 5000,
        ".".join("a" * 900) + " = 1",
        f"[host]\nsysfs.{'.'.join('a' * 900)} = 1",
        "cpu = " + "[" * 300 + "]" * 300,
    ):
        (folder / "vm.toml").write_text(text)
        assert len(told("vm.toml")[0]) < 4000


# Extending.


def test_tables_merge_key_by_key_and_arrays_replace(folder: Path) -> None:
    (folder / "base.toml").write_text(
        MINIMAL + "[cpu]\nmodel = 'max'\nfeatures = ['+a', '+b']\n[cpu.topology]\ncores = 2\nthreads = 2\n"
    )
    (folder / "vm.toml").write_text(
        "extends = 'base.toml'\n[cpu]\nfeatures = ['+c']\ntopology.cores = 4\n[[disk]]\npath = 'b'\n"
        "[[disk]]\npath = 'c'\n"
    )
    machine = load("vm.toml").machine
    assert (machine.cpu.model, machine.cpu.features, machine.cpu.shape().vcpus) == ("max", ["+c"], 8)
    assert [disk.path for disk in machine.disk] == [str(folder / "b"), str(folder / "c")]


def test_a_chain_may_be_long_but_not_endless(folder: Path) -> None:
    (folder / "m0.toml").write_text(MINIMAL)
    for number in range(1, 20):
        (folder / f"m{number}.toml").write_text(f"extends = 'm{number - 1}.toml'\n")
    assert load("m15.toml").machine.memory.size == 1 << 30
    assert told("m16.toml") == ["m1.toml:1: extends: makes the chain too long"]


def test_a_loop_is_told_where_it_closes(folder: Path) -> None:
    (folder / "a.toml").write_text("\nextends = 'b.toml'")
    (folder / "b.toml").write_text("extends = './a.toml'")
    assert told("a.toml") == ["b.toml:1: extends: leads back to a file of the same chain"]


def test_paths_are_relative_to_the_file_that_has_them(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/base.toml").write_text(MINIMAL + "[boot]\nkernel = 'k'\ninitrd = '~/i'\n")
    (folder / "vm.toml").write_text(
        "extends = 'sub/base.toml'\n[firmware]\ncode = '../c'\nvars_template = '/v'\n[qemu]\nbinary = './q'\n"
    )
    machine = load("vm.toml").machine
    assert machine.disk[0].path == str(folder / "sub/a.raw")
    assert (machine.boot.kernel, machine.boot.initrd) == (str(folder / "sub/k"), str(folder / "home/i"))
    assert (machine.firmware.code, machine.firmware.vars_template) == (str(folder.parent / "c"), "/v")
    assert machine.qemu.binary == str(folder / "q")


@pytest.mark.usefixtures("folder")
def test_a_program_without_a_slash_is_left_to_the_path() -> None:
    assert load("vm.toml").machine.qemu.binary == "qemu-system-x86_64"


# Overrides.


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("cpu.vcpus=4", lambda m: m.cpu.vcpus == 4),
        ("cpu.model=max", lambda m: m.cpu.model == "max"),
        ("cpu.pin=3", lambda m: m.cpu.pin == (3,)),
        ("memory.size=2G", lambda m: m.memory.size == Size(2 << 30)),
        ("disk.0.serial=123", lambda m: m.disk[0].serial == "123"),
        ("disk.1.path=/b", lambda m: m.disk[1].path == "/b"),
        ("cpu.features=['+x']", lambda m: m.cpu.features == ["+x"]),
        ('host.sysctl."vm.swappiness"=1', lambda m: m.host.sysctl == {"vm.swappiness": "1"}),
        ("boot.menu = true", lambda m: m.boot.menu is True),
        ("machine.uuid=1b4e28ba-2fa1-4d5c-8f0e-0123456789ab", lambda m: m.machine.uuid is not None),
        ("display.looking_glass=32M", lambda m: m.display.looking_glass == 32 << 20),
    ],
)
@pytest.mark.usefixtures("folder")
def test_one_key_can_be_set_for_one_run(override: str, value: Any) -> None:
    assert value(load("vm.toml", [override]).machine)


def test_a_set_path_is_relative_to_where_one_stands(folder: Path) -> None:
    (folder / "sub").mkdir()
    os.chdir(folder / "sub")
    assert load("../vm.toml", ["disk.0.path=b.raw"]).machine.disk[0].path == str(folder / "sub/b.raw")
    assert load("../vm.toml").machine.disk[0].path == str(folder / "a.raw")


@pytest.mark.usefixtures("folder")
def test_a_wrong_override_is_told_as_such() -> None:
    assert told("vm.toml", "cpu.modle=max") == [
        "--set cpu.modle=max: cpu.modle: there is no such key in [cpu]; did you mean cpu.model?"
    ]
    assert told("vm.toml", "cpu.vcpus=many") == [
        '--set cpu.vcpus=many: cpu.vcpus: "many" is text, a whole number is wanted'
    ]
    assert told("vm.toml", "disk.7.path=x") == [
        "--set disk.7.path=x: '7' is not the number of an element, counted from 0; there are 1"
    ]
    assert told("vm.toml", "memory.size.x=1") == [
        "--set memory.size.x=1: there is nothing below this key: it holds text"
    ]
    for text in ("cpu.model", "=1", "a b=1", ".".join("a" * 20) + "=1"):
        with pytest.raises(UsageError, match="--set"):
            load("vm.toml", [text])


@pytest.mark.usefixtures("folder")
def test_no_override_can_bring_in_a_second_key() -> None:
    assert told("vm.toml", "machine.type=1\n[boot]")
    loaded = load("vm.toml", ["boot.kernel=/k", "boot.cmdline=a\u2028[cpu]"])
    assert loaded.machine.boot.cmdline == "a\u2028[cpu]"


# Whatever comes.

quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def only_sentences(path: Path, *overrides: str) -> None:
    """Load what may be anything: nothing but our own errors may come of it, one line each."""
    problems: list[Problem] = []
    try:
        load(str(path), overrides)
    except UsageError as error:
        problems = [Problem(code="usage", message=error.message)]
    except MachineError as error:
        problems = error.problems or [Problem(code="none", message="\n")]
    assert all("\n" not in str(problem) for problem in problems)


@quiet
@given(content=st.binary() | st.text().map(lambda text: text.encode(errors="replace")))
def test_random_bytes_give_only_sentences(folder: Path, content: bytes) -> None:
    (folder / "fuzz.toml").write_bytes(content)
    only_sentences(folder / "fuzz.toml")


@quiet
@given(case=written_tables())
def test_random_toml_gives_only_sentences(folder: Path, case: tuple[object, str, object]) -> None:
    (folder / "fuzz.toml").write_text(case[1])
    only_sentences(folder / "fuzz.toml")


def leaves(data: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at] * bool(at) + [leaf for name, value in items for leaf in leaves(value, (*at, str(name)))]


@quiet
@given(data=st.data())
def test_a_machine_with_random_values_in_it_gives_only_sentences(folder: Path, data: st.DataObject) -> None:
    table: Any = tomli.loads(EVERYTHING.read_text())
    key = data.draw(st.sampled_from(leaves(table)))
    holder: Any = table
    for part in key[:-1]:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    value = data.draw(
        values
        | tables
        | st.sampled_from(["", "-", "a,b", "0-3", "../x", "on", "5", 0, -1, 1, 2**70, True, 1.5, [], {}])
    )
    holder[int(key[-1]) if isinstance(holder, list) else key[-1]] = value
    writer = TomlWriter(lambda options: options[0])
    writer.table(table)
    (folder / "fuzz.toml").write_text(writer.text)
    only_sentences(folder / "fuzz.toml")


@quiet
@given(
    override=st.text()
    | st.tuples(st.sampled_from(["cpu.model", "disk.0", "disk", "memory.size", "cpu", "pci.0.host"]), st.text()).map(
        "=".join
    )
)
@example(override="disk=[[disk]]")
@example(override="extends=1")
@example(override="memory.size=1e999999999")
def test_random_overrides_give_only_sentences(folder: Path, override: str) -> None:
    only_sentences(folder / "vm.toml", override)


# What it costs.


def test_a_good_machine_is_loaded_without_the_modules_for_bad_ones() -> None:
    heavy = ["difflib", "qlaunch.machine.explain", "qlaunch.machine.places", "qlaunch.machine.scan", "trio", "asyncio"]
    code = f"import sys; from qlaunch.machine.load import load; load({str(EVERYTHING)!r}); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not set(heavy) & set(run.stdout.split())
