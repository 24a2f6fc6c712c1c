"""The CI script of README.md, as it stands there, with a cloud-like image and a real QEMU; no emulated host."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import cloud
from tests.lab.recipe import PROJECT
from tests.live import PATIENCE_S, Desk

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_host")]

TEST = """
grep -q ID=cloudlike /etc/os-release || exit 9
touch /changed
echo '<testsuite tests="1"/>' > $1
echo "tested on Linux $(uname -r)"
exit STATUS
"""


def script_of_the_readme() -> str:
    """The first shell script under the heading Scripts."""
    text = (PROJECT / "README.md").read_text()
    found = re.search(r"^## Scripts\n.*?^```sh\n(#!/bin/sh.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, "README.md shows no script under Scripts"
    return found[1]


@pytest.fixture
def ci(desk: Desk) -> Iterator[Desk]:
    """A folder of a CI job: the machine with its image, the script, and a command qlaunch."""
    agent = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if agent is None:
        pytest.skip("the guest's agent is this machine's qemu-ga, which is not installed (package qemu-guest-agent)")
    machines = desk.folder / "machines"
    shutil.copy(PROJECT / "machines/headless.toml", machines / "shipped.toml")
    cloud.make(machines, Path(agent))
    (desk.folder / "ci.sh").write_text(script_of_the_readme())
    programs = desk.folder / "programs"
    programs.mkdir()
    (programs / "qlaunch").write_text(f'#!/bin/sh\nexec {sys.executable} -m qlaunch "$@"\n')
    (programs / "qlaunch").chmod(0o755)
    desk.environment["PATH"] = f"{programs}:{desk.environment['PATH']}"
    yield desk
    desk.assert_clean()


@pytest.mark.parametrize("status", [0, 7])
def test_the_script_of_the_readme_boots_tests_and_gets_the_result_out(ci: Desk, status: int) -> None:
    (ci.folder / "test.sh").write_text(TEST.replace("STATUS", str(status)))
    disk = ci.folder / "machines/headless.qcow2"
    before = hashlib.sha256(disk.read_bytes()).digest()
    done = subprocess.run(
        ["sh", "ci.sh"],
        cwd=ci.folder,
        env=ci.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    assert done.stdout.startswith("tested on Linux ")
    assert (ci.folder / "result.xml").read_text() == '<testsuite tests="1"/>\n'
    assert "cloudlike: up" in (ci.folder / "boot.log").read_text()
    assert ("cloudlike: up" in done.stderr) == (status != 0)
    assert hashlib.sha256(disk.read_bytes()).digest() == before
