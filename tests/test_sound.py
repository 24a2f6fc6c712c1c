"""The guest's sound: QEMU finds its user's sound server, or says why it does not get there."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import sound
from qlaunch.preparation.wish import Wish
from tests.sites import machine


def wish(tree: Tree, **sections: Any) -> Wish:
    return Wish(name="ada", uuid="", machine=machine(**sections), facts=HostFacts(tree), runtime="/run/ada")


def told(asked: Wish) -> list[tuple[str, str]]:
    return [(problem.message, problem.hint) for problem in sound.refusals(asked)]


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    """A host on which alice is logged in, with a sound server of either kind."""
    for name in ("run/user/1000/pipewire-0", "run/user/1000/pulse/native"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("alice:x:1000:\ngames:x:500:\n")
    return tmp_path


@pytest.mark.parametrize("backend", ["pipewire", "pulse"])
def test_the_server_of_qemus_user_is_found(captured: Path, backend: str) -> None:
    asked = wish(Tree(str(captured)), audio={"backend": backend}, host={"user": "alice"})
    assert told(asked) == []
    assert sound.environment(asked) == {"XDG_RUNTIME_DIR": "/run/user/1000"}


def test_a_user_without_a_server_is_told_who_has_one(captured: Path) -> None:
    asked = wish(Tree(str(captured)), audio={"backend": "pipewire"}, host={"user": "games"})
    assert told(asked) == [("no sound server: /run/user/500/pipewire-0 is not there", 'write audio.user = "alice"')]


def test_the_server_of_another_user_is_used_with_that_users_cookie(captured: Path) -> None:
    asked = wish(Tree(str(captured)), audio={"backend": "pulse", "user": "alice"})
    assert told(asked) == []
    assert sound.environment(asked) == {"XDG_RUNTIME_DIR": "/run/user/1000"}
    cookie = captured / "home/alice/.config/pulse/cookie"
    cookie.parent.mkdir(parents=True)
    cookie.write_text("")
    assert sound.environment(asked)["PULSE_COOKIE"] == "/home/alice/.config/pulse/cookie"


def test_a_user_of_the_sound_who_does_not_exist_is_told(captured: Path) -> None:
    asked = wish(Tree(str(captured)), audio={"backend": "pulse", "user": "bob"})
    assert told(asked) == [("there is no user bob on this host", "see: getent passwd")]


def test_a_server_elsewhere_is_not_looked_for(captured: Path) -> None:
    assert told(wish(Tree(str(captured)), audio={"backend": "pulse", "server": "tcp:music.example"})) == []
    there = {"backend": "pulse", "server": "unix:/run/pulse"}
    assert told(wish(Tree(str(captured)), audio=there))[0][0] == "no sound server: /run/pulse is not there"


def test_alsa_needs_a_card(captured: Path) -> None:
    assert told(wish(Tree(str(captured)), audio={"backend": "alsa"}))[0][0] == "this host has no sound card"
    (captured / "dev/snd").mkdir(parents=True)
    (captured / "dev/snd/pcmC0D0p").write_text("")
    assert told(wish(Tree(str(captured)), audio={"backend": "alsa"})) == []


def test_a_captured_host_that_tells_nothing_of_it_refuses_nothing(tmp_path: Path) -> None:
    assert told(wish(Tree(str(tmp_path)), audio={"backend": "pipewire"})) == []


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder of this user's, as of one who is logged in."""
    folder = Path(tempfile.mkdtemp(prefix="q", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    yield folder
    shutil.rmtree(folder)


def test_ones_own_server_is_looked_for_where_the_session_says(runtime: Path) -> None:
    asked = wish(Tree("/"), audio={"backend": "pipewire"})
    assert told(asked)[0][0] == f"no sound server: {runtime}/pipewire-0 is not there"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{runtime}/pipewire-0")
        assert told(asked) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run QEMU as another user")
def test_a_server_behind_a_closed_folder_is_told(runtime: Path) -> None:
    (runtime / "native").write_text("")
    audio = {"backend": "pulse", "server": f"unix:{runtime}/native"}
    assert told(wish(Tree("/"), audio=audio)) == []
    ((message, hint),) = told(wish(Tree("/"), audio=audio, host={"user": "nobody"}))
    assert message == (f"nobody cannot reach the sound server {runtime}/native: {runtime} does not let that user in")
    assert hint == "name the user who is logged in: host.user"
