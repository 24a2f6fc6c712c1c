"""What a supervisor costs while nothing happens: memory, and how often it wakes up."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.bench.row import Row
from tests.bench.scratch import Scratch
from tests.bench.starts import write_tiny

_SECONDS = 20.0
_SETTLED_S = 3.0
PSS_MIB = 40.0
WAKEUPS_A_SECOND = 1.0


def supervisor(scratch: Scratch) -> Iterator[Row]:
    """Yield the proportional share of memory, and wake-ups a second."""
    write_tiny(scratch, ["idle"])
    scratch.start("idle")
    try:
        status = msgspec.json.decode(scratch.qlaunch("status", "--json", "idle"))
        process = Path(f"/proc/{status['supervisor_pid']}")
        time.sleep(_SETTLED_S)
        before, began = wakeups(process), time.monotonic()
        time.sleep(_SECONDS)
        after = wakeups(process)
        rate = sum(count - before.get(task, 0) for task, count in after.items()) / (time.monotonic() - began)
        lines = (process / "smaps_rollup").read_text().splitlines()
        pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    finally:
        scratch.qlaunch("down", "--force", "idle")
    yield Row(what="supervisor: memory (PSS)", qlaunch=f"{pss:.1f} MiB", value=pss, unit="MiB", target=PSS_MIB)
    text = f"{rate:.2f} a second"
    yield Row(what="supervisor: idle, wakes up", qlaunch=text, value=rate, unit="a second", target=WAKEUPS_A_SECOND)


def wakeups(process: Path) -> dict[str, int]:
    """Count by thread how often it went to sleep so far, each of which is followed by waking up."""
    counts = {}
    for task in (process / "task").iterdir():
        lines = (task / "status").read_text().splitlines()
        counts[task.name] = next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
    return counts
