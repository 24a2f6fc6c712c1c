"""Whether this host is ready, in general or for one machine: three states; nothing is changed.

Owns: the order of themes. Must not: print, or open anything for writing.
"""

from collections.abc import Iterable

from qlaunch.check import cpu, device, display, firmware, iommu, memory, neighbours, user
from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed
from qlaunch.errors import Problem

# The code of a plan's problem, and the codes of checks that say the same with names and numbers.
_SAID_BY_HOST = {
    "no-device": frozenset({"device-missing"}),
    "identity": frozenset({"device-identity"}),
    "held": frozenset({"device-holder"}),
    "own-disk": frozenset({"device-own"}),
    "own-network": frozenset({"device-own"}),
    "group": frozenset({"group"}),
    "no-iommu": frozenset({"iommu"}),
    "kvm-unusable": frozenset({"kvm", "virtualization"}),
    "qemu-missing": frozenset({"qemu"}),
    "firmware-missing": frozenset({"firmware"}),
    "irqbalance": frozenset({"conflicts"}),
}
# The same for a problem that the audit tells with a better line.
_SAID_BY_AUDIT = {"no-hugepages": frozenset({"hugepages-size"}), "no-memory": frozenset({"hugepages-short"})}
# Checks that are left to the plan.
_SAID_BY_PLAN = {"memory-free": frozenset({"no-memory", "hugepages-short", "memory-host-left"})}
_PROGRAMS = ("swtpm", "virtiofsd", "passt")
THEMES = (cpu, iommu, device, display, firmware, user, memory, neighbours)


def host_checks(question: Question) -> list[tuple[str, list[Check]]]:
    """Give the checks of the host under their headings; a theme that has nothing to ask is left out."""
    themes = ((theme.TITLE, list(theme.checks(question))) for theme in THEMES)
    return [(title, checks) for title, checks in themes if checks]


def machine_checks(problems: Iterable[Problem]) -> list[Check]:
    """Give the problems of a plan as failed checks; one that passed where there are none."""
    found = [
        failed(one.code, f"{one.key}: {one.message}" if one.key else one.message, one.hint, one.severity)
        for one in problems
    ]
    return found or [passed("audit", "pins, topology, memory and enlightenments fit this host")]


def told_once(
    problems: Iterable[Problem], parts: Iterable[tuple[str, list[Check]]]
) -> tuple[list[Problem], list[tuple[str, list[Check]]]]:
    """Take out what a plan and the checks of the host say both; what knows more of it stays."""
    themes = list(parts)
    faults = {one.code for _, checks in themes for one in checks if one.status == "failed"}
    known = {one.code for one in problems}
    kept = [
        one
        for one in problems
        if not faults & _SAID_BY_HOST.get(one.code, frozenset())
        and not known & _SAID_BY_AUDIT.get(one.code, frozenset())
    ]
    rest = ((title, [one for one in checks if not _is_said(one, kept)]) for title, checks in themes)
    return [one for one in kept if one.code != "pins-chosen"], [(title, checks) for title, checks in rest if checks]


def _is_said(check: Check, problems: list[Problem]) -> bool:
    if check.status != "failed":
        return False
    programs = (one.message for one in problems if one.code == "no-program")
    said = {one.code for one in problems} & _SAID_BY_PLAN.get(check.code, frozenset())
    return bool(said) or (check.code in _PROGRAMS and any(check.code in message for message in programs))
