"""What stands against a command of the user's, in a hook or as a sidecar: no such user, no such program."""

from collections.abc import Iterator, Sequence

from qlaunch.errors import Problem, Severity
from qlaunch.host.account import is_self, uid_of
from qlaunch.host.tree import Tree

_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def command_problems(tree: Tree, key: str, argv: Sequence[str]) -> Iterator[Problem]:
    """Yield a program that is not there. One that is no path may be in a folder that is only the user's."""
    if argv and not _is_there(tree, argv[0]):
        severity: Severity = "error" if argv[0].startswith("/") else "warning"
        message = f"there is no program {argv[0]} on this host"
        yield Problem(code="no-program", key=key, message=message, hint="install it", severity=severity)


def user_problems(tree: Tree, key: str, user: str | None) -> Iterator[Problem]:
    """Yield a user who does not exist."""
    if user and uid_of(tree, user) is None:
        message = f"there is no user {user} on this host"
        yield Problem(code="no-user", key=key, message=message, hint="see: getent passwd")


def needs_root(tree: Tree, user: str | None) -> bool:
    """Whether only root can run a command as this user."""
    return user is not None and not is_self(tree, user)


def _is_there(tree: Tree, program: str) -> bool:
    if "/" in program:
        return not program.startswith("/") or tree.exists(program)
    return any(tree.exists(f"{folder}/{program}") for folder in _FOLDERS)
