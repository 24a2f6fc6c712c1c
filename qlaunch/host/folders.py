"""Where qlaunch keeps its own files: sockets, state, cache.

Source: the Filesystem Hierarchy Standard 3.0 (/run, /var/lib), the XDG Base Directory Specification 0.8.
"""

import os
from collections.abc import Mapping

import msgspec


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
    if uid == 0:
        runtime, state = "/run/qlaunch", "/var/lib/qlaunch"
    else:
        run = environ.get("XDG_RUNTIME_DIR")
        runtime = f"{run}/qlaunch" if run else f"/tmp/qlaunch-{uid}"  # noqa: S108 - made 0700, and its owner is checked
        state = f"{environ.get('XDG_STATE_HOME') or home + '/.local/state'}/qlaunch"
    return Folders(
        runtime=environ.get("QLAUNCH_RUNTIME_DIR") or runtime,
        state=environ.get("QLAUNCH_STATE_DIR") or state,
        cache=environ.get("QLAUNCH_CACHE_DIR") or cache,
    )
