"""The argv of every machine that we ship and of every section, one option a line.

What changes here, changes for users.
"""

from pathlib import Path

import pytest

from qlaunch.argv import build_args
from qlaunch.cli.argv import option_lines
from qlaunch.machine.load import load
from qlaunch.plan import make_plan, place
from tests.conftest import Golden
from tests.sites import found

HERE = Path(__file__).parent
MACHINES = HERE.parent / "machines"
CASES = sorted((HERE / "golden").glob("*.toml")) + sorted(MACHINES.glob("*.toml"))


def golden_file(case: Path) -> Path:
    """The expected argv: beside a case, and for a shipped machine in a folder of its own."""
    folder = HERE / "golden" / "machines" if case.parent == MACHINES else case.parent
    return folder / f"{case.stem}.argv"


def argv_of(case: Path, version: tuple[int, int] = (10, 0)) -> list[str]:
    loaded = load(str(case))
    return make_plan(loaded, found(loaded.machine, loaded.name, version=version)).argv


def portable(text: str) -> str:
    """A relative path of a machine file is below the file's folder, and the probe is below this checkout."""
    return text.replace(str(MACHINES), "MACHINES").replace(str(HERE.parent), "CHECKOUT")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_argv_is_as_recorded(case: Path, golden: Golden) -> None:
    golden.compare(golden_file(case), portable("\n".join(option_lines(argv_of(case)))) + "\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_case_says_why_it_exists(case: Path) -> None:
    if case.parent != MACHINES:
        assert case.read_text().startswith("# TEST: ")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_no_two_parts_have_one_id_or_one_place(case: Path) -> None:
    loaded = load(str(case))
    args = build_args(loaded.machine, place(loaded.name, loaded.machine, found(loaded.machine, loaded.name)))
    devices = [arg for arg in args if arg.flag == "device"]
    ids = [arg.get("id") for arg in devices if arg.get("id")]
    places = [(str(arg.get("bus")), str(arg.get("addr"))) for arg in devices if arg.get("addr") is not None]
    assert len(set(places)) == len(places)
    assert len(set(map(str, ids))) == len(ids)
