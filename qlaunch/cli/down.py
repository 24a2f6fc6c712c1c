"""`qlaunch down NAME…`: end machines and wait until the host is restored."""

import argparse
import os
import threading
import time

from qlaunch.cli.machines import folder_of, running, tell_left_behind
from qlaunch.cli.new_file import refuse_existing
from qlaunch.cli.terminal import Live
from qlaunch.cli.timings import show_timings
from qlaunch.errors import MonitorError, QlaunchError, RestoreError, UsageError
from qlaunch.machine.search import machine_name
from qlaunch.run.folder import Record
from qlaunch.run.request import converse

# How long a process that was killed may take to be gone.
_DYING_S = 1.0


def run(options: argparse.Namespace) -> int:
    """End the machines, side by side. The status is that of the first one in the line that failed."""
    if options.timings:
        refuse_existing(options.timings)
        if len(options.names) > 1:
            raise UsageError("one drawing shows one machine", "end one at a time, or give --timings without a file")
    tell_left_behind(except_for=set(map(machine_name, options.names)))
    failures = _end_all(options)
    failed = [name for name in dict.fromkeys(options.names) if name in failures]
    for name in failed[1:]:
        Live(name).say(str(failures[name]))
    if failed:
        raise failures[failed[0]]
    return 0


def _end_all(options: argparse.Namespace) -> dict[str, Exception]:
    failures: dict[str, Exception] = {}
    orphans: list[str] = []

    def end(name: str) -> None:
        try:
            if not _end(name, options):
                orphans.append(name)
        except Exception as error:  # noqa: BLE001 - it is raised by the thread that asked
            failures[name] = error

    waiting = [threading.Thread(target=end, args=(name,), daemon=True) for name in options.names]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    for name in orphans:  # one after the other: this process is the supervisor of each meanwhile
        try:
            _end_orphan(name, options)
        except QlaunchError as error:
            failures[name] = error
    return failures


def _end(name: str, options: argparse.Namespace) -> bool:
    """Let a machine's supervisor end it; False when there is none any more."""
    folder = folder_of(name)
    if os.path.isdir(folder.path) and not folder.is_locked():
        return False
    _, record = running(name)
    began = time.monotonic()
    try:
        _ask_for_the_end(record, Live(record.duty.name), options)
        if options.timings is not None:
            show_timings(record.duty.name, record.duty.state, options.timings, since=began)
    except MonitorError:
        # One that is being killed may have heard us: its guest is ended as if it had been dead before.
        if not record.supervisor.ends_within(_DYING_S):
            raise
        return False
    return True


def _end_orphan(name: str, options: argparse.Namespace) -> None:
    from qlaunch.run.session import end_orphan  # noqa: PLC0415 - all of a start, for the rare case

    folder = folder_of(name)
    live = Live(os.path.basename(folder.path))
    ending = end_orphan(live.name, folder, live.say, timeout_s=options.timeout, force=options.force)
    if ending is None:
        live.say("it was gone already; what it left behind is undone")


def _ask_for_the_end(record: Record, live: Live, options: argparse.Namespace) -> None:
    request = {"ask": "stop", "timeout_s": options.timeout, "force": options.force}
    ended = False
    for answer in converse(record.duty.socket("control"), request, timeout_s=None):
        if "say" in answer:
            live.say(answer["say"])
        if "left" in answer:
            raise RestoreError(**answer["left"])
        ended = ended or "ended" in answer
    if not ended:
        raise MonitorError(
            f"the supervisor of {record.duty.name} went away before it had ended the machine",
            f"again: qlaunch down {record.duty.name}",
        )
