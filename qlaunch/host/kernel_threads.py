"""Threads of the kernel that may be told where to run: number and name.

Not those that belong to a CPU, workers among them; nor those that follow something else: an interrupt, a guest.

Source: ``proc_pid_stat(5)``, flags; ``include/linux/sched.h`` (PF_KTHREAD, PF_NO_SETAFFINITY); ``kernel/irq/manage.c``
(``irq/NUMBER-NAME``), ``drivers/vhost/vhost.c`` and ``arch/x86/kvm`` (``vhost-PID``, ``kvm-…``).
"""

import re

from qlaunch.host.tree import Tree

_PF_KTHREAD = 0x00200000
_PF_NO_SETAFFINITY = 0x04000000
_STAT = re.compile(r"\d+ \((.*)\) (\S+(?: \S+){6})")
_FLAGS = 6  # counted from the state
_FOLLOWERS = ("irq/", "vhost-", "kvm")


def movable_threads(tree: Tree) -> dict[int, str]:
    """Give them in order. A record takes what is said of them, and of no other process."""
    found: dict[int, str] = {}
    for number in sorted(int(name) for name in tree.listdir("/proc") if name.isdigit()):
        for line in tree.distilled(f"/proc/{number}/stat", lambda line: line if _is_movable(line) else None):
            name = _STAT.match(line)
            if name:
                found[number] = name[1]
    return found


def _is_movable(line: str) -> bool:
    found = _STAT.match(line)
    if not found or found[1].startswith(_FOLLOWERS):
        return False
    flags = int(found[2].split()[_FLAGS])
    return bool(flags & _PF_KTHREAD) and not flags & _PF_NO_SETAFFINITY
