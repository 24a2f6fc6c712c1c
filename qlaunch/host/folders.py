"""Where qlaunch keeps its own files: sockets, state, cache.

Source: the Filesystem Hierarchy Standard 3.0 (/run, /var/lib), the XDG Base Directory Specification 0.8.
"""

import os
from collections.abc import Mapping

import msgspec

from qlaunch.host.runtime import runtime_folder


class Folders(msgspec.Struct, frozen=True):
    """The three folders, each an absolute path.

    ``runtime`` goes with a reboot, ``state`` stays, ``cache`` can be thrown away.
    """

    runtime: str
    state: str
    cache: str

    def of(self, machine: str) -> tuple[str, str]:
        """Give the runtime and the state folder of one machine."""
        return f"{self.runtime}/{machine}", f"{self.state}/{machine}"


def find_folders(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Folders:
    """Choose the folders: the system's for root, the user's own otherwise; ``QLAUNCH_*_DIR`` overrides each."""
    uid = os.geteuid() if uid is None else uid
    home = environ.get("HOME") or "/"
    cache = f"{environ.get('XDG_CACHE_HOME') or home + '/.cache'}/qlaunch"
    state = "/var/lib" if uid == 0 else environ.get("XDG_STATE_HOME") or f"{home}/.local/state"
    return Folders(
        runtime=runtime_folder(environ, uid),
        state=environ.get("QLAUNCH_STATE_DIR") or f"{state}/qlaunch",
        cache=environ.get("QLAUNCH_CACHE_DIR") or cache,
    )
