"""How busy a running machine is: CPU by role, memory, disk and network traffic, as rates between two samples.

Source: ``qapi/machine.json`` (query-cpus-fast), ``qapi/misc.json`` (query-iothreads); psutil for the CPU times of
threads.
"""

import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec
import psutil

from qlaunch.errors import MonitorError
from qlaunch.run.folder import Record
from qlaunch.run.request import execute
from qlaunch.run.traffic import ANSWER_S, CardTraffic, DiskTraffic, card_traffic, disk_traffic, each, rows


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a machine. ``cpu`` is in seconds by role, ``rss`` in bytes."""

    at: float
    rss: int = 0
    cpu: dict[str, float] = {}
    disks: dict[str, DiskTraffic] = {}
    cards: dict[str, CardTraffic] = {}


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two samples: percent of a CPU; bytes, and requests of disks, a second.

    ``received`` and ``sent`` are as the guest sees them, of the cards that are counted; None where none is.
    """

    cpu: dict[str, float]
    rss: int
    read: float
    written: float
    read_requests: float
    write_requests: float
    received: float | None
    sent: float | None


def sample(record: Record, *, supervised: bool) -> Sample:
    """Look at a machine; what does not answer is left out."""
    if record.qemu is None:
        return Sample(at=time.monotonic())
    control = record.duty.socket("control")
    named = roles(control) if supervised else {}
    cpu: dict[str, float] = {}
    rss = 0
    with suppress(psutil.Error):
        process = psutil.Process(record.qemu.pid)
        rss = process.memory_info().rss
        for thread in process.threads():
            role = named.get(thread.id, "emulator").split(" ")[0]
            cpu[role] = cpu.get(role, 0) + thread.user_time + thread.system_time
    disks = disk_traffic(control) if supervised else {}
    cards = card_traffic(record.duty.cards)
    return Sample(at=time.monotonic(), rss=rss, cpu=cpu, disks=disks, cards=cards)


def between(first: Sample, second: Sample) -> Rates:
    """Give the rates."""
    seconds = max(second.at - first.at, 1e-6)
    disks = _together(each(first.disks, second.disks, seconds))
    cards = _together(each(first.cards, second.cards, seconds))
    return Rates(
        cpu={
            role: round(100 * max(0.0, spent - first.cpu.get(role, 0)) / seconds, 1)
            for role, spent in second.cpu.items()
        },
        rss=second.rss,
        read=disks.get("read", 0.0),
        written=disks.get("written", 0.0),
        read_requests=disks.get("read_requests", 0.0),
        write_requests=disks.get("write_requests", 0.0),
        received=cards.get("received"),
        sent=cards.get("sent"),
    )


def _together(rates: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in rates.values():
        for field, rate in one.items():
            total[field] = total.get(field, 0.0) + rate
    return total


def roles(control: str) -> dict[int, str]:
    """Name QEMU's threads by what they do: ``vcpu 0``, ``iothread io0``; the others are the emulator's."""
    found: dict[int, str] = {}
    with suppress(MonitorError):
        for cpu in rows(execute(control, "query-cpus-fast", timeout_s=ANSWER_S)):
            found[cpu["thread-id"]] = f"vcpu {cpu['cpu-index']}"
        for thread in rows(execute(control, "query-iothreads", timeout_s=ANSWER_S)):
            found[thread["thread-id"]] = f"iothread {thread['id']}"
    return found
