"""Completion and the manual page, both made of what --help is made of."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qlaunch.cli.completion import candidates
from qlaunch.cli.man import page
from qlaunch.cli.parser import build
from tests.live import DEAF, Desk


@pytest.fixture
def at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with two machines, at which this process sits."""
    for name in ("gaming", "headless"):
        desk.machine(name, DEAF)
    monkeypatch.chdir(desk.folder)
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    return desk


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["top"], {"top", "topology"}),
        (["up", ""], {"gaming", "headless"}),
        (["up", "gaming", ""], {"headless"}),
        (["run", "gam"], {"gaming"}),
        (["run", "gaming", "--set", "a=b", "--ep"], {"--ephemeral"}),
        (["run", "--log", ""], set()),
        (["run", "gaming", "--", "u"], set()),
        (["snapshot", "gaming", "re"], {"revert"}),
        (["down", ""], set()),
        (["nonsense", ""], set()),
        (["schema", ""], set()),
    ],
)
@pytest.mark.usefixtures("at")
def test_what_may_come_is_offered(words: list[str], offered: set[str]) -> None:
    assert set(candidates(build()[1], words)) == offered


@pytest.mark.qemu
def test_machines_that_run_and_their_devices_are_offered(at: Desk) -> None:
    (at.folder / "cd.iso").write_bytes(bytes(1 << 20))
    at.machine("deaf", DEAF + f'[[disk]]\npath = "{at.folder}/cd.iso"\nmedia = "cdrom"\n')
    at.qlaunch("up", "deaf", "--detach")
    verbs = build()[1]
    assert candidates(verbs, ["down", ""]) == ["deaf"]
    assert candidates(verbs, ["cp", "d"]) == ["deaf:"]
    assert candidates(verbs, ["eject", "deaf", ""]) == ["disk0"]
    at.qlaunch("down", "--force", "deaf")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_ask_qlaunch_and_are_read_by_their_shell(at: Desk, shell: str) -> None:
    script = at.qlaunch("completion", shell).stdout
    assert "qlaunch completion words --" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=60)


def test_bash_completes_with_the_script(at: Desk) -> None:
    (at.folder / "completion").write_text(at.qlaunch("completion", "bash").stdout)
    typed = f"""
qlaunch() {{ {sys.executable} -m qlaunch "$@"; }}
source completion
COMP_WORDS=(qlaunch up gam) COMP_CWORD=2
_qlaunch
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "gaming\n", done.stderr


def test_the_manual_page_has_every_verb_and_option_and_no_complaint_of_roff(tmp_path: Path) -> None:
    parser, verbs = build()
    text = "\n".join(page(parser, verbs))
    for name, verb in verbs.choices.items():
        assert f".SS {name}\n" in text
        for action in verb._actions:
            for option in action.option_strings if action.dest != "help" else ():
                assert option.replace("-", "\\-") in text
    if groff := shutil.which("groff"):
        (tmp_path / "qlaunch.1").write_text(text)
        words = [groff, "-K", "utf8", "-man", "-ww", "-Tutf8", "-z", str(tmp_path / "qlaunch.1")]
        assert not subprocess.run(words, capture_output=True, text=True, check=True).stderr
