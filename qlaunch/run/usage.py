"""What a running QEMU uses: memory, and each thread with its CPU time and where it may run and last ran.

Source: ``proc_pid_stat(5)`` (field 39, processor), ``proc_pid_status(5)``; psutil for memory and CPU times.
"""

import os
import time
from contextlib import suppress
from typing import Any

import psutil

from qlaunch.values.cpus import CpuSet

_LAST_CPU = 39  # field number in /proc/PID/stat, counted from 1


def read_totals(pid: int) -> dict[str, Any]:
    """Give ``rss`` in bytes and ``cpu_percent`` since the start; nothing for a process that is gone."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            percent = 100 * (times.user + times.system) / _age(process)
            return {"rss": process.memory_info().rss, "cpu_percent": round(percent, 1)}
    except psutil.Error:
        return {}


def read_usage(pid: int) -> dict[str, Any]:
    """Give the totals, and ``threads``. A thread that has just ended is left out."""
    usage: dict[str, Any] = {**read_totals(pid), "threads": []}
    try:
        process = psutil.Process(pid)
        age, threads = _age(process), process.threads()
    except psutil.Error:
        return usage
    for thread in threads:
        with suppress(OSError):
            usage["threads"].append(
                {
                    "tid": thread.id,
                    "name": name_of(pid, thread.id),
                    "cpu_percent": round(100 * (thread.user_time + thread.system_time) / age, 1),
                    "allowed": str(CpuSet(os.sched_getaffinity(thread.id))),
                    "last_cpu": last_cpu(pid, thread.id),
                }
            )
    return usage


def _age(process: psutil.Process) -> float:
    created: float = process.create_time()
    return max(time.time() - created, 0.001)


def name_of(pid: int, thread: int) -> str:
    """Give a thread's name. Raises OSError when it is gone."""
    with open(f"/proc/{pid}/task/{thread}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def last_cpu(pid: int, thread: int) -> int:
    """Give the CPU that a thread ran on last. Raises OSError when it is gone."""
    with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
        line = file.read()
    return int(line[line.rindex(b")") + 2 :].split()[_LAST_CPU - 3])
