"""Threads of the kernel off the guests' CPUs, each by itself: some had CPUs of their own, such as those of a node.

A key is ``NUMBER NAME``, a value the CPUs that the thread may run on, a claim ``GUEST of ONLINE`` CPUs.

Source: ``sched_setaffinity(2)`` (EINVAL for a thread with PF_NO_SETAFFINITY); ``proc_pid_status(5)``; the kernel's
``kernel/cgroup/cpuset.c`` (an isolated partition that comes or goes gives all of them the CPUs that are left).
"""

import errno
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.steps.kind import Kind, Refused
from qlaunch.values.cpus import CpuSet

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

_STATUS = re.compile(r"^Name:\s*(.*?)$.*^Cpus_allowed_list:\s*(\S+)", re.MULTILINE | re.DOTALL)
_TOLERATED = {errno.EINVAL: "belongs to its CPU", errno.ESRCH: "gone meanwhile"}


class KernelThread(Kind):
    """A thread whose number is another's by now has gone."""

    name = "kthread"

    def read(self, host: "Host", key: str) -> str | None:
        """Give where it may run; None where it has gone."""
        number, _, name = key.partition(" ")
        found = _STATUS.search(host.read(f"/proc/{number}/status") or "")
        return str(CpuSet.parse(found[2])) if found and found[1] == name else None

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Move it. Raises OSError, and Refused for one that cannot be moved."""
        if value is None:
            return
        try:
            host.set_affinity(int(key.partition(" ")[0]), CpuSet.parse(value))
        except OSError as error:
            if error.errno in _TOLERATED:
                raise Refused(_TOLERATED[error.errno]) from error
            raise

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Take the guests' CPUs from those that it had; if none were left, it stays."""
        if original is None:
            return None
        left = CpuSet.parse(original).difference(*(CpuSet.parse(claim.split(" of ")[0]) for claim in claims))
        return str(CpuSet(left)) if left else original

    def agrees(self, claim: str, other: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether both can be met: always, since a set can lose both."""
        return True

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:
        """Whether it has every CPU, or more than before, as the kernel gives it when a partition comes or goes."""
        return self.is_kept(current, original, claim) or current == claim.partition(" of ")[2]

    def is_kept(self, current: str | None, original: str | None, claim: str) -> bool:
        """Whether it has more CPUs than before, and none of the guest's."""
        if current is None or original is None:
            return False
        guest = CpuSet.parse(claim.partition(" of ")[0])
        return CpuSet.parse(current) >= CpuSet.parse(original) - guest and not CpuSet.parse(current) & guest

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give what is right for those that stay; a thread that has gone needs nothing."""
        return None if current is None or original is None else super().settle(current, original, claim, others)
