"""Work for the host while a guest is measured: busy tasks, and one that writes. They die with this process."""

import subprocess
import sys
from contextlib import ExitStack, suppress

from qlaunch.values.cpus import CpuSet

# Whoever starts them holds the other end of their standard input: it closes with him, however he ends.
_BEGIN = """\
import os, sys, tempfile, threading
if sys.argv[1]:
    os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
"""
_BUSY = f"{_BEGIN}os.write(1, b'.')\nwhile True: pass\n"
_WRITES = f"""{_BEGIN}
with tempfile.TemporaryFile(dir=sys.argv[2]) as file:
    os.write(1, b'.')
    while True:
        file.seek(0)
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
"""


class Load:
    """The tasks of one run."""

    def __init__(self, busy: int, folder: str, cpus: CpuSet | None = None) -> None:
        """``busy`` tasks and a writer below ``folder``, none at all for 0; ``cpus`` are those that they may use."""
        self._programs = [_BUSY] * busy + [_WRITES] * bool(busy)
        self._arguments = (",".join(map(str, sorted(cpus or ()))), folder)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start them, and come back once all are at work. Blocking."""
        for program in self._programs:
            words = [sys.executable, "-S", "-c", program, *self._arguments]
            self._started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for task in self._started:
            assert task.stdout  # noqa: S101 - it was asked for
            task.stdout.read(1)

    def end(self) -> None:
        """End them, and wait until they are gone."""
        with ExitStack() as ends:
            for task in self._started:
                ends.callback(task.wait)
                ends.callback(task.kill)
                for pipe in (task.stdin, task.stdout):
                    if pipe:
                        with suppress(OSError):
                            pipe.close()
            self._started = []
