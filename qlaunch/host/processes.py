"""Which programs run, by the name that the kernel keeps (at most 15 letters). Source: ``proc_pid_comm(5)``."""

from collections.abc import Collection

from qlaunch.host.tree import Tree, whole_number


def running_programs(tree: Tree, wanted: Collection[str]) -> dict[str, tuple[int, ...]] | None:
    """Give the process numbers of those programs that run; None where the tree has no processes.

    What else runs here is nobody's business: a capture does not hold it.
    """
    found: dict[str, tuple[int, ...]] = {}
    pids = [number for name in tree.listdir("/proc") if (number := whole_number(name)) is not None]
    for pid in pids:
        for comm in tree.distilled(f"/proc/{pid}/comm", lambda line: line if line in wanted else None):
            found[comm] = (*found.get(comm, ()), pid)
    return found if pids else None
