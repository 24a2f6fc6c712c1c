"""What `check` says on every recorded host, word for word: in general, and for a machine that wants a lot."""

from pathlib import Path

import pytest

from qlaunch.check.result import Check
from qlaunch.cli.check import checks_of, picture
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from tests.conftest import Golden
from tests.hosts import build

HERE = Path(__file__).parent / "golden" / "check"
MACHINE = str(HERE / "passthrough.toml")
# What the QEMU of the computer that runs the tests cannot do is no fact of a host.
NOT_OF_THE_HOST = {"qemu-lacks", "machine-type"}


def told(host: str, machine: str | None, folder: Path) -> list[tuple[str, list[Check]]]:
    facts = HostFacts(Tree(str(build.load(host).write(folder))))
    parts = checks_of(machine, [], facts)
    return [(title, [one for one in checks if one.code not in NOT_OF_THE_HOST]) for title, checks in parts]


@pytest.mark.parametrize("host", build.NAMES)
@pytest.mark.parametrize("machine", [None, MACHINE], ids=["host", "machine"])
def test_check_says_what_was_recorded(
    host: str, machine: str | None, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    parts = [(title, checks) for title, checks in told(host, machine, tmp_path) if checks]
    golden.compare(HERE / f"{host}{'-machine' if machine else ''}.txt", "\n".join(picture(parts)) + "\n")


@pytest.mark.parametrize("host", build.NAMES)
def test_no_two_faults_have_the_same_words_and_each_says_what_to_do(host: str, tmp_path: Path) -> None:
    faults = [one for _, checks in told(host, MACHINE, tmp_path) for one in checks if one.status == "failed"]
    assert len({one.message for one in faults}) == len(faults)
    assert [one.code for one in faults if one.stops and not one.hint] == []
