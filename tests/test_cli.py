"""The command line: its grammar, its statuses, and what it does not import."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from qlaunch.cli.parser import parse
from qlaunch.errors import UsageError
from tests.live import DEAF, Desk

HEAVY = {"trio", "asyncio", "trio_asyncio", "qemu.qmp", "pyroute2", "rich", "prompt_toolkit", "psutil"}


def imported_by(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "qlaunch", *words], capture_output=True, text=True, check=True
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_help_and_version_import_nothing_heavy(word: str) -> None:
    names = imported_by(word)
    assert "argparse" in names
    assert not names & HEAVY


@pytest.mark.qemu
@pytest.mark.parametrize("verb", ["argv", "plan"])
def test_pure_verbs_import_no_event_loop(desk: Desk, verb: str) -> None:
    path = desk.machine("deaf", DEAF)
    assert not imported_by(verb, str(path)) & HEAVY


@pytest.mark.parametrize(
    "words", [[], ["no-such-verb"], ["up"], ["argv"], ["down", "x", "--timeout", "nan"], ["plan", "a", "b"]]
)
def test_a_wrong_command_line_is_refused_with_a_hint(words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        parse(words)
    assert "--help" in refused.value.hint


def test_every_verb_has_help_that_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 120
    verbs = msgspec.convert(parse_verbs(lines), list[str])
    for verb in verbs:
        with pytest.raises(SystemExit) as left:
            parse([verb, "--help"])
        assert left.value.code == 0


def parse_verbs(lines: list[str]) -> list[str]:
    """The words of the first column under "verbs:"."""
    start = lines.index("verbs:")
    end = lines.index("", start)
    return [line.split()[0] for line in lines[start + 1 : end] if line.startswith("    ") and line[4] != " "]


def test_no_such_machine_is_status_2_and_names_near_ones(desk: Desk) -> None:
    desk.machine("gaming", DEAF)
    refused = desk.qlaunch("argv", "gamign", expect=2)
    assert "gamign" in refused.stderr
    assert "gaming" in refused.stderr


def test_all_problems_of_a_file_are_told_with_their_lines(desk: Desk) -> None:
    desk.machine("bad", '[cpu]\nvcpus = "four"\nmodell = "host"\n[memory]\nsize = 16\n')
    refused = desk.qlaunch("up", "bad", expect=2)
    for place in ("bad.toml:2: cpu.vcpus", "bad.toml:3: cpu.modell", "bad.toml:5: memory.size"):
        assert place in refused.stderr


@pytest.mark.qemu
def test_argv_is_a_list_in_json_and_a_runnable_command_in_text(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    words = msgspec.json.decode(desk.qlaunch("argv", "deaf", "--json").stdout, type=list[str])
    text = desk.qlaunch("argv", "deaf").stdout
    split = subprocess.run(["sh", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True, check=True)
    assert split.stdout.splitlines() == words


@pytest.mark.qemu
def test_plan_has_the_documented_shape_and_changes_nothing(desk: Desk) -> None:
    desk.machine("deaf", DEAF)
    plan = msgspec.json.decode(desk.qlaunch("plan", "deaf", "--json").stdout)
    assert set(plan) == {"machine", "argv", "steps", "pins", "sidecars", "problems"}
    assert plan["pins"] == {"vcpus": {}, "iothreads": {}, "emulator": None}
    assert not desk.runtime.exists()
    assert not desk.state.exists()


@pytest.mark.qemu
def test_a_missing_disk_is_told_and_the_argv_printed_all_the_same(desk: Desk) -> None:
    desk.machine("m", DEAF + '[[disk]]\npath = "none.qcow2"\n')
    shown = desk.qlaunch("argv", "m")
    assert "none.qcow2 does not exist" in shown.stderr
    assert "none.qcow2" in shown.stdout


@pytest.mark.parametrize("verb", ["down", "status", "pause", "console"])
def test_a_machine_that_does_not_run_is_status_3(desk: Desk, verb: str) -> None:
    refused = desk.qlaunch(verb, "nobody", expect=3)
    assert "nobody is not running" in refused.stderr
    assert not desk.runtime.exists()


def test_schema_is_json(desk: Desk) -> None:
    schema = msgspec.json.decode(desk.qlaunch("schema").stdout)
    assert "$schema" in schema or "$defs" in schema or "properties" in schema


def test_a_reader_that_goes_away_is_no_error(desk: Desk) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m qlaunch schema | head -n 1"],
        capture_output=True,
        text=True,
        check=True,
        env=desk.environment,
    )
    assert done.stderr == ""


def test_module_and_script_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("qlaunch")
    commands = [[sys.executable, "-m", "qlaunch", "--version"]] + (
        [[str(script), "--version"]] if script.exists() else []
    )
    said = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in commands}
    assert len(said) == 1
