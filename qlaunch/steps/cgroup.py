"""The shield where systemd does not hand out CPUs: groups of our own in the cpuset hierarchy, v1 or v2.

Everything that runs in the root group goes into a group ``qlaunch:host`` that lacks the guests' CPUs, and QEMU into one
of its own. Kernel threads stay where they are: those that can be moved are moved by the kernel's own masks, see
``cpu_mask``.

Source: ``cgroups(7)``; the kernel's ``Documentation/admin-guide/cgroup-v1/cpusets.rst`` (a group takes tasks only once
it has CPUs and memory nodes) and ``cgroup-v2.rst`` (the root hands ``cpuset`` to its children by
``cgroup.subtree_control``; a child without CPUs of its own has its parent's); ``proc_pid_stat(5)``, flags;
``include/linux/sched.h``, PF_KTHREAD.
"""

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind
from qlaunch.steps.shield import Shield
from qlaunch.values.cpus import CpuSet

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

PEN = "qlaunch:host"  # no machine's, whose group is qlaunch-NAME
_PF_KTHREAD = 0x00200000
_FLAGS = 6  # of /proc/PID/stat, counted from the state after the name
_GONE_OR_BOUND = (errno.ESRCH, errno.EINVAL, errno.ENOENT)
# Whoever forks while it is moved leaves a child behind; the next round takes that along.
_ROUNDS = 8


class Pen(Shield):
    """A key is where the hierarchy is mounted, a value the CPUs of all that is not a guest; None is no such group."""

    name = "cgroup-shield"
    reads_early = False

    def read(self, host: "Host", key: str) -> str | None:
        """Give the CPUs of the group."""
        text = host.read(f"{key}/{PEN}/cpuset.cpus")
        return None if text is None else str(CpuSet.parse(text))

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Put everything into the group, or everything back and the group away. Raises OSError."""
        pen = f"{key}/{PEN}"
        if value is None:
            move_all(host, pen, key)
            host.remove_folder(pen)
            return
        make_group(host, key, pen, value)
        move_all(host, key, pen)

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether the group is there without CPUs, as a kill between its making and its filling leaves it."""
        return current == ""


class GroupCpus(Shield):
    """A key is a group of the top level that others made, such as OpenRC's; a value its CPUs, of which none is all."""

    name = "cgroup-cpus"

    def read(self, host: "Host", key: str) -> str | None:
        """Give the CPUs that it was given; None where it has gone."""
        text = host.read(f"{key}/cpuset.cpus")
        return None if text is None else str(CpuSet.parse(text))

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Give it CPUs. Raises OSError."""
        host.write(f"{key}/cpuset.cpus", value or "")

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give what is right for those that stay; a group that has gone needs nothing."""
        return None if current is None else super().settle(current, original, claim, others)


class Controller(Kind):
    """A key is a ``cgroup.subtree_control``, a value ``cpuset`` or the empty text: whether children have it."""

    name = "cgroup-controller"

    def read(self, host: "Host", key: str) -> str | None:
        """Look whether it is handed on."""
        return "cpuset" if "cpuset" in (host.read(key) or "").split() else ""

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Hand it on, or not any more. Raises OSError."""
        host.write(key, "+cpuset" if value else "-cpuset")


class Group(Kind):
    """A key is ``PATH of PID on CPUS``, a value ``active``: a group of one QEMU's own."""

    name = "cgroup"
    exclusive = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give ``active`` if the process is in it, ``made`` for a group without, None for no such group."""
        path, pid, _ = _parts(key)
        if not host.exists(path):
            return None
        return "active" if pid in (host.read(f"{path}/cgroup.procs") or "").split() else "made"

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Make the group with the process in it, or remove it. Raises OSError."""
        path, pid, cpus = _parts(key)
        root = path.rpartition("/")[0]
        if value is None:
            move_all(host, path, root)
            host.remove_folder(path)
        else:
            make_group(host, root, path, cpus or host.read(f"{root}/cpuset.cpus.effective") or "")
            host.write(f"{path}/cgroup.procs", pid)

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> None:
        """Let it go, whatever is in it: its name is the machine's alone."""


def make_group(host: "Host", root: str, path: str, cpus: str) -> None:
    """Make a group below ``root`` that can take tasks. Raises OSError."""
    if not host.exists(path):
        host.make_folder(path)
    if host.read(f"{path}/cpuset.cpus") is None:
        raise HostError(f"{path} has no cpuset.cpus", "the kernel or the container gives no CPUs to groups here")
    nodes = host.read(f"{root}/cpuset.mems")
    if nodes and not host.read(f"{path}/cpuset.mems"):  # v1: the root has them, and a child begins without
        host.write(f"{path}/cpuset.mems", nodes)
    host.write(f"{path}/cpuset.cpus", cpus)


def move_all(host: "Host", source: str, target: str) -> None:
    """Move every process that is not a thread of the kernel from one group to another. Raises OSError."""
    stuck: set[str] = set()
    for _ in range(_ROUNDS):
        found = [pid for pid in (host.read(f"{source}/cgroup.procs") or "").split() if pid not in stuck]
        if not found:
            return
        for pid in found:
            if pid == "0" or _is_of_kernel(host, pid):  # 0 is a process of another namespace
                stuck.add(pid)
                continue
            try:
                host.write(f"{target}/cgroup.procs", pid)
            except OSError as error:
                if error.errno not in _GONE_OR_BOUND:
                    raise
                stuck.add(pid)


def _is_of_kernel(host: "Host", pid: str) -> bool:
    stat = host.read(f"/proc/{pid}/stat")
    if not stat:
        return False
    fields = stat[stat.rindex(")") + 1 :].split()
    return bool(int(fields[_FLAGS]) & _PF_KTHREAD)


def _parts(key: str) -> tuple[str, str, str]:
    path, _, rest = key.partition(" of ")
    pid, _, cpus = rest.partition(" on ")
    return path, pid, cpus
