"""`qlaunch top [NAME…]`: running machines and what they use, again and again."""

import argparse
import sys
import time
from typing import Any

import msgspec

from qlaunch.cli.machines import all_running, folder_of, running
from qlaunch.cli.status import uptime
from qlaunch.cli.terminal import bold, is_terminal, short
from qlaunch.errors import HostError
from qlaunch.run.folder import Record
from qlaunch.run.rates import Rates, Sample, between, sample

_HOME = "\x1b[H\x1b[J"  # ECMA-48: cursor home, erase to the end
_SHORTEST_NAME = 8  # with it, a line is 80 columns
_HEAD = (
    f"{'UPTIME':>9}{'CPU%':>6}{'VCPU':>6}{'IO':>5}{'EMU':>5}{'MEM':>6}"
    f"{'READ/s':>7}{'WRITE/s':>8}{'REQ/s':>6}{'RECV/s':>7}{'SENT/s':>7}"
)


def run(options: argparse.Namespace) -> int:
    """Show a table each interval; the rates of the first one are those of a short moment. Ctrl-C ends it."""
    refreshes = is_terminal(sys.stdout) and not options.json
    before = _samples(options.names)
    time.sleep(min(options.interval, 0.5))
    shown = 0
    while True:
        now = _samples(options.names)
        rows = [(record, between(before[name][1], one)) for name, (record, one) in now.items() if name in before]
        if options.json:
            print(msgspec.json.encode({"machines": [_as_json(*row) for row in rows]}).decode(), flush=True)
        else:
            _print(rows, refreshes=refreshes)
        shown += 1
        if shown == options.count:
            return 0
        before = now
        time.sleep(options.interval)


def _samples(names: list[str]) -> dict[str, tuple[Record, Sample]]:
    found = {}
    for name in names or all_running():
        try:
            folder, record = running(name)
        except HostError:
            if name not in all_running() and folder_of(name).read() is None and names:
                raise
            continue
        found[record.duty.name] = (record, sample(record, supervised=folder.is_locked()))
    return found


def _as_json(record: Record, rates: Rates) -> dict[str, Any]:
    return {
        "name": record.duty.name,
        "uptime_s": round(time.time() - record.started, 1),
        **msgspec.structs.asdict(rates),
    }


def _print(rows: list[tuple[Record, Rates]], *, refreshes: bool) -> None:
    width = max([_SHORTEST_NAME, *(len(record.duty.name) for record, _ in rows)])
    lines = [bold(f"{'NAME':<{width}}{_HEAD}"), *(_line(record, rates, width) for record, rates in rows)]
    print((_HOME if refreshes else "") + "\n".join(lines if rows else [*lines, "no machine runs"]), flush=True)


def _line(record: Record, rates: Rates, width: int) -> str:
    cpu = {role: rates.cpu.get(role, 0.0) for role in ("vcpu", "iothread", "emulator")}
    numbers = f"{sum(cpu.values()):>6.0f}{cpu['vcpu']:>6.0f}{cpu['iothread']:>5.0f}{cpu['emulator']:>5.0f}"
    requests = short(rates.read_requests + rates.write_requests, " KM")
    disks = f"{short(rates.read):>7}{short(rates.written):>8}{requests:>6}"
    cards = f"{short(rates.received):>7}{short(rates.sent):>7}"
    up = uptime(time.time() - record.started)
    return f"{record.duty.name:<{width}}{up:>9}{numbers}{short(rates.rss):>6}{disks}{cards}"
