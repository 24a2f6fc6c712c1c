"""Every bad machine file that we know, with the words that it is answered with; and every rule has one."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from qlaunch.errors import MachineError, Problem
from qlaunch.machine.decode import parse_value
from qlaunch.machine.load import load
from qlaunch.machine.model import Machine
from qlaunch.machine.read import read_chain
from qlaunch.machine.rule import Rule
from qlaunch.machine.rules import RULES
from tests.conftest import Golden

HERE = Path(__file__).parent
CASES = sorted((HERE / "bad").glob("*.toml"))


def problems_of(path: str) -> Iterator[Problem]:
    try:
        yield from load(path).warnings
    except MachineError as error:
        yield from error.problems


def told(problem: Problem) -> str:
    lines = [f"{problem.severity} {problem.code}", str(problem), *([problem.hint] if problem.hint else [])]
    return "\n    ".join(lines)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_bad_file_is_answered_as_recorded(case: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    text = "\n".join(map(told, problems_of(f"bad/{case.name}")))
    golden.compare(case.with_suffix(".error"), text.replace(str(HERE), "TESTS") + "\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_bad_file_is_bad_and_says_why_it_exists(case: Path) -> None:
    assert case.read_text().startswith("# TEST: ")
    problems = list(problems_of(str(case)))
    assert problems
    for problem in problems:
        assert problem.where.startswith(str(case.parent)), problem
        assert "\n" not in str(problem)
        assert problem.message
        assert not problem.message.endswith(".")


def machines() -> Iterator[Machine]:
    for case in CASES:
        try:
            yield msgspec.convert(read_chain(str(case))[0], Machine, dec_hook=parse_value)
        except (MachineError, msgspec.ValidationError):
            continue


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_has_a_case_that_breaks_it(rule: Rule) -> None:
    assert any(list(rule(machine)) for machine in machines())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_is_silent_about_the_machines_that_we_ship(rule: Rule) -> None:
    for path in (HERE.parent / "machines").glob("*.toml"):
        assert list(rule(load(str(path)).machine)) == []


def test_every_rule_of_every_theme_is_registered_once() -> None:
    themes = {rule.__module__ for rule in RULES}
    assert themes == {f"qlaunch.machine.{path.stem}" for path in (HERE.parent / "qlaunch/machine").glob("rules_*.py")}
    for theme in themes:
        module = __import__(theme, fromlist=["RULES"])
        written = {name for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
        own = {name for name in written if getattr(getattr(module, name), "__module__", "") == theme}
        assert own == {rule.__name__ for rule in module.RULES}
    assert len(set(RULES)) == len(RULES)
