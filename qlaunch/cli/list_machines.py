"""`qlaunch list`: the machines of the search path and those that run."""

import argparse
import time
from typing import Any

import msgspec

from qlaunch.cli.machines import tell_left_behind
from qlaunch.cli.status import uptime
from qlaunch.cli.terminal import bold
from qlaunch.errors import HostError, MonitorError
from qlaunch.host.folders import find_folders
from qlaunch.machine.search import known_names, search_folders
from qlaunch.run.folder import Record, RunFolder, machine_names
from qlaunch.run.request import ask


def run(options: argparse.Namespace) -> int:
    """Print one line a machine."""
    machines = gather()
    tell_left_behind()
    if options.json:
        print(msgspec.json.encode({"machines": machines}).decode())
        return 0
    if not machines:
        print("no machines; put a .toml file into ./machines or ~/.config/qlaunch/machines")
        return 0
    print(bold(f"{'NAME':<20} {'STATE':<22} {'PID':>8} {'UPTIME':>9} {'CPU %':>6} {'MEMORY':>9}"))
    for machine in machines:
        print(_line(machine))
    return 0


def gather() -> list[dict[str, Any]]:
    """List machines by name: those that run with their numbers, the others as ``off``."""
    runtime = find_folders().runtime
    found: dict[str, dict[str, Any]] = {name: {"name": name, "state": "off"} for name in known_names(search_folders())}
    for name in machine_names(runtime):
        folder = RunFolder(f"{runtime}/{name}")
        try:
            record = folder.read()
        except HostError:
            found[name] = {"name": name, "state": "record unreadable"}
            continue
        if record and record.qemu and record.qemu.is_alive():
            found[name] = {"name": name, "state": _state(folder, record.duty.socket("control")), **_numbers(record)}
    return [found[name] for name in sorted(found)]


def _numbers(record: Record) -> dict[str, Any]:
    from qlaunch.run.usage import read_totals  # noqa: PLC0415 - psutil, only for machines that run

    assert record.qemu  # noqa: S101 - the caller has seen that it is alive
    pid = record.qemu.pid
    return {
        "pid": pid,
        "uptime_s": round(time.time() - record.started, 1),
        "memory": record.duty.memory,
        **read_totals(pid),
    }


def _state(folder: RunFolder, control: str) -> str:
    if not folder.is_locked():
        return "without supervisor"
    try:
        return str(ask(control, {"ask": "status"}, timeout_s=1)["status"]["state"])
    except (MonitorError, KeyError):
        return "not answering"


def _line(machine: dict[str, Any]) -> str:
    if "pid" not in machine:
        return f"{machine['name']:<20} {machine['state']}"
    numbers = f"{machine['pid']:>8} {uptime(machine['uptime_s']):>9} {machine.get('cpu_percent', 0):>6.1f}"
    return f"{machine['name']:<20} {machine['state']:<22} {numbers} {machine.get('rss', 0) >> 20:>5} MiB"
