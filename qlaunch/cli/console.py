"""`qlaunch console NAME`: QMP for people and scripts."""

import argparse
import sys

from qlaunch.cli.machines import running
from qlaunch.devices.monitor import PEOPLE
from qlaunch.errors import MonitorError
from qlaunch.run.console import Console


def run(options: argparse.Namespace) -> int:
    """Run the commands given, or those on standard input; a terminal also shows events."""
    _, record = running(options.name)
    console = Console(
        path=record.duty.socket(PEOPLE),
        commands=options.command,
        answer=lambda text: print(text, flush=True),
        tell=lambda text: print(text, file=sys.stderr, flush=True),
        keep_going=options.keep_going,
        interactive=sys.stdin.isatty() and not options.command,
    )
    try:
        return console.run()
    except MonitorError as error:
        raise MonitorError(error.message, "another console may be open: QMP serves one at a time") from error
