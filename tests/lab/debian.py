"""Debian packages into a folder, by mmdebstrap and pip, from the mirrors that this machine's own apt and pip use.

It installs nothing on the machine; mmdebstrap runs in a mount and process namespace of its own, so that nothing of it
stays mounted or running even when it is killed. Source: mmdebstrap(1), apt-get(8) indextargets, unshare(1).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from tests.lab.failure import LabError
from tests.lab.recipe import PROJECT, PYTHON

# Nothing in the lab reads a manual or speaks another language.
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


def need_tools() -> None:
    """Raises LabError unless this machine can build the image."""
    if os.geteuid() != 0:
        raise LabError(
            "building the lab's image needs root, to unpack Debian with its owners",
            "run it once as root: sudo contrib/lab build",
        )
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"), ("unshare", "util-linux")):
        if shutil.which(tool) is None:
            raise LabError(
                f"{tool} is missing, which builds the lab's image",
                f"apt-get install -y --no-install-recommends {package}",
            )


def sources(suite: str) -> list[str]:
    """The apt source lines of a suite, on the mirrors of this machine. Raises LabError where apt names none."""
    codename = _codename()
    asked = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages", "Component: main"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError(
            f"apt cannot tell its Debian mirror: {error}", "the lab's image can be built on Debian only"
        ) from error
    lines = []
    for line in listed.splitlines():
        release, uri = line.split(" ", 1)
        if (
            codename
            and (release == codename or release.startswith(f"{codename}-"))
            and not release.endswith("-backports")
        ):
            lines.append(f"deb {uri} {suite}{release.removeprefix(codename)} main")
    if not lines:
        raise LabError(
            f"apt has no source for Debian's {codename or 'own release'} main",
            "see /etc/apt/sources.list and /etc/apt/sources.list.d",
        )
    return list(dict.fromkeys(lines))


def _codename() -> str:
    words = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return words.get("VERSION_CODENAME", "").strip('"')


def unpack(suite: str, variant: str, packages: tuple[str, ...], target: Path, log: IO[str]) -> None:
    """A Debian tree of some packages.

    ``variant`` is mmdebstrap's: "minbase" is a whole system, "extract" only files.
    """
    options = ["--mode=root", f"--variant={variant}", f"--include={','.join(packages)}"]
    options += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    # A pid namespace of its own ends every process of it at once; unshare itself dies with us.
    shell = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    _run([*shell, "mmdebstrap", *options, suite, str(target), *sources(suite)], f"unpacking Debian {suite}", log)


def unpack_wheels(wheels: list[str], target: Path, log: IO[str]) -> None:
    """Python packages as wheels for the suite's Python, by whichever Python here has a pip."""
    for python in (sys.executable, str(PROJECT / ".venv/bin/python"), "python3"):
        asked = [python, "-m", "pip", "--version"]
        if shutil.which(python) and subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            break
    else:
        raise LabError(
            "no Python here has a pip, which fetches the lab's Python packages", "apt-get install -y python3-pip"
        )
    options = ["--quiet", "--python-version", PYTHON, "--only-binary=:all:", "--target", str(target)]
    _run([python, "-m", "pip", "install", *options, *wheels], "fetching the lab's Python packages", log)


def _run(argv: list[str], doing: str, log: IO[str]) -> None:
    log.write(f"\n$ {' '.join(argv)}\n")
    log.flush()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise LabError(f"{doing} failed with status {done.returncode}", f"its log is {log.name}")
