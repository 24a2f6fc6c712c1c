"""`qlaunch logs NAME`: what the supervisor and QEMU said, in this run or the last one."""

import argparse
import sys

from qlaunch.cli.terminal import bold
from qlaunch.errors import HostError
from qlaunch.host.folders import find_folders
from qlaunch.machine.search import machine_name


def run(options: argparse.Namespace) -> int:
    """Print each log under its path."""
    name = machine_name(options.name)
    _, state = find_folders().of(name)
    found = False
    for log in ("supervisor.log", "qemu.log"):
        path = f"{state}/{log}"
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        found = True
        print(bold(f"== {path}"))
        sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
    if not found:
        raise HostError(f"{name} has no logs in {state}", "an ephemeral machine keeps them only while it runs")
    return 0
