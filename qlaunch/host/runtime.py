"""Where the runtime folders of machines are. Beside ``folders``, since a quick question waits for no import.

Source: the Filesystem Hierarchy Standard 3.0 (/run), the XDG Base Directory Specification 0.8 (XDG_RUNTIME_DIR).
"""

import os

TYPE_CHECKING = False  # typing's own takes its import
if TYPE_CHECKING:
    from collections.abc import Mapping


def runtime_folder(environ: "Mapping[str, str]" = os.environ, uid: int | None = None) -> str:
    """Give the absolute path: the system's for root, the user's own otherwise; ``QLAUNCH_RUNTIME_DIR`` overrides it."""
    if chosen := environ.get("QLAUNCH_RUNTIME_DIR"):
        return chosen
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return "/run/qlaunch"
    run = environ.get("XDG_RUNTIME_DIR")
    return f"{run}/qlaunch" if run else f"/tmp/qlaunch-{uid}"  # noqa: S108 - made 0700; its owner is checked, or that of who answers
