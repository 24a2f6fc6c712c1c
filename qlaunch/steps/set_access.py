"""Change who may open a file, and only the file that is meant: in a folder of a user's own, names are that user's.

Root hands files to a user here. A symbolic link that the user made, or a second name of somebody else's file, would
make root hand over what it points to. So links are followed only where root or we ourselves made them, such as udev's,
and a file goes to a user only while it has no other name.

Source: ``open(2)``, O_PATH and O_NOFOLLOW; ``readlink(2)`` (of a descriptor); ``path_resolution(7)``;
``proc_pid_fd(5)``; the kernel's ``fs/posix_acl.c`` (posix_acl_update_mode: a list that says no more than the bits
becomes the bits; posix_acl_chmod: the bits of the group become the mask).
"""

import os
import stat

from qlaunch.errors import HostError
from qlaunch.host.permissions import read_access
from qlaunch.values.access import ATTRIBUTE, Access

_MOST_LINKS = 40  # as the kernel's own limit
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def set_access(path: str, access: Access) -> None:
    """Change owner, group, bits and list. Raises OSError, HostError for what may be another file than is meant."""
    descriptor = _open_meant(path)
    try:
        found = os.fstat(descriptor)
        kind = stat.S_IFMT(found.st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFDIR):
            raise HostError(f"{path} is no file, folder or device", "name another one")
        place = f"/proc/self/fd/{descriptor}"
        before = read_access(place)
        receivers = sorted(({access.uid} | access.users) - ({0, before.uid} | before.users))
        if kind == stat.S_IFREG and found.st_nlink > 1 and receivers:
            message = f"{path} is not given to user {receivers[0]}: the file has {found.st_nlink} names (hard links)"
            raise HostError(message, f"see: find / -xdev -samefile {path}; or name a copy of it")
        _write(place, before, access)
    finally:
        os.close(descriptor)


def _write(place: str, before: Access, access: Access) -> None:
    if (before.uid, before.gid) != (access.uid, access.gid):
        os.chown(place, access.uid, access.gid)
    if before.entries or access.entries:  # by one call, so that nobody gets in between
        os.setxattr(place, ATTRIBUTE, access.attribute())
    os.chmod(place, access.mode)


def _open_meant(path: str) -> int:
    """Open what a path names, for its attributes alone, step by step, without a link that another user made."""
    left, links = os.path.abspath(path).split("/"), 0
    place = os.open("/", _LOOK)
    try:
        while left:
            name = left.pop(0)
            if name in ("", "."):
                continue
            found = os.open(name, _LOOK, dir_fd=place)
            info = os.fstat(found)
            if not stat.S_ISLNK(info.st_mode):
                os.close(place)
                place = found
                continue
            try:
                target, links = os.readlink("", dir_fd=found), links + 1
            finally:
                os.close(found)
            _insist_on_trust(path, name, info.st_uid, links)
            left = [*target.split("/"), *left]
            if target.startswith("/"):
                os.close(place)
                place = os.open("/", _LOOK)
    except BaseException:
        os.close(place)
        raise
    return place


def _insist_on_trust(path: str, name: str, maker: int, links: int) -> None:
    if maker not in (0, os.geteuid()):
        raise HostError(f"{path} leads over {name}, a symbolic link of user {maker}", "name the file itself")
    if links > _MOST_LINKS:
        raise HostError(f"{path} leads over more than {_MOST_LINKS} symbolic links", "name the file itself")
