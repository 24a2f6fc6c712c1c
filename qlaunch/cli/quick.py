"""`qlaunch reset|pause|resume|powerdown NAME`: one QMP command each."""

import argparse

from qlaunch.cli.machines import control_socket
from qlaunch.run.request import execute

_COMMANDS = {"reset": "system_reset", "pause": "stop", "resume": "cont", "powerdown": "system_powerdown"}


def run(options: argparse.Namespace) -> int:
    """Send the verb's command."""
    execute(control_socket(options.name), _COMMANDS[options.verb])
    return 0
