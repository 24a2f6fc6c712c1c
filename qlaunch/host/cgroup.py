"""How control groups are laid out here: v1, v2 or both, and whether systemd owns them.

Source: ``cgroups(7)``, the kernel's ``Documentation/admin-guide/cgroup-v2.rst``; ``sd_booted(3)``: the folder
``/run/systemd/system`` exists exactly where systemd is the init.
"""

from typing import Literal

import msgspec

from qlaunch.host.mounts import read_mounts
from qlaunch.host.tree import Tree
from qlaunch.values.cpus import CpuSet

_ROOT = "/sys/fs/cgroup"
_V1 = frozenset({"cpuset", "cpu", "cpuacct", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "net_cls"})

Layout = Literal["v1", "v2", "hybrid", "none"]


class CgroupFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The layout, and where each hierarchy is mounted."""

    layout: Layout = "none"
    systemd: bool = False
    unified: str | None = None
    """Where v2 is mounted."""
    v1: dict[str, str] = {}
    """Where each v1 controller is mounted."""
    controllers: tuple[str, ...] = ()
    """The v2 controllers that the root group has."""
    enabled: tuple[str, ...] = ()
    """Those that it hands to its children."""
    own: dict[str, str] = {}
    """The groups of qlaunch itself, by controller; the empty key is v2."""
    slices: dict[str, CpuSet] = {}
    """CPUs in effect for the groups of the top level that restrict CPUs (v2)."""


def read_cgroups(tree: Tree) -> CgroupFacts:
    """Read the layout."""
    unified, v1 = _mounts(tree)
    # A VPN may mount a lone v1 controller beside v2; where systemd mounted v2 decides.
    layout: Layout = "none"
    if unified:
        layout = "hybrid" if v1 and unified != _ROOT else "v2"
    elif v1:
        layout = "v1"
    return CgroupFacts(
        layout=layout,
        systemd=tree.exists("/run/systemd/system"),
        unified=unified,
        v1=v1,
        controllers=_words(tree, unified, "cgroup.controllers"),
        enabled=_words(tree, unified, "cgroup.subtree_control"),
        own=_own(tree),
        slices=_slices(tree, unified),
    )


def _mounts(tree: Tree) -> tuple[str | None, dict[str, str]]:
    unified: str | None = None
    v1: dict[str, str] = {}
    for mount in read_mounts(tree):
        if mount.kind == "cgroup2":
            unified = unified or mount.point
        elif mount.kind == "cgroup":
            # Its options name the controllers, among others; the first mount is the one in its place.
            for name in _V1.intersection(mount.options):
                v1.setdefault(name, mount.point)
    return unified, v1


def _words(tree: Tree, unified: str | None, name: str) -> tuple[str, ...]:
    return tuple((tree.read(f"{unified}/{name}") or "").split()) if unified else ()


def _own(tree: Tree) -> dict[str, str]:
    own: dict[str, str] = {}
    for line in tree.lines("/proc/self/cgroup"):
        _, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if colon:
            own.update(dict.fromkeys(names.split(","), path))
    return own


def _slices(tree: Tree, unified: str | None) -> dict[str, CpuSet]:
    if unified is None:
        return {}
    names = [name for name in tree.listdir(unified) if name.endswith((".slice", ".scope"))]
    found = {name: tree.cpus(f"{unified}/{name}/cpuset.cpus.effective") for name in names}
    return {name: cpus for name, cpus in found.items() if cpus}
