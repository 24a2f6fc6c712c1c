"""Who may still run on the guests' CPUs: the proof of a shield, read from what the kernel made of it.

Source: ``proc_pid_status(5)``, Cpus_allowed_list; the kernel's ``Documentation/admin-guide/cgroup-v2.rst``
(cpuset.cpus.effective); ``include/linux/sched.h``, PF_NO_SETAFFINITY: threads of the kernel that belong to their CPU.
"""

import re

import msgspec

from qlaunch.host.tree import Tree
from qlaunch.values.cpus import CpuSet

_ALLOWED = re.compile(r"^Cpus_allowed_list:\s*(\S+)", re.MULTILINE)
_NAME = re.compile(r"^Name:\s*(.*)", re.MULTILINE)
_KTHREAD = re.compile(r"^(PPid:\s*2|Kthread:\s*1)$", re.MULTILINE)
_OURS = re.compile(r"/qlaunch-[^/]+$", re.MULTILINE)


class Shielded(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. ``left`` are processes that may run on the CPUs, ``groups`` the slices that have them."""

    processes: int
    left: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    kernel_threads: int = 0

    def __str__(self) -> str:
        found = [*self.groups, *self.left]
        if not found:
            return f"none of {self.processes} processes may run there"
        shown = ", ".join(found[:5])
        return f"{shown}{f' and {len(found) - 5} more' if len(found) > 5 else ''} may still run there"


def verify_shield(tree: Tree, cpus: CpuSet) -> Shielded:
    """Look at every process, and at the groups of the top level. Guests of qlaunch's own are left out.

    Threads of the kernel are counted: those that can be moved are moved by masks, and the others belong to a CPU.
    """
    processes, kernel_threads, left = 0, 0, []
    for number in tree.listdir("/proc"):
        status = tree.read(f"/proc/{number}/status") if number.isdigit() else None
        allowed = _ALLOWED.search(status or "")
        if status is None or allowed is None:
            continue
        is_there = bool(CpuSet.parse(allowed[1]) & cpus)
        if _KTHREAD.search(status):
            kernel_threads += is_there
        elif not _OURS.search(tree.read(f"/proc/{number}/cgroup") or ""):
            processes += 1
            if is_there:
                called = _NAME.search(status)
                left.append(f"{called[1] if called else '?'} (process {number}, on {allowed[1]})")
    groups = []
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/cpuset"):
        for name in ("system.slice", "user.slice", "init.scope", "qlaunch:host"):
            has = tree.cpus(f"{root}/{name}/cpuset.cpus.effective") or tree.cpus(f"{root}/{name}/cpuset.effective_cpus")
            if has and has & cpus:
                groups.append(f"{name} (on {has})")
    return Shielded(processes=processes, left=tuple(left), groups=tuple(groups), kernel_threads=kernel_threads)
