"""`qlaunch status NAME`: one running machine in detail."""

import argparse
import time
from typing import Any

import msgspec

from qlaunch.cli.machines import running
from qlaunch.cli.terminal import bold
from qlaunch.errors import MonitorError
from qlaunch.run.folder import Record
from qlaunch.run.request import ask


def run(options: argparse.Namespace) -> int:
    """Print state, threads and pins."""
    folder, record = running(options.name)
    report = describe(record, supervised=folder.is_locked())
    if options.json:
        print(msgspec.json.encode(report).decode())
    else:
        _print(report)
    return 0


def describe(record: Record, *, supervised: bool) -> dict[str, Any]:
    """Gather what is known of a machine: from its record, its supervisor and /proc."""
    from qlaunch.run.usage import read_usage  # noqa: PLC0415 - psutil

    duty = record.duty
    told: dict[str, Any] = {"state": "running, but its supervisor is gone"}
    if supervised:
        try:
            told = ask(duty.socket("control"), {"ask": "status"}).get("status", {})
        except MonitorError as error:
            told = {"state": f"unknown: {error.message}"}
    return {
        "machine": duty.name,
        **told,
        "supervised": supervised,
        "uptime_s": round(time.time() - record.started, 1),
        "pid": record.qemu.pid if record.qemu else None,
        "supervisor_pid": record.supervisor.pid if supervised else None,
        "accel": duty.accel,
        "vcpus": duty.vcpus,
        "memory": duty.memory,
        "machine_file": duty.machine_file,
        "pins": duty.pins,
        **(read_usage(record.qemu.pid) if record.qemu and record.qemu.is_alive() else {}),
    }


def _print(report: dict[str, Any]) -> None:
    print(bold(f"{report['machine']}: {report['state']}"))
    supervisor = report["supervisor_pid"] or "gone (take the machine over with `qlaunch up`)"
    print(f"  QEMU        {report['pid']}, for {uptime(report['uptime_s'])}, {report['accel']}")
    print(f"  supervisor  {supervisor}")
    print(f"  memory      {report['memory'] >> 20} MiB given, {report.get('rss', 0) >> 20} MiB in use")
    print(f"  file        {report['machine_file']}")
    print(f"  {'thread':<20} {'tid':>8} {'CPU %':>6} {'may run on':<14} last on")
    for thread in report.get("threads", ()):
        row = f"  {thread['name']:<20} {thread['tid']:>8} {thread['cpu_percent']:>6.1f}"
        print(f"{row} {thread['allowed']:<14} {thread['last_cpu']}")


def uptime(seconds: float) -> str:
    """Print seconds as H:MM:SS."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
