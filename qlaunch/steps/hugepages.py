"""Pools of huge pages: grown by what a machine lacks, and given back by no more than it took.

A key is an ``nr_hugepages`` of a node or of the host, a claim a number of pages. Claims add up. Pages have no names:
where somebody adds or takes some after a kill that left it open whether the machine's were there, its undo cannot tell
them from the machine's.

Source: the kernel's ``Documentation/admin-guide/mm/hugetlbpage.rst``, ``Documentation/admin-guide/sysctl/vm.rst``
(compact_memory); github.com/openzfs/zfs issue 15140 (compaction oopses with ZFS on Linux 6.3.1 to 6.7.4).
"""

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

_COMPACT = "/proc/sys/vm/compact_memory"
_DEADLINE_S = 60.0
# Each round compacts and asks again; a round that wins nothing is followed by one more, which may.
_VAIN_ROUNDS = 2
_OOPS = (6, 3, 1), (6, 7, 4)
_UNCOMPACTED = "memory is not compacted here, since Linux 6.3.1 to 6.7.4 crashes over that beside ZFS"


class Hugepages(Kind):
    """The size of one pool, in pages."""

    name = "hugepages"
    adds_up = True

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Grow or shrink the pool. Raises HostError when memory is too broken up, with how far it went."""
        wanted, before = int(value or 0), _pages(host, key)
        end = time.monotonic() + _DEADLINE_S
        host.write(key, str(wanted), deadline_s=_DEADLINE_S)
        got, vain, compacts = _pages(host, key), 0, _may_compact(host)
        while got < wanted and vain < _VAIN_ROUNDS and compacts and time.monotonic() < end:
            host.tell(f"{got - before} of {wanted - before} huge pages so far; memory is being compacted")
            _compact(host, key, wanted, end)
            now = _pages(host, key)
            got, vain = now, 0 if now > got else vain + 1
        if got < wanted:
            message = f"{key}: {wanted - before} pages are missing, and {got - before} could be had"
            hint = "free memory, or reserve them at boot: hugepages= on the kernel command line"
            raise HostError(message, hint if compacts else f"{hint}; {_UNCOMPACTED}")

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Add all claims to what was there."""
        return None if original is None else str(int(original) + sum(map(int, claims)))

    def original(self, current: str | None, recorded: str | None, claims: Sequence[str]) -> str | None:
        """Count what somebody has added since, or taken away, as the host's own."""
        return recorded if current is None else str(max(0, int(current) - sum(map(int, claims))))

    def agrees(self, claim: str, other: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether both can be met: that is found out by growing."""
        return True

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give back one's own pages, and none that somebody else has added or taken."""
        if current is None or original is None:
            return current
        above = int(current) - int(original) - sum(map(int, others))
        return str(int(current) - max(0, min(above, int(claim))))


def _pages(host: "Host", key: str) -> int:
    return int(host.read(key) or 0)


def _compact(host: "Host", key: str, wanted: int, end: float) -> None:
    """Let the kernel put free memory together, and ask again. Both may take as long as is left until the end."""
    with suppress(TimeoutError):
        for path, text in ((_COMPACT, "1"), (key, str(wanted))):
            host.write(path, text, deadline_s=max(1.0, end - time.monotonic()))


def _may_compact(host: "Host") -> bool:
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", host.read("/proc/sys/kernel/osrelease") or "")
    if not found or not host.exists("/sys/module/zfs"):
        return True
    release = tuple(int(part or 0) for part in found.groups())
    return not _OOPS[0] <= release <= _OOPS[1]
