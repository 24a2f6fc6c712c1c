"""Sets of CPUs from which the guests' own are taken: interrupts, unbound workers, the watchdog.

A value is a list such as ``0-3,8``, whatever the file's format is. A claim is the CPUs that a machine wants for itself.

Source: the kernel's ``Documentation/core-api/irq/irq-affinity.rst``, ``Documentation/core-api/workqueue.rst``;
``kernel/irq/proc.c`` (EIO or EPERM for what cannot be moved; ENOSPC where the target has no vector left).
"""

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.steps.kind import Kind, Refused
from qlaunch.values.cpus import CpuSet

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

# Written and read as hexadecimal masks; all others are lists.
_MASKS = ("default_smp_affinity", "cpumask")
_TOLERATED = {
    errno.EIO: "managed by the kernel",
    errno.EPERM: "managed by the kernel",
    errno.EINVAL: "cannot be moved",
    errno.ENOSPC: "no interrupt vector is free elsewhere",
    errno.ENOENT: "gone meanwhile",
}


class CpuMask(Kind):
    """A file that holds a set of CPUs."""

    name = "cpumask"

    def read(self, host: "Host", key: str) -> str | None:
        """Give the set as a list; None for an interrupt that has gone."""
        text = host.read(key)
        if text is None:
            return None
        return str(CpuSet.parse_mask(text) if _is_mask(key) else CpuSet.parse(text))

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Set it. Raises OSError, and Refused for what the kernel keeps for itself."""
        cpus = CpuSet.parse(value or "")
        try:
            host.write(key, cpus.mask() if _is_mask(key) else str(cpus))
        except OSError as error:
            if error.errno in _TOLERATED:
                raise Refused(_TOLERATED[error.errno]) from error
            raise

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        """Take all claimed CPUs away; a set that would be empty stays as it is."""
        found = CpuSet.parse(original or "")
        left = found.difference(*map(CpuSet.parse, claims))
        return original if original is None or not left else str(CpuSet(left))

    def agrees(self, claim: str, other: str) -> bool:  # noqa: ARG002 - as Kind
        """Whether both can be met: always, since a set can lose both."""
        return True

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:
        """Give what is right for those that stay; an interrupt that has gone needs nothing."""
        return None if current is None else super().settle(current, original, claim, others)


def _is_mask(key: str) -> bool:
    return key.rpartition("/")[2] in _MASKS


class Interrupts(CpuMask):
    """Where interrupts may be handled."""

    name = "irq"
