"""Runs inside the emulated host: kills qlaunch at each point of a start, an end or a recovery in turn, and looks.

A point lies just before a record of the journal, just after it, and just after each change to the host. Every trial is
a fork of one process that has qlaunch imported already and stands in its way from outside: qlaunch has no door for it.
Threads of the lanes run as they like, so a point's number does not say which point it is; what it was is handed back.
"""

import faulthandler
import io
import itertools
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

from qlaunch.cli import main
from qlaunch.journal.engine import HostChanges
from qlaunch.steps.host import LocalHost
from qlaunch.steps.links import Netlink
from qlaunch.steps.systemd import SystemBus

CHANGES = ("write", "set_", "make_", "remove_", "add_", "delete_", "run", "start", "stop", "end_")
DEADLINE_S = 240.0  # for one command, with emulation inside emulation; one that takes longer hangs
STACKS = os.memfd_create("stacks")  # where every process of ours writes how it stands when it is asked to
WHOLE_S = 600.0  # for all that one run of this does; past it, it says where it stands, and ends
Trial = tuple[str, list[str]]  # the point at which the kill came, empty for none; and what went wrong without one


class Said(NamedTuple):
    """How a command ended (minus the signal's number if a signal ended it), and what it said."""

    argv: str
    status: int
    text: str

    def failure(self) -> list[str]:
        """A line unless it ended with status 0."""
        return [] if self.status == 0 else [f"{self.argv}: status {self.status}: {self.text}"]


def sweep(camera: str, phase: str, name: str, *, first: int, most: int, stride: int) -> dict[str, Any]:
    """Kill at point ``first`` and ``most - 1`` more, each ``stride`` on; hand back the points, and what was left.

    ``phase`` is ``start``, ``end`` or ``recover``.
    """
    for module in ("cli.down", "cli.recover", "cli.up", "run.supervisor"):
        import_module(f"qlaunch.{module}")  # here, once, since each trial is a fork
    space: dict[str, Any] = {"__name__": "camera"}
    exec(compile(camera, "camera", "exec"), space)  # noqa: S102 - the lab's own camera
    before = space["photograph"]()
    points: list[str] = []
    for number in range(first, first + most * stride, stride):
        try:
            point, wrong = PHASES[phase](name, number)
            ended, recovered = qlaunch("down", name, "--force"), qlaunch("recover")
        except HangError as hung:
            return {"points": [*points, f"point {number}"], "whole": False, "left": [str(hung)]}
        if phase == "start" and not point:
            wrong += ended.failure()
        wrong += recovered.failure()
        left = [*wrong, *space["difference"](before, space["photograph"]())]
        if left:
            return {
                "points": [*points, point or "nowhere"],
                "whole": False,
                "left": [*left, str(ended), str(recovered)],
            }
        if not point:
            return {"points": points, "whole": True, "left": []}
        points.append(point)
    return {"points": points, "whole": False, "left": []}


def start(name: str, number: int) -> Trial:
    """Kill the supervisor while it prepares the host."""
    point, started = armed(number, "up", name, "--detach")
    return point, [] if point else started.failure()


def end(name: str, number: int) -> Trial:
    """Kill the supervisor while it gives the host back."""
    ended: list[Said] = []

    def then() -> None:
        ended.append(qlaunch("down", name, "--force"))

    point, started = armed(number, "up", name, "--detach", when=HostChanges, then=then)
    return point, started.failure() + ([] if point else ended[0].failure())


def recover(name: str, number: int) -> Trial:
    """Kill a recovery of what a killed supervisor has left."""
    started = qlaunch("up", name, "--detach")
    for pid in processes(f"ql-{name}"):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            supervisor = int(file.read().rpartition(")")[2].split()[1])
        for victim in (supervisor, pid):
            descriptor = os.pidfd_open(victim)
            os.kill(victim, signal.SIGKILL)
            gone(descriptor)
    point, recovered = armed(number, "recover")
    return point, started.failure() + ([] if point else recovered.failure())


PHASES: dict[str, Callable[[str, int], Trial]] = {"start": start, "end": end, "recover": recover}


def armed(number: int, *argv: str, when: type | None = None, then: Callable[[], object] = object) -> tuple[str, Said]:
    """Run qlaunch with a trap at a point, and then something else.

    What the point was, empty if it was not reached; and how the command ended. With ``when``, points are counted from
    its ``undo`` on.
    """
    reading, writing = os.pipe()
    said = qlaunch(*argv, first=lambda: lay(number, writing, when))
    os.close(writing)
    then()
    os.set_blocking(reading, False)
    try:
        return os.read(reading, 1000).decode(), said
    except BlockingIOError:  # whoever holds the other end lives
        return "", said
    finally:
        os.close(reading)


def lay(number: int, telling: int, when: type | None) -> None:
    """Lay the trap in this process and those that it becomes."""
    trap = Trap(number, telling, counting=when is None)
    trap.put_around(os, "pwrite", before="before a record")
    trap.put_around(os, "fdatasync", after="after a record")
    for owner in (LocalHost, Netlink, SystemBus):
        for name in vars(owner):
            if name.startswith(CHANGES):
                trap.put_around(owner, name, after=f"after {name}")
    if when is not None:
        trap.open_at(when, "undo")


class Trap:
    """Kills this process when it passes its n-th point, and tells which one it was."""

    def __init__(self, number: int, telling: int, *, counting: bool) -> None:
        self._number = number
        self._telling = telling
        self._counting = counting
        self._count = itertools.count(1)
        self._lock = threading.Lock()

    def pass_point(self, words: str) -> None:
        with self._lock:
            if self._counting and next(self._count) == self._number:
                os.write(self._telling, words.encode()[:1000])
                os.kill(os.getpid(), signal.SIGKILL)

    def put_around(self, owner: Any, name: str, before: str = "", after: str = "") -> None:
        """Make points of the beginning and the end of a function."""
        act = getattr(owner, name)

        def done(*given: Any, **named: Any) -> Any:
            if before:
                self.pass_point(before)
            result = act(*given, **named)
            if after:
                self.pass_point(" ".join([after, *map(str, given[1:])]))
            return result

        setattr(owner, name, done)

    def open_at(self, owner: type, name: str) -> None:
        """Count from the first call of a function on."""
        act = getattr(owner, name)

        def opened(*given: Any) -> Any:
            self._counting = True
            return act(*given)

        setattr(owner, name, opened)


def qlaunch(*argv: str, first: Callable[[], object] = object) -> Said:
    """Run a command, and something before it, in a fork of this process.

    One that hangs is killed, and what it said ends with where each process of ours stood.
    """
    reading, writing = os.pipe()
    faulthandler.register(signal.SIGUSR2, STACKS)  # here, so that a child has it from its first moment on
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        run_here(first, *argv)
    os.close(writing)
    ended = os.pidfd_open(child)
    hung = not select.select([ended], [], [], DEADLINE_S)[0]
    os.close(ended)
    if hung:
        show_where_they_stand()
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as file:
        said = (file.read(65536) or b"").decode(errors="replace").strip()
    if hung:
        standing = os.pread(STACKS, 1 << 20, 0).decode(errors="replace")
        raise HangError(f"qlaunch {' '.join(argv)} had not ended after {DEADLINE_S:.0f} s: {said}\n{standing}")
    return Said(" ".join(argv), os.waitstatus_to_exitcode(status), said)


class HangError(Exception):
    """A command did not end; told with what it said and where it stood."""


def show_where_they_stand() -> None:
    """Have each process that was forked from here write its stacks: the command, and a supervisor that it left.

    Of one that waits in the kernel, whosever it is, the kernel tells where.
    """
    ours = os.fstat(STACKS)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                name, _, rest = file.read().rpartition(")")
            if rest.split()[0] == "D":
                with open(f"/proc/{pid}/stack", "rb") as file:
                    os.write(STACKS, f"\n{name}) waits in the kernel:\n".encode() + file.read())
            held = [os.stat(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
            if int(pid) != os.getpid() and any(os.path.samestat(ours, other) for other in held):
                os.write(STACKS, f"\nprocess {pid}:\n".encode())
                os.kill(int(pid), signal.SIGUSR2)
                time.sleep(1)  # its handler tells nobody when it has written


def run_here(first: Callable[[], object], *argv: str) -> None:
    """Be qlaunch, to the end of this process."""
    status = 1
    try:
        first()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False))
        status = main(argv)
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(status)


def processes(name: str) -> list[int]:
    """Give the processes of a name."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            if file.read().strip() == name:
                found.append(int(pid))
    return found


def gone(descriptor: int) -> None:
    """Wait for a process that is no child of ours."""
    died, _, _ = select.select([descriptor], [], [], 60)
    os.close(descriptor)
    if not died:
        raise TimeoutError("a killed process was still there after 60 s")


if __name__ == "__main__":
    faulthandler.dump_traceback_later(WHOLE_S, exit=True)
    sys.stdout.write(json.dumps(sweep(**json.load(sys.stdin))))
