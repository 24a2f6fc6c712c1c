"""The CPUs of the vCPUs as an isolated partition: the scheduler neither balances tasks onto them nor among them.

The vCPUs' threads go into a group of their own below QEMU's, since QEMU's other threads have other CPUs. The kernel
takes a partition's CPUs from all groups around it, and from its own unbound workers.

A key is ``GROUP of PID with N on CPUS``, a value ``isolated``; None is no such group.

Source: the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` ("Threads"; cpuset.cpus.exclusive, since Linux 6.7;
cpuset.cpus.partition, which reads ``isolated invalid (REASON)``); QEMU's ``accel/`` (threads are called
``CPU 0/KVM`` with debug-threads=on).
"""

import errno
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

ISOLATED = "isolated"
_VCPU = re.compile(r"(CPU \d+|ALL CPUs)/")
_KEY = re.compile(r"(.*) of (\d+) with (\d+) on ([\d,-]+)")
# QEMU makes its vCPUs after it has preallocated the guest's memory, of which some have a terabyte.
_VCPUS_S = 300.0
# A group that its last process has left is removed by systemd at any moment: first its files, one by one, then itself.
_GONE = (errno.ENOENT, errno.ENODEV)
REMOVED_S = 10.0


class Partition(Kind):
    """Its name is the machine's alone."""

    name = "partition"
    exclusive = True

    def read(self, host: "Host", key: str) -> str | None:
        """Give what the partition is, in the kernel's words; None for no such group."""
        group = _parts(key)[0]
        return host.read(f"{group}/cpuset.cpus.partition") or ("made" if host.exists(group) else None)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Make the group, fill and isolate it; or empty and remove it. Raises OSError, HostError."""
        if value is None:
            _take_away(host, _parts(key)[0])
        else:
            _make(host, *_parts(key))

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> None:
        """Let it go, whatever is in it."""


def _make(host: "Host", group: str, pid: str, number: int, cpus: str) -> None:
    above = group.rpartition("/")[0]
    if host.read(f"{above}/cpuset.cpus.exclusive") is None:
        raise HostError(f"{above} has no cpuset.cpus.exclusive", "it came with Linux 6.7; write shield = true")
    if not host.exists(group):
        host.make_folder(group)
    if host.read(f"{group}/cgroup.type") != "threaded":
        host.write(f"{group}/cgroup.type", "threaded")
    if "cpuset" not in (host.read(f"{above}/cgroup.subtree_control") or "").split():
        host.write(f"{above}/cgroup.subtree_control", "+cpuset")
    host.write(f"{group}/cpuset.cpus", cpus)
    host.write(f"{above}/cpuset.cpus.exclusive", cpus)
    host.write(f"{group}/cpuset.cpus.exclusive", cpus)
    host.wait(lambda: len(_vcpus(host, pid)) >= number or not host.exists(f"/proc/{pid}"), _VCPUS_S)
    threads = _vcpus(host, pid)
    if len(threads) < number:
        raise HostError(f"QEMU {pid} has {len(threads)} vCPU threads, and {number} are wanted")
    for thread in threads:
        host.write(f"{group}/cgroup.threads", thread)
    host.write(f"{group}/cpuset.cpus.partition", ISOLATED)
    became = host.read(f"{group}/cpuset.cpus.partition")
    if became != ISOLATED:
        raise HostError(f"CPUs {cpus} cannot be isolated: {group} is {became!r}", "write shield = true")


def _take_away(host: "Host", group: str) -> None:
    above = group.rpartition("/")[0]
    try:
        for thread in (host.read(f"{group}/cgroup.threads") or "").split():
            _let_go(host, above, thread)
        if host.read(f"{group}/cpuset.cpus.partition") not in (None, "member"):
            host.write(f"{group}/cpuset.cpus.partition", "member")
        for folder in (group, above):
            if host.read(f"{folder}/cpuset.cpus.exclusive"):
                host.write(f"{folder}/cpuset.cpus.exclusive", "")
        if "cpuset" in (host.read(f"{above}/cgroup.subtree_control") or "").split():
            host.write(f"{above}/cgroup.subtree_control", "-cpuset")
        host.remove_folder(group)  # last of all: as long as it is there, there is something to undo
    except OSError as error:
        if error.errno not in _GONE or not host.wait(lambda: not host.exists(group), REMOVED_S):
            raise


def _let_go(host: "Host", above: str, thread: str) -> None:
    try:
        host.write(f"{above}/cgroup.threads", thread)
    except ProcessLookupError:  # it has ended meanwhile
        return


def _vcpus(host: "Host", pid: str) -> list[str]:
    names = {thread: host.read(f"/proc/{pid}/task/{thread}/comm") or "" for thread in host.listdir(f"/proc/{pid}/task")}
    return [thread for thread, name in names.items() if _VCPU.match(name)]


def _parts(key: str) -> tuple[str, str, int, str]:
    found = _KEY.fullmatch(key)
    if not found:
        raise ValueError(f"{key!r} is not GROUP of PID with N on CPUS")
    return found[1], found[2], int(found[3]), found[4]
