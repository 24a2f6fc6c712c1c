"""`qlaunch pin NAME [WHO=CPUS…]`: show the pins of a running machine, or change them."""

import argparse

import msgspec

from qlaunch.cli.machines import control_socket, running, running_pins
from qlaunch.duty import Pins
from qlaunch.errors import UsageError
from qlaunch.run.pinning import pin_threads
from qlaunch.run.request import execute
from qlaunch.values.cpus import CpuSet


class _Vcpu(msgspec.Struct, rename={"index": "cpu-index", "thread": "thread-id"}):
    index: int
    thread: int


class _Iothread(msgspec.Struct, rename={"thread": "thread-id"}):
    id: str
    thread: int


def run(options: argparse.Namespace) -> int:
    """Pin at once what is named, and keep it in the machine's record: `status` and other machines see it."""
    folder, record = running(options.name)
    assert record.qemu  # noqa: S101 - it runs
    if options.pins:
        pins = merge(record.duty.pins, options.pins)
        _insist_free(record.duty.name, pins)
        control = control_socket(options.name)
        vcpus = msgspec.convert(execute(control, "query-cpus-fast"), list[_Vcpu])
        iothreads = msgspec.convert(execute(control, "query-iothreads"), list[_Iothread])
        pin_threads(
            record.qemu.pid,
            pins,
            {vcpu.index: vcpu.thread for vcpu in vcpus},
            {iothread.id: iothread.thread for iothread in iothreads},
        )
        record = msgspec.structs.replace(record, duty=msgspec.structs.replace(record.duty, pins=pins))
        folder.write(record)
    pins = record.duty.pins
    for who, cpus in (*pins.vcpus.items(), *pins.iothreads.items(), ("emulator", pins.emulator or "")):
        if cpus:
            print(f"{who}={cpus}")
    return 0


def merge(pins: Pins, words: list[str]) -> Pins:
    """Give the pins with some of them changed. Raises UsageError."""
    vcpus, iothreads, emulator = dict(pins.vcpus), dict(pins.iothreads), pins.emulator
    for word in words:
        who, equals, text = word.partition("=")
        try:
            cpus = str(CpuSet.parse(text))
        except ValueError as error:
            raise UsageError(f"{word!r}: {error}") from error
        if not (who and equals and cpus):
            raise UsageError(f"{word!r} is not WHO=CPUS", "example: qlaunch pin gaming 0=2 1=10 emulator=0,8")
        if who.isdecimal():
            vcpus[str(int(who))] = cpus
        elif who == "emulator":
            emulator = cpus
        else:
            iothreads[who] = cpus
    return Pins(vcpus=vcpus, iothreads=iothreads, emulator=emulator)


def _insist_free(name: str, pins: Pins) -> None:
    wanted = CpuSet().union(*map(CpuSet.parse, pins.vcpus.values()))
    for other, theirs in running_pins().items():
        shared = wanted & CpuSet().union(*map(CpuSet.parse, theirs.vcpus.values()))
        if other != name and shared:
            raise UsageError(f"CPU {CpuSet(shared)} belongs to the vCPUs of {other}", "see: qlaunch topology")
