"""`qlaunch down NAME…`: end machines and wait until the host is restored."""

import argparse
import os

from qlaunch.cli.machines import folder_of, running
from qlaunch.cli.terminal import Live
from qlaunch.errors import MonitorError, QlaunchError
from qlaunch.run.request import converse


def run(options: argparse.Namespace) -> int:
    """End each machine in turn. The first failure's exit status is handed on, after all were tried."""
    failures: list[QlaunchError] = []
    for name in options.names:
        try:
            _end(name, options)
        except QlaunchError as error:
            failures.append(error)
            if error is not failures[0]:
                Live(name).say(error.message)
    if failures:
        raise failures[0]
    return 0


def _end(name: str, options: argparse.Namespace) -> None:
    folder = folder_of(name)
    live = Live(os.path.basename(folder.path))
    if os.path.isdir(folder.path) and not folder.is_locked():
        from qlaunch.run.session import end_orphan  # noqa: PLC0415 - all of a start, for the rare case

        ending = end_orphan(live.name, folder, live.say, timeout_s=options.timeout, force=options.force)
        if ending is None:
            live.say("it was gone already; what it left behind is removed")
        return
    _, record = running(name)
    request = {"ask": "stop", "timeout_s": options.timeout, "force": options.force}
    ended = False
    for answer in converse(record.duty.socket("control"), request, timeout_s=None):
        if "say" in answer:
            live.say(answer["say"])
        ended = ended or "ended" in answer
    if not ended:
        raise MonitorError(
            f"the supervisor of {record.duty.name} went away before it had ended the machine",
            f"again: qlaunch down {record.duty.name}",
        )
