"""Whether a user may open a file of this computer; a captured tree keeps no owners, so there it is unknown.

Source: ``path_resolution(7)``; ``getxattr(2)`` (ENODATA: no list; ENOTSUP: a file system that keeps none).
"""

import errno
import os
from typing import Literal

from qlaunch.host.tree import Tree
from qlaunch.values.access import ATTRIBUTE, Access


def may_open(tree: Tree, path: str, user: str | None, mode: int = os.R_OK | os.W_OK) -> bool | None:
    """Say whether a user may read and write a file. None is unknown: a captured tree, no such file or user."""
    if not tree.live:
        return None
    if user is None:
        return os.access(path, mode) if os.path.exists(path) else None
    import pwd  # noqa: PLC0415 - few machines name a user

    try:
        access, account = read_access(path), pwd.getpwnam(user)
        groups = os.getgrouplist(user, account.pw_gid)
    except (OSError, KeyError, ValueError):
        return None
    return account.pw_uid == 0 or access.allows(account.pw_uid, groups, mode)


def read_access(path: str) -> Access:
    """Give who may open a file. Raises OSError; ValueError for a list that no kernel of today has."""
    info = os.stat(path)
    try:
        attribute = os.getxattr(path, ATTRIBUTE)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        attribute = None
    return Access.of(info.st_uid, info.st_gid, info.st_mode & 0o7777, attribute)


def keeps_lists(tree: Tree, path: str) -> bool:
    """Whether the file system of a node takes access lists; that of /dev does, unless its kernel was built without."""
    if tree.live:
        try:
            os.getxattr(path, ATTRIBUTE)
        except OSError as error:
            return error.errno != errno.ENOTSUP
    return True


Lack = Literal["nothing", "entry", "owner"]


def what_lacks(tree: Tree, path: str, user: str) -> Lack:
    """Say what a user lacks to read and write a device's node: an entry in its list, or, without lists, to own it.

    Where it is not to be seen, an entry. So it is where the user has one: it may be that of another machine, which
    takes it along when it goes.
    """
    if may_open(tree, path, user) and not _has_entry(path, user):
        return "nothing"
    return "entry" if keeps_lists(tree, path) else "owner"


def _has_entry(path: str, user: str) -> bool:
    import pwd  # noqa: PLC0415 - few machines name a user

    return pwd.getpwnam(user).pw_uid in read_access(path).users


def closed_folder(tree: Tree, path: str, user: str | None) -> str | None:
    """Give the first folder on the way to a file that a user may not pass."""
    folders = [path]
    while (above := os.path.dirname(folders[-1])) not in (folders[-1], ""):
        folders.append(above)
    return next((folder for folder in reversed(folders[1:]) if may_open(tree, folder, user, os.X_OK) is False), None)


def is_root(tree: Tree) -> bool:
    """Whether root looks at the computer, or looked at it when it was captured."""
    if tree.live:
        return os.geteuid() == 0
    from qlaunch.host.captured import read_captured  # noqa: PLC0415 - for --host-root alone

    return read_captured(tree).root
