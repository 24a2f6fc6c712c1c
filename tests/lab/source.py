"""Puts the checkout's qlaunch into a running lab, compiled for the Python inside, so that an edit needs no new image.

Source: PEP 552 (checked hashes: the compiled files are valid whatever times the files inside get).
"""

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.lab.emulator import Emulator
from tests.lab.failure import LabError
from tests.lab.recipe import PROJECT

PLACE = "/opt/qlaunch"
PARTS = ("qlaunch", "machines")
COMMAND = """#!/bin/sh
# A unit of systemd has none of the agent's environment.
export PYTHONPATH=/opt/qlaunch:/opt/packages
exec python3 -P -m qlaunch "$@"
"""


def install(host: Emulator) -> None:
    """Makes ``qlaunch`` and ``python3 -m qlaunch`` inside run what is in this checkout now."""
    script = (
        f"rm -rf {PLACE}; mkdir -p {PLACE}; tar -xf - -C {PLACE}; install -m 755 {PLACE}/command /usr/local/bin/qlaunch"
    )
    host.channel.run("sh", "-ec", script, stdin=_packed(host)).checked()


def _packed(host: Emulator) -> bytes:
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory(dir=host.folder) as work:
        for part in PARTS:
            shutil.copytree(PROJECT / part, Path(work) / part, ignore=shutil.ignore_patterns("__pycache__"))
        (Path(work) / "command").write_text(COMMAND)
        compiled = [*host.image.python(), "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        done = subprocess.run(
            [*compiled, "-s", work, "-p", PLACE, str(Path(work) / "qlaunch")],
            env=host.image.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"qlaunch does not compile for the lab's Python: {(done.stdout + done.stderr).strip()}")
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(work, ".", filter=_as_root)
    return buffer.getvalue()


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode |= 0o555 if entry.isdir() else 0o444  # the folder in which it was packed is this user's alone
    return entry
