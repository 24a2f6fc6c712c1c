"""A file or folder that a machine has for as long as it runs: made with its owner, removed whatever it holds by then.

A key is a path; a value is ``67108864 bytes of 1000:36 660`` or ``folder of 1000:100 700``: size, owner, mode in octal.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qlaunch.errors import HostError
from qlaunch.steps.kind import Kind

if TYPE_CHECKING:
    from qlaunch.steps.host import Host

_FOLDER = "folder"


def file_claim(size: int, uid: int, gid: int, mode: int) -> str:
    """Give the claim of a file of so many bytes."""
    return f"{size} bytes of {uid}:{gid} {mode:o}"


def folder_claim(uid: int, gid: int, mode: int) -> str:
    """Give the claim of a folder."""
    return f"{_FOLDER} of {uid}:{gid} {mode:o}"


class OwnFile(Kind):
    """What was there before under the same name, such as the file of a run that was killed, comes back empty."""

    name = "own-file"
    exclusive = True

    def read(self, host: "Host", key: str) -> str | None:
        """Say what is there. Raises OSError."""
        return host.own_files.look(key)

    def write(self, host: "Host", key: str, value: str | None) -> None:
        """Make or remove it. Raises OSError, HostError for what is neither a file nor a folder."""
        found = self.read(host, key)
        if found and found.startswith("other"):
            raise HostError(f"{key} is neither a file nor a folder", "remove it")
        what, _, owner = (value or "").partition(" of ")
        if found and not (what == _FOLDER and found.startswith(_FOLDER)):
            host.own_files.remove(key)
        if not value:
            return
        ids, _, mode = owner.partition(" ")
        uid, _, gid = ids.partition(":")
        if what == _FOLDER:
            host.own_files.make_folder(key, int(uid), int(gid), int(mode, 8))
        else:
            host.own_files.make_file(key, int(what.split()[0]), int(uid), int(gid), int(mode, 8))

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:  # noqa: ARG002 - the name is ours
        """Give what was there before, also if somebody changed its size or owner since: the name is ours."""
        return original
