"""What the way back costs: a record of the journal on this disk, and `recover` with nothing to do."""

import os
import sys
from collections.abc import Iterator

from qlaunch.journal.file import Journal
from qlaunch.journal.record import Change, print_line
from tests.bench.row import Row, compared, milliseconds, take_turns, timed
from tests.bench.scratch import Scratch

RECORD_MS = 1.0
IDLE_MS = 100.0
KEYS = [f"/sys/devices/system/cpu/cpufreq/policy{number}/scaling_governor" for number in range(8)]


def journal(scratch: Scratch) -> Iterator[Row]:
    """Yield a record of eight keys beside a bare write of the same bytes, both synced, and an idle recovery."""
    yield from _records(scratch)
    plain = [sys.executable, "-c", "pass"]
    candidates = {
        "qlaunch": lambda: scratch.timed("recover"),
        "`python -c pass`": lambda: timed(lambda: scratch.run(plain)),
    }
    times = take_turns(candidates, scratch.rounds)
    more = sorted(ours - theirs for ours, theirs in zip(*times.values(), strict=True))[scratch.rounds // 2]
    figure = f"{milliseconds(more)} more"
    yield Row(what="`recover`, nothing to do", qlaunch=figure, against="`python -c pass`", value=more, unit="ms",
              target=IDLE_MS)  # fmt: skip


def _records(scratch: Scratch) -> Iterator[Row]:
    folder = scratch.folder / "journal"
    folder.mkdir()
    state: dict[str, str | None] = dict.fromkeys(KEYS, "powersave")
    change = Change(number=0, kind="governor", summary="governor", lane="cpu", before=state, claims={}, after=state)
    line = print_line(change)
    kept = Journal.open(str(folder), "bench", "")
    with (folder / "bare").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)

        def bare() -> None:
            os.write(file.fileno(), line)
            os.fdatasync(file.fileno())

        candidates = {
            "qlaunch": lambda: timed(lambda: kept.record(change)),
            "written bare": lambda: timed(bare),
        }
        times = take_turns(candidates, 8 * scratch.rounds)
    rows = compared("a record of the journal, synced", times, {})
    own = sorted(times["qlaunch"])[len(times["qlaunch"]) // 2]
    yield from rows
    yield Row(what="the same", qlaunch=milliseconds(own), value=own, unit="ms", target=RECORD_MS)
