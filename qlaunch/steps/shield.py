"""Keeping everything else off the guests' CPUs, by systemd: QEMU in a scope of its own, and slices without its CPUs.

The scope comes first: a slice that loses CPUs takes them from every process below it, QEMU among them.

Source: ``systemd.resource-control(5)``, AllowedCPUs; ``systemd.special(7)`` (the slices, init.scope);
``cgroups(7)`` (/proc/PID/cgroup); systemd's ``src/core/scope.c`` (a scope ends when its group becomes empty, of which
the kernel tells; one whose process was a zombie when it was moved there has never been anything else).
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind
from qlaunch.values.cpus import CpuSet

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

SLICES = ("system.slice", "user.slice", "init.scope")
EMPTY = "populated 0"  # of a cgroup.events
_ONLINE = "/sys/devices/system/cpu/online"


class Shield(Kind):
    """A key is a slice, a value the CPUs that it may use; empty is all. A claim is ``GUEST of ONLINE`` CPUs."""

    name = "shield"
    # Whoever is killed when the limit has gone has perhaps not removed the file in which systemd keeps that it was set.
    reads_early = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give the limit that is set. Raises HostError."""
        return str(host.systemd.cpus(key))

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Set the limit, or take it away. Raises HostError."""
        others = [name for name in SLICES if name != key]
        if not value and host.systemd.cpus(key) and not any(map(host.systemd.cpus, others)):
            # Without any limit systemd gives the controller up, and then the kernel compares old and new CPUs of one
            # task alone (cpuset_attach in kernel/cgroup/cpuset.c): as slices that have no limit any more have all of
            # them, those of the last one would stay limited. So that one has all CPUs before it has no limit.
            host.systemd.set_cpus(key, CpuSet.parse(host.read(_ONLINE) or ""))
        host.systemd.set_cpus(key, CpuSet.parse(value or ""))

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Take the guests' CPUs from those that the slice had; one that would have none keeps what it has."""
        pairs = [claim.split(" of ") for claim in claims]
        had = CpuSet.parse(original or "") or CpuSet.parse(pairs[0][1])
        left = had.difference(*(CpuSet.parse(guest) for guest, _ in pairs))
        return str(CpuSet(left)) if left else original

    def agrees(self, claim: str, other: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether both can be met: always, since a set can lose both."""
        return True

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:
        """Whether it has all CPUs, as a kill on the way to no limit leaves it."""
        return not original and current == claim.partition(" of ")[2]


class Scope(Kind):
    """A key is ``NAME of PID on CPUS``, a value ``active``, or ``empty`` for one with no process at all.

    It goes with its last process, as a rule. One whose process died while systemd made it would stay for ever: it never
    had a process that systemd could see leave. So an undo stops it, and one that was asked for and is not made yet; one
    with processes is left to them.
    """

    name = "scope"
    exclusive = True
    # The request of somebody who was killed over it may still stand in systemd's queue.
    reads_early = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give whether the process is in it: a scope of that name may be the last run's, which systemd still closes."""
        name, pid, _ = _parts(key)
        if name in re.split("[/\n]", host.read(f"/proc/{pid}/cgroup") or ""):
            return "active"
        return "empty" if _events(host, name) == EMPTY else None

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Put the process into the scope, or end the scope. Raises HostError."""
        name, pid, cpus = _parts(key)
        if value is not None:
            host.systemd.make_scope(name, int(pid), CpuSet.parse(cpus))
        elif _events(host, name) in ("", EMPTY):
            host.systemd.end_scope(name)
        elif self.read(host, key):
            raise HostError(f"QEMU {pid} is still in it")

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> None:
        """Let it go: QEMU has ended."""


def _events(host: "Host", scope: str) -> str:
    """Give whether anything is in a scope, in the kernel's words; nothing where there is none.

    It is in the root's slice, of the one hierarchy that systemd mounts there.
    """
    found = re.search("populated [01]", host.read(f"/sys/fs/cgroup/{scope}/cgroup.events") or "")
    return found[0] if found else ""


def _parts(key: str) -> tuple[str, str, str]:
    name, _, rest = key.partition(" of ")
    pid, _, cpus = rest.partition(" on ")
    return name, pid, cpus
