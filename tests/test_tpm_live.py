"""A TPM beside a real QEMU: started before it, kept between runs, told when it dies, ended with the machine."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.live import DEAF, Desk

pytestmark = pytest.mark.qemu

TPM = DEAF + '[tpm]\nmodel = "tis"\n'


@pytest.fixture(autouse=True)
def _needs_swtpm() -> None:
    if not any(os.access(f"{folder}/swtpm", os.X_OK) for folder in os.environ["PATH"].split(":")):
        pytest.skip("swtpm is not installed")


def helpers(desk: Desk) -> list[int]:
    """Give the processes that run a TPM of this desk's."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if b"--tpmstate" in words and str(desk.state).encode() in words:
            found.append(int(name))
    return found


def test_a_tpm_runs_with_its_machine_and_keeps_its_state(desk: Desk) -> None:
    desk.machine("deaf", TPM)
    desk.qlaunch("up", "deaf", "--detach")
    assert '"tpm-tis"' in desk.qlaunch("console", "deaf", "-c", "query-tpm").stdout
    assert len(helpers(desk)) == 1
    desk.qlaunch("down", "--force", "deaf")
    assert helpers(desk) == []
    state = desk.state / "deaf" / "tpm" / "tpm2-00.permall"
    first = state.read_bytes()
    assert state.stat().st_mode & 0o077 == 0
    desk.qlaunch("up", "deaf", "--detach")
    desk.qlaunch("down", "--force", "deaf")
    assert len(state.read_bytes()) == len(first)
    desk.assert_clean()


def test_a_tpm_that_dies_is_told_and_the_guest_runs_on(desk: Desk) -> None:
    desk.machine("deaf", TPM)
    up = desk.up("deaf")
    desk.hear(up, "the guest runs")
    os.kill(helpers(desk)[0], signal.SIGKILL)
    desk.hear(up, r"swtpm has ended \(.*SIGKILL.*\)")
    assert "running" in desk.qlaunch("list").stdout
    desk.qlaunch("down", "--force", "deaf")
    assert up.wait() == 0
    desk.assert_clean()


def test_a_tpm_whose_supervisor_and_qemu_were_killed_is_ended_by_recover(desk: Desk) -> None:
    desk.machine("deaf", TPM)
    desk.qlaunch("up", "deaf", "--detach")
    record = desk.record("deaf")
    os.kill(record["supervisor"]["pid"], signal.SIGKILL)
    os.kill(record["qemu"]["pid"], signal.SIGKILL)
    desk.qlaunch("recover")
    assert helpers(desk) == []
    desk.assert_clean()


def test_a_tpm_of_a_machine_that_is_taken_over_stays(desk: Desk) -> None:
    desk.machine("deaf", TPM)
    desk.qlaunch("up", "deaf", "--detach")
    before = helpers(desk)
    os.kill(desk.record("deaf")["supervisor"]["pid"], signal.SIGKILL)
    desk.qlaunch("up", "deaf", "--detach")
    assert helpers(desk) == before
    desk.qlaunch("down", "--force", "deaf")
    assert helpers(desk) == []
    desk.assert_clean()


def test_a_tpm_that_cannot_start_ends_the_start_with_a_sentence(desk: Desk) -> None:
    desk.machine("deaf", TPM)
    place = desk.folder / "bin"
    place.mkdir()
    (place / "swtpm").write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    (place / "swtpm").chmod(0o755)
    desk.environment["PATH"] = f"{place}:{desk.environment['PATH']}"
    refused = desk.qlaunch("up", "deaf", "--detach", expect=None)
    assert refused.returncode in (3, 5)
    assert "the helper behind swtpm.sock ended at its start" in refused.stderr
    assert "swtpm said: no such luck" in refused.stderr
    assert "Traceback" not in refused.stderr
    desk.assert_clean()


def test_a_tpm_with_a_broken_state_ends_the_start_with_its_own_words(desk: Desk) -> None:
    desk.machine("deaf", TPM)
    folder = desk.state / "deaf" / "tpm"
    folder.mkdir(parents=True)
    (folder / "tpm2-00.permall").write_text("no state of a TPM")
    (desk.state / "deaf" / "swtpm.log").write_text("words of another run\n")
    refused = desk.qlaunch("up", "deaf", "--detach", expect=None)
    assert refused.returncode in (3, 5)
    assert re.search("swtpm said: .*initialize", refused.stderr)
    assert "disconnected" not in refused.stderr.splitlines()[1]
    assert "Invalid magic" in refused.stderr
    assert "words of another run" not in refused.stderr
    desk.assert_clean()


def test_without_swtpm_it_is_refused_before_anything_is_touched(desk: Desk) -> None:
    from qlaunch.host.facts import HostFacts
    from qlaunch.host.tree import Tree
    from qlaunch.preparation import sidecars
    from qlaunch.preparation.wish import Wish
    from tests.sites import machine

    made = machine(tpm={}, share=[{"path": "/srv", "tag": "a"}, {"path": "/etc/hostname", "tag": "b"}])
    tree = Tree.holding({"/etc/hostname": "x"}, {})
    wish = Wish(name="m", uuid="", machine=made, facts=HostFacts(tree), runtime="/r", state="/s")
    said = {problem.code: problem.message for problem in sidecars.refusals(wish)}
    assert said == {
        "no-swtpm": "a TPM needs swtpm, which is not installed",
        "no-virtiofsd": "virtiofs needs virtiofsd, which is not installed",
        "no-folder": "/etc/hostname is no folder",
    }
    assert desk.folder.is_dir()
