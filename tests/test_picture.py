"""The picture's other end on the host: Looking Glass' file with its size and owner, a folder for a user's socket."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from qlaunch.errors import HostError
from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation.picture import refusals, steps
from qlaunch.preparation.wish import Wish
from qlaunch.steps.host import LocalHost
from qlaunch.steps.own_file import OwnFile, file_claim, folder_claim
from tests.sites import machine

UID, GID = os.geteuid(), os.getegid()
USERS = "games:x:500:\nalice:x:1000:\n"


def wish(tmp_path: Path, files: dict[str, str] | None = None, **sections: Any) -> Wish:
    for name, text in {"/etc/passwd": USERS, **(files or {})}.items():
        path = tmp_path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    facts = HostFacts(Tree(str(tmp_path)))
    return Wish(name="ada", uuid="", machine=machine(**sections), facts=facts, runtime="/run/ada", state="/state/ada")


def claims(asked: Wish) -> dict[str, str]:
    return {key: text for step in steps(asked) for key, text in step.claims.items()}


def told(asked: Wish) -> list[str]:
    return [problem.message for problem in refusals(asked)]


@pytest.mark.parametrize(
    ("host", "display", "expected"),
    [
        ({}, {}, "0:0 600"),
        ({}, {"looking_glass_user": "alice"}, "1000:0 600"),
        ({"user": "alice"}, {}, "1000:1000 600"),
        ({"user": "games"}, {"looking_glass_user": "alice"}, "1000:500 660"),
    ],
    ids=["root", "root for a user", "user", "user for another"],
)
def test_the_shared_file_is_the_clients_and_qemu_can_open_it(
    tmp_path: Path, host: dict[str, str], display: dict[str, str], expected: str
) -> None:
    asked = wish(tmp_path, host=host, display={"looking_glass": "32M", **display})
    assert claims(asked) == {"/dev/shm/looking-glass-ada": f"{32 << 20} bytes of {expected}"}  # noqa: S108 - its name


def test_kvmfr_needs_no_file_but_the_module_with_the_same_size(tmp_path: Path) -> None:
    display = {"looking_glass": "64M", "looking_glass_path": "/dev/kvmfr1"}
    assert claims(wish(tmp_path, display=display)) == {}
    assert told(wish(tmp_path, display=display)) == [
        "there is no /dev/kvmfr1: the module kvmfr of Looking Glass is not loaded"
    ]
    loaded = {"/dev/kvmfr1": "", "/sys/module/kvmfr/parameters/static_size_mb": "64,32"}
    assert told(wish(tmp_path, loaded, display=display)) == ["/dev/kvmfr1 has 32 MiB, and not 64"]
    loaded["/sys/module/kvmfr/parameters/static_size_mb"] = "32,64"
    assert told(wish(tmp_path, loaded, display=display)) == []


def test_a_user_who_does_not_exist_is_told(tmp_path: Path) -> None:
    asked = wish(tmp_path, display={"looking_glass": "64M", "looking_glass_user": "nobodyelse"})
    assert told(asked) == ["there is no user nobodyelse on this host"]
    assert claims(asked) == {}


@pytest.mark.parametrize("kind", ["spice", "vnc"])
def test_a_user_without_a_way_into_qlaunchs_folder_has_one_for_the_socket(tmp_path: Path, kind: str) -> None:
    assert claims(wish(tmp_path, display={"type": kind})) == {}
    asked = wish(tmp_path, display={"type": kind}, host={"user": "games"})
    assert claims(asked) == {"/state/ada/display": "folder of 500:500 700"}


def test_a_file_comes_into_being_with_its_size_and_owner_and_goes(tmp_path: Path) -> None:
    kind, host, path = OwnFile(), LocalHost(), tmp_path / "shared"
    claim = file_claim(1 << 20, UID, GID, 0o660)
    path.write_text("of a run that was killed")
    before = kind.read(host, str(path))
    kind.write(host, str(path), claim)
    assert kind.read(host, str(path)) == claim
    assert path.read_bytes() == bytes(1 << 20)
    kind.write(host, str(path), before)
    assert path.stat().st_size == len("of a run that was killed")
    kind.write(host, str(path), None)
    assert not path.exists()
    kind.write(host, str(path), None)


def test_a_folder_goes_with_what_is_in_it(tmp_path: Path) -> None:
    kind, host, path = OwnFile(), LocalHost(), tmp_path / "display"
    claim = folder_claim(UID, GID, 0o700)
    kind.write(host, str(path), claim)
    kind.write(host, str(path), claim)
    assert kind.read(host, str(path)) == claim
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    (path / "spice.sock").write_text("")
    kind.write(host, str(path), None)
    assert not path.exists()


def test_a_link_that_somebody_left_is_not_followed(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "shared"
    precious.write_text("precious")
    path.symlink_to(precious)
    with pytest.raises(HostError, match="is neither a file nor a folder"):
        OwnFile().write(LocalHost(), str(path), file_claim(4096, UID, GID, 0o600))
    assert precious.read_text() == "precious"
