"""Pin the threads of a paused QEMU to host CPUs, and read back what the kernel made of it. Blocking, and quick.

Source: QEMU's ``qapi/machine.json`` (query-cpus-fast), ``qapi/misc.json`` (query-iothreads);
``sched_setaffinity(2)``. Threads are known by the numbers that QMP gives, never by their names.
"""

import os
from collections.abc import Iterator, Mapping
from typing import TypeVar

from qlaunch.duty import Pins
from qlaunch.errors import HostError, MonitorError
from qlaunch.values.cpus import CpuSet

Key = TypeVar("Key", int, str)

_POLICIES = {"fifo": os.SCHED_FIFO, "rr": os.SCHED_RR}


def pin_threads(pid: int, pins: Pins, vcpus: Mapping[int, int], iothreads: Mapping[str, int]) -> None:
    """Pin everything; ``vcpus`` and ``iothreads`` map to thread ids.

    Raises HostError where the kernel differs, MonitorError where QEMU has ended: what it said counts for more.

    Every other thread gets the emulator's set, so that workers and those made later inherit it. The named ones get
    their own at once: in an isolated partition they have no others.
    """
    if pins.emulator:
        everything = CpuSet.parse(pins.emulator)
        named = {vcpus.get(int(number)) for number in pins.vcpus} | {iothreads.get(name) for name in pins.iothreads}
        for thread in (thread for thread in _threads_of_qemu(pid) if thread not in named):
            _pin(thread, everything, "the emulator", tolerate_gone=True)
    for name, cpus in pins.iothreads.items():
        _pin(_known(iothreads, name, "iothread"), CpuSet.parse(cpus), f"iothread {name}")
    for number, cpus in pins.vcpus.items():
        _pin(_known(vcpus, int(number), "vCPU"), CpuSet.parse(cpus), f"vCPU {number}")


def set_scheduler(scheduler: str, vcpus: Mapping[int, int]) -> None:
    """Give the vCPU threads a real-time policy, written ``fifo:1``."""
    policy, _, priority = scheduler.partition(":")
    for number, thread in vcpus.items():
        try:
            os.sched_setscheduler(thread, _POLICIES[policy], os.sched_param(int(priority)))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise HostError(
                f"cannot give vCPU {number} the scheduler {scheduler}: {reason}",
                "run as root, or raise RLIMIT_RTPRIO, or leave cpu.scheduler out",
            ) from error


def threads(pid: int) -> Iterator[int]:
    """Yield the thread ids of a process."""
    yield from (int(name) for name in os.listdir(f"/proc/{pid}/task"))


def _threads_of_qemu(pid: int) -> list[int]:
    try:
        return list(threads(pid))
    except OSError as error:
        raise MonitorError(f"QEMU (pid {pid}) ended while its threads were pinned") from error


def _pin(thread: int, cpus: CpuSet, what: str, *, tolerate_gone: bool = False) -> None:
    try:
        os.sched_setaffinity(thread, cpus)
        actual = os.sched_getaffinity(thread)
    except ProcessLookupError as error:
        if tolerate_gone:
            return
        raise HostError(f"the thread of {what} is gone") from error
    except OSError as error:
        raise HostError(
            f"cannot pin {what} to CPU {cpus}: {os.strerror(error.errno or 0).lower()}",
            "the CPUs must exist, be online and be in this process' cpuset",
        ) from error
    if CpuSet(actual) != cpus:
        raise HostError(f"{what} was pinned to CPU {cpus}, but the kernel made it {CpuSet(actual)}")


def _known(found: Mapping[Key, int], key: Key, kind: str) -> int:
    if key not in found:
        raise HostError(f"QEMU has no {kind} {key}", "check cpu.pin and the names of the iothreads")
    return found[key]
