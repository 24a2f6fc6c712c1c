"""A folder with machines of its own, and qlaunch that keeps all it writes there."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from tests.bench.row import timed

QLAUNCH = [sys.executable, "-m", "qlaunch"]
# What start and stop are measured with.
SMALL = """
[machine]
accel = "{accel}"
[cpu]
vcpus = 2
pin = "0,1"
[memory]
size = "512M"
[boot]
app = "probe"
"""
NAME = "bench"


class Scratch:
    """Where a benchmark's machines live. ``rounds`` is how often each candidate is measured.

    ``usb`` is a USB device of this host that may be taken.
    """

    def __init__(self, folder: Path, accel: str, rounds: int, usb: str | None = None) -> None:
        self.folder = folder
        self.accel = accel
        self.rounds = rounds
        self.usb = usb
        (folder / "machines").mkdir()
        self.environment = {
            # As installed: with bytecode.
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent),
            "QLAUNCH_RUNTIME_DIR": str(folder / "run"),
            "QLAUNCH_STATE_DIR": str(folder / "state"),
        }
        self.write(NAME, SMALL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs: without this folder nobody would find it."""
        left = [path.name for path in (self.folder / "run").glob("*") if (path / "record.json").exists()]
        if left:
            words = [*QLAUNCH, "down", "--force", *left]
            subprocess.run(words, cwd=self.folder, env=self.environment, check=False, stdout=subprocess.DEVNULL)

    def write(self, name: str, text: str) -> None:
        """Make a machine; ``{accel}`` in the text becomes the accelerator."""
        (self.folder / "machines" / f"{name}.toml").write_text(text.replace("{accel}", self.accel))

    def qlaunch(self, *words: str) -> str:
        """Run qlaunch to its end, and give what it printed."""
        return self.run([*QLAUNCH, *words])

    def run(self, words: Sequence[str]) -> str:
        """Run any program in the same folder and environment."""
        done = subprocess.run(words, cwd=self.folder, env=self.environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")
        return done.stdout

    def timed(self, *words: str) -> float:
        """Give how long qlaunch takes from exec to its end, in milliseconds."""
        return timed(lambda: self.qlaunch(*words))

    def argv(self, name: str = NAME) -> list[str]:
        """Give a machine's argv, with the folder for logs that `up` would make."""
        (self.folder / "state" / name).mkdir(parents=True, exist_ok=True)
        return msgspec.json.decode(self.qlaunch("argv", "--json", name), type=list[str])

    def start(self, name: str = NAME) -> float:
        """Give how long `up` takes from exec until the guest runs, in milliseconds; the machine stays up."""
        return self.timed("up", "--detach", name)
