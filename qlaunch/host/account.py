"""Users of this computer by name. Of a captured one only those in its /etc/passwd are known.

Source: ``passwd(5)``, ``nsswitch.conf(5)`` (a directory service may know more users than the file).
"""

import os
from contextlib import suppress

from qlaunch.host.tree import Tree


def uid_of(tree: Tree, user: str) -> int | None:
    """Give a user's number; None for one whom nobody knows."""
    if tree.live:
        import pwd  # noqa: PLC0415 - few machines name a user

        try:
            uid = pwd.getpwnam(user).pw_uid
        except KeyError:
            return None
        if tree.record is not None:
            tree.record.add_lines("/etc/passwd", [f"{user}:x:{uid}"])
        return uid

    def keep(line: str) -> str | None:
        name, *rest = line.split(":")
        return f"{user}:x:{rest[1]}" if name == user and len(rest) > 1 and rest[1].isdigit() else None

    return next((int(line.rpartition(":")[2]) for line in tree.distilled("/etc/passwd", keep)), None)


def ids_of(tree: Tree, user: str | None) -> tuple[int, int] | None:
    """Give the numbers of a user and of that user's own group; without a name, of who runs this.

    Of a captured computer the group is the usual one, which has the user's number, and who ran it is taken for root.
    """
    if user is None:
        return (os.geteuid(), os.getegid()) if tree.live else (0, 0)
    uid = uid_of(tree, user)
    if uid is None or not tree.live:
        return None if uid is None else (uid, uid)
    import pwd  # noqa: PLC0415 - few machines name a user

    return uid, pwd.getpwnam(user).pw_gid


def home_of(tree: Tree, user: str) -> str:
    """Give a user's home folder; of a captured computer it is not known, and a usual one is given."""
    if tree.live:
        import pwd  # noqa: PLC0415 - few machines name a user

        with suppress(KeyError):
            return pwd.getpwnam(user).pw_dir
    return f"/home/{user}"


def name_of(tree: Tree, uid: int) -> str | None:
    """Give a user's name by the number; None where nobody has it."""
    if tree.live:
        import pwd  # noqa: PLC0415 - few machines name a user

        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return None
    lines = ([*line.split(":"), "", "", ""][:3] for line in (tree.read("/etc/passwd", 1 << 16) or "").splitlines())
    return next((name for name, _, number in lines if number == str(uid)), None)


def is_self(tree: Tree, user: str) -> bool:
    """Whether this is the running computer, and the user is the one who runs this."""
    return tree.live and uid_of(tree, user) == os.geteuid()
