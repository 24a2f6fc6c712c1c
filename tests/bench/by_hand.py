"""QEMU by hand: the same argv, started and pinned over a raw socket by a program that is warm.

It has no interpreter to start, no file to read, nothing to supervise and nothing to give back.
"""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec


class ByHand:
    """One QEMU. Starting it and bringing its guest up are two calls, so that many can be started at once."""

    def __init__(self, argv: Sequence[str], *, cpus: Sequence[int] = (), prefix: Sequence[str] = ()) -> None:
        """``cpus`` are those of the vCPUs in their order; ``prefix`` is a program that starts it, such as taskset."""
        path = _monitor_path(argv)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._cpus = cpus
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            words = [word.replace(f"path={path}", f"fd={listener.fileno()}") for word in argv]
            self._qemu = subprocess.Popen(
                [*prefix, *words], pass_fds=(listener.fileno(),), start_new_session=True, stderr=subprocess.DEVNULL
            )
            self._monitor = socket.socket(socket.AF_UNIX)
            self._monitor.connect(path)
        os.unlink(path)
        self._lines = self._monitor.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._qemu.kill()
        self._qemu.wait()
        self._lines.close()
        self._monitor.close()

    def greeted(self) -> None:
        """Wait until QEMU answers: it has its memory then."""
        if not self._lines.readline():
            raise SystemExit(f"QEMU ended with status {self._qemu.wait()}")
        self._ask("qmp_capabilities")

    def bring_up(self) -> None:
        """Pin the vCPUs and let the guest go."""
        self.greeted()
        for cpu, vcpu in zip(self._cpus, self._ask("query-cpus-fast"), strict=False):
            os.sched_setaffinity(vcpu["thread-id"], {cpu})
        self._ask("cont")

    def ask_to_quit(self) -> None:
        """Tell QEMU to end."""
        self._monitor.sendall(b'{"execute":"quit"}\n')

    def wait(self) -> None:
        """Wait until QEMU has ended."""
        self._qemu.wait()

    def _ask(self, command: str) -> list[dict[str, Any]]:
        self._monitor.sendall(msgspec.json.encode({"execute": command}) + b"\n")
        while line := self._lines.readline():
            answer = msgspec.json.decode(line, type=dict[str, Any])
            if "return" in answer:
                returned: list[dict[str, Any]] = answer["return"]
                return returned
        raise SystemExit(f"QEMU hung up over {command}")


def _monitor_path(argv: Sequence[str]) -> str:
    word = next(word for word in argv if word.startswith("socket,id=qmp-chr,"))
    return next(part for part in word.split(",") if part.startswith("path=")).removeprefix("path=")
