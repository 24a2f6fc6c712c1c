"""`qlaunch recover [NAME]`: undo what dead supervisors left behind."""

import argparse
import os
from contextlib import suppress

from qlaunch.cli.machines import folder_of, left_behind, record_of
from qlaunch.cli.terminal import Live, say_error
from qlaunch.errors import HostError, QlaunchError
from qlaunch.host.folders import find_folders
from qlaunch.run.folder import RunFolder
from qlaunch.run.thrown_away import sweep


def run(options: argparse.Namespace) -> int:
    """Undo the changes of the named machines, or of all that left some; the first failure is handed on at the end.

    What throw-away runs left that were killed goes, too.
    """
    folders = find_folders()
    runtime = folders.runtime
    names = options.names or left_behind(runtime)
    failures: list[QlaunchError] = []
    for name in names:
        try:
            _recover(folder_of(name) if options.names else RunFolder(f"{runtime}/{name}"))
        except QlaunchError as error:
            failures.append(error)
            if error is not failures[0]:
                Live(name).say(error.message)
    _sweep(runtime)
    swept, complaints = sweep(folders.state)
    if swept:
        print(f"removed what {swept} killed throw-away run{'s' * (swept > 1)} had left")
    if failures:
        for complaint in complaints:
            say_error(complaint)
        raise failures[0]
    if complaints:
        raise HostError("; ".join(complaints), "remove it by hand")
    if not names and not swept:
        print("nothing is left to undo")
    return 0


def _recover(folder: RunFolder) -> None:
    name = os.path.basename(folder.path)
    live = Live(name)
    record = record_of(folder)
    if folder.is_locked():
        raise HostError(f"{name} is running, or being started or ended", f"end it with: qlaunch down {name}")
    if record and record.is_guest_alive:
        message = f"the guest of {name} still runs, though its supervisor is gone"
        raise HostError(message, f"take it over with: qlaunch up {name}; or end it with: qlaunch down {name}")
    if not os.path.isdir(folder.path):
        live.say("nothing is left of it")
        return
    from qlaunch.run.session import end_orphan  # noqa: PLC0415 - all of a start, where there is something to undo

    end_orphan(name, folder, live.say, timeout_s=None, force=True)
    live.say("the host is as it was")


def _sweep(runtime: str) -> None:
    if os.path.isdir(runtime):
        from qlaunch.journal.leases import Leases  # noqa: PLC0415

        Leases(runtime, "", "").sweep()
        with suppress(OSError):
            os.rmdir(runtime)
