"""What is mounted here, of disks, ZFS and control groups; a captured tree has no trace of anything else mounted.

Source: ``proc_pid_mountinfo(5)``: blanks, tabs and backslashes in it are octal.
"""

import re

import msgspec

from qlaunch.host.tree import Tree

_OCTAL = re.compile(r"\\([0-7]{3})")
_KINDS = ("cgroup", "cgroup2", "zfs")


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One mount."""

    number: str
    """Of the device, ``259:2``; invented ones begin with ``0:``."""
    point: str
    kind: str
    source: str
    options: tuple[str, ...] = ()
    """Of the file system itself."""


def read_mounts(tree: Tree) -> tuple[Mount, ...]:
    """Read them in their order, as this process sees them."""
    lines = tree.distilled("/proc/self/mountinfo", lambda line: line if _mount(line) else None)
    return tuple(mount for mount in map(_mount, lines) if mount)


def unescaped(text: str) -> str:
    """Give a path as it is, of one as /proc/self/mountinfo and /proc/swaps write it."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _mount(line: str) -> Mount | None:
    before, _, after = line.partition(" - ")
    left, right = before.split(), after.split()
    if len(left) < 5 or len(right) < 2:
        return None
    if left[2].startswith("0:") and right[0] not in _KINDS and not right[1].startswith("/dev/"):
        return None
    return Mount(
        number=left[2],
        point=unescaped(left[4]),
        kind=right[0],
        source=unescaped(right[1]),
        options=tuple(right[2].split(",")) if len(right) > 2 else (),
    )
