"""`qlaunch status NAME`: one running machine in detail, and what of its changes to the host is not as it was made."""

import argparse
import os
import time
from typing import Any

import msgspec

from qlaunch.cli.machines import folder_of, running, tell_left_behind
from qlaunch.cli.terminal import bold
from qlaunch.cli.traffic import Traffic, print_traffic
from qlaunch.errors import MonitorError
from qlaunch.run.folder import Record
from qlaunch.run.request import ask
from qlaunch.values.cpus import CpuSet


def run(options: argparse.Namespace) -> int:
    """Print state, threads and pins; or what is changed on the host, also of a machine that was killed."""
    if options.journal:
        from qlaunch.cli.journal import show  # noqa: PLC0415

        return show(folder_of(options.name).path, json=options.json)
    tell_left_behind()
    folder, record = running(options.name)
    supervised = folder.is_locked()
    traffic = Traffic(record, supervised=supervised)
    report = describe(record, supervised=supervised) | host_report(folder.path)
    report |= _look_closer(record, report)
    report |= traffic.measure()
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


def _look_closer(record: Record, report: dict[str, Any]) -> dict[str, Any]:
    """What takes a few questions more: who the threads are, the guest's own words."""
    from qlaunch.run.guest_facts import guest_facts  # noqa: PLC0415 - for one machine in detail alone
    from qlaunch.run.rates import roles  # noqa: PLC0415

    control, pins = record.duty.socket("control"), record.duty.pins
    named = roles(control) if report["supervised"] else {}
    for thread in report.get("threads", ()):
        role, _, which = named.get(thread["tid"], "emulator").partition(" ")
        wanted = {"vcpu": pins.vcpus, "iothread": pins.iothreads}.get(role, {}).get(which, pins.emulator)
        thread |= {"role": f"{role} {which}".strip(), "pinned": wanted}
        thread["drifted"] = bool(wanted) and CpuSet.parse(str(wanted)) != CpuSet.parse(thread["allowed"])
    return {"guest": guest_facts(record.duty) if report.get("agent") else {}}


def host_report(folder: str) -> dict[str, Any]:
    """Hold the changes that are in force against the host: ``changes``, and ``shield`` where there is one."""
    from qlaunch.journal import FILE  # noqa: PLC0415 - many machines change nothing

    if not os.path.exists(f"{folder}/{FILE}"):
        return {"changes": [], "shield": None}
    from qlaunch.host.shielded import verify_shield  # noqa: PLC0415
    from qlaunch.host.tree import Tree  # noqa: PLC0415
    from qlaunch.journal.drift import changes_in_force, shielded_cpus  # noqa: PLC0415
    from qlaunch.journal.file import read_journal  # noqa: PLC0415
    from qlaunch.journal.leases import Leases  # noqa: PLC0415
    from qlaunch.steps.host import LocalHost  # noqa: PLC0415

    contents = read_journal(folder)
    runtime, name = os.path.split(folder)
    leases = Leases(runtime, name, contents.begin.boot if contents.begin else "")
    changes = changes_in_force(LocalHost(), contents, leases)
    cpus = shielded_cpus(contents.active)
    return {"changes": changes, "shield": verify_shield(Tree(), cpus) if cpus else None}


def _print(report: dict[str, Any]) -> None:
    print(bold(f"{report['machine']}: {report['state']}"))
    supervisor = report["supervisor_pid"] or "gone (take the machine over with `qlaunch up`)"
    print(f"  QEMU        {report['pid']}, for {uptime(report['uptime_s'])}, {report['accel']}")
    print(f"  supervisor  {supervisor}")
    print(f"  memory      {report['memory'] >> 20} MiB given, {report.get('rss', 0) >> 20} MiB in use")
    print(f"  file        {report['machine_file']}")
    _print_host(report)
    print(f"  {'thread':<20} {'tid':>8} {'CPU %':>6} {'may run on':<14} last on")
    for thread in report.get("threads", ()):
        row = f"  {thread['role']:<20} {thread['tid']:>8} {thread['cpu_percent']:>6.1f}"
        moved = f"  pinned to {thread['pinned']}, and somebody moved it" if thread["drifted"] else ""
        print(f"{row} {thread['allowed']:<14} {thread['last_cpu']}{moved}")
    print_traffic(report)
    guest = report["guest"]
    if guest:
        print(f"  guest       {guest.get('host_name') or '?'}, {guest.get('os') or '?'}")
    for name, addresses in guest.get("addresses", {}).items():
        print(f"  {name:<20} {', '.join(addresses) or 'no address'}")


def _print_host(report: dict[str, Any]) -> None:
    changes = report["changes"]
    if not changes:
        return
    drift = [found for change in changes for found in change.drift]
    state = "not all as they were made" if drift else "all as they were made"
    number = f"{len(changes)} change{'s' * (len(changes) > 1)}"
    print(f"  host        {number} in force, {state}; see: qlaunch status {report['machine']} --journal")
    for found in drift:
        print(f"              {found}")
    shared = {change.summary: ", ".join(change.shared_with) for change in changes if change.shared_with}
    for summary, machines in shared.items():
        print(f"  shared      {summary}, with {machines}")
    if report["shield"]:
        print(f"  shield      {report['shield']}")


def uptime(seconds: float) -> str:
    """Print seconds as H:MM:SS."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
