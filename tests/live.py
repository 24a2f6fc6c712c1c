"""Run qlaunch as a user does, in folders of its own, and make sure that nothing is left afterwards."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

# Whoever runs the tests under nohup has it ignored, which programs inherit; a test of it would wait for ever.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

QEMU = os.environ.get("QLAUNCH_TEST_QEMU", "qemu-system-x86_64")
# Plain emulation on a busy machine is slow; a test that meets this bound has failed, and none waits for it otherwise.
PATIENCE_S = 120

DEMO = """
[machine]
accel = "tcg"
[boot]
app = "probe"
[cpu]
vcpus = 2
[memory]
size = "128M"
[qemu]
binary = "{qemu}"
"""
# A BIOS without a disk: it comes up within a second, does nothing, and does not heed the power button.
DEAF = """
[machine]
accel = "tcg"
[firmware]
type = "bios"
[memory]
size = "64M"
[[network]]
boot_index = 0
[qemu]
binary = "{qemu}"
[shutdown]
timeout_s = 1
resend_s = 0.4
"""


class Desk:
    """A user's desk: a folder with machine files, and a qlaunch that keeps everything below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        self.state = folder / "state"
        (folder / "machines").mkdir()
        self.environment = {
            **os.environ,
            "QLAUNCH_RUNTIME_DIR": str(self.runtime),
            "QLAUNCH_STATE_DIR": str(self.state),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        self._started: list[subprocess.Popen[str]] = []

    def machine(self, name: str, text: str) -> Path:
        """Write a machine file; ``{qemu}`` in it is the QEMU under test."""
        path = self.folder / "machines" / f"{name}.toml"
        path.write_text(text.replace("{qemu}", QEMU))
        return path

    def qlaunch(
        self, *words: str, expect: int | None = 0, typed: str | None = None, first: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end, and check its exit status; ``first`` is Python that runs in its process before it."""
        program = ["-c", f"import os, sys\n{first}\nfrom qlaunch.cli import main\nsys.exit(main())"]
        done = subprocess.run(
            [sys.executable, *(program if first else ["-m", "qlaunch"]), *words],
            cwd=self.folder,
            env=self.environment,
            input=typed,
            stdin=subprocess.DEVNULL if typed is None else None,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert expect is None or done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done

    def up(self, *words: str) -> subprocess.Popen[str]:
        """Start ``qlaunch up`` in the foreground, with its words in a pipe."""
        process = subprocess.Popen(
            [sys.executable, "-m", "qlaunch", "up", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def hear(self, process: subprocess.Popen[str], pattern: str) -> str:
        """Read a process' words until one matches; fail with all of them when none does."""
        assert process.stderr
        heard = []
        for line in process.stderr:
            heard.append(line)
            if re.search(pattern, line):
                return line
        pytest.fail(f"{pattern!r} was not said: {''.join(heard)}")

    def record(self, name: str) -> dict[str, Any]:
        """Give the record of a machine."""
        record: dict[str, Any] = msgspec.json.decode((self.runtime / name / "record.json").read_bytes())
        return record

    def serial(self, name: str) -> "Serial":
        """Open the serial console of a machine."""
        return Serial(self.runtime / name / "serial.sock")

    def processes(self) -> list[int]:
        """Name the processes whose command line speaks of this desk."""
        mine = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and str(self.folder).encode() in (entry / "cmdline").read_bytes():
                    mine.append(int(entry.name))
            except OSError:
                continue
        return mine

    def assert_clean(self) -> None:
        """No process and no file is left in the runtime folder."""
        assert self.processes() == []
        assert not self.runtime.exists(), [str(path) for path in self.runtime.rglob("*")]

    def close(self) -> None:
        """End whatever a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            if process.stderr:
                process.stderr.close()
            process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


class Serial:
    """A serial console that waits for words and types keys."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self.heard = ""

    def wait_for(self, words: str) -> str:
        """Read until the words have been printed; give everything up to now."""
        while words not in self.heard:
            chunk = self._socket.recv(65536)
            if not chunk:
                pytest.fail(f"the guest hung up before {words!r}: {self.heard}")
            self.heard += chunk.decode("utf-8", "replace")
        return self.heard

    def type(self, keys: str) -> None:
        """Send keys."""
        self._socket.sendall(keys.encode())

    def __enter__(self) -> "Serial":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A clean desk, and nothing left of it. Its path is short: a socket's may have 107 bytes."""
    if shutil.which(QEMU) is None:
        pytest.fail(f"{QEMU} is not installed: contrib/check installs it")
    made = Desk(tmp_path_factory.mktemp("d"))
    try:
        yield made
    finally:
        made.close()
