"""Who is let in where before QEMU starts as another user: entries in the lists of nodes, owners of what is its own."""

import os
import pwd
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlaunch.host.facts import HostFacts
from qlaunch.host.permissions import keeps_lists
from qlaunch.host.tree import Tree
from qlaunch.preparation import evdev, ownership
from qlaunch.preparation.wish import Wish
from qlaunch.values.access import ATTRIBUTE, Access
from tests.sites import machine
from tests.test_plugged import INPUTS, KEYBOARD, Part, wish

GAMES = pwd.getpwnam("games").pw_uid


def live(given: dict[str, Any]) -> Wish:
    facts = HostFacts(Tree())
    return Wish(name="gaming", uuid="", machine=machine(host={"user": "games"}, **given), facts=facts, runtime="/run/x")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root can ask for other users")
    made = tmp_path / "node"
    made.touch()
    made.chmod(0o660)
    if not keeps_lists(Tree(), str(made)):
        pytest.skip(f"{made} is on a file system without access lists")
    return made


def test_a_keyboard_s_node_keeps_its_owner() -> None:
    games: Part = ({"/etc/passwd": "games:x:1000:100::/home/games:/bin/sh"}, {})
    found = wish({"evdev": [{"path": KEYBOARD}], "host": {"user": "games"}}, INPUTS, games)
    assert [step.claims for step in evdev.steps(found)] == [{"/dev/input/event3": "1000 is let in"}]
    assert not any(KEYBOARD in step.claims for step in ownership.steps(found))


def test_a_node_that_is_not_the_machine_s_alone_keeps_its_owner(node: Path) -> None:
    asked = live({})
    display = msgspec.structs.replace(asked.machine.display, looking_glass_path=str(node))
    asked = msgspec.structs.replace(asked, machine=msgspec.structs.replace(asked.machine, display=display))

    def claim() -> str | None:
        (step,) = ownership.steps(asked)
        return step.claims.get(str(node))

    assert claim() == f"{GAMES} is let in"
    os.chown(node, 0, pwd.getpwnam("games").pw_gid)
    assert claim() is None


def test_dev_kvm_is_left_to_its_group(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KVM and udev throw everybody out of its list, at any time."""
    monkeypatch.setattr(ownership, "_KVM", str(node))
    problems = list(ownership.refusals(live({"machine": {"accel": "kvm"}})))
    assert [problem.hint for problem in problems if problem.code == "user-kvm"] == ["usermod -aG kvm games"]
    os.setxattr(node, ATTRIBUTE, Access(0, 0, 0o660).with_user(GAMES).attribute())  # by hand, or by a session
    problems = list(ownership.refusals(live({"machine": {"accel": "kvm"}})))
    assert not [problem for problem in problems if problem.code == "user-kvm"]
