"""Whole processes of the verbs that people and scripts wait for, against an interpreter that does nothing."""

import statistics
import sys
from collections.abc import Callable, Iterator

from tests.bench.row import Row, milliseconds, take_turns, timed
from tests.bench.scratch import NAME, SMALL, Scratch

# A hundred devices: as many disks, cards and PCI slots as a q35 board has places for, and input devices.
HUNDRED = "".join(
    [
        *(f'[[disk]]\npath = "disk{number}.raw"\n' for number in range(32)),
        *('[[network]]\ntype = "user"\n' for _ in range(16)),
        *(f'[[pci]]\nhost = "{number + 16:02x}:00.0"\n' for number in range(24)),
        *(f'[[share]]\npath = "/srv"\ntag = "tag{number}"\ntype = "9p"\n' for number in range(8)),
        *(f'[[usb]]\nat = "1-{number + 1}"\noptional = true\n' for number in range(7)),
        *(f'[[evdev]]\npath = "/dev/input/event{number}"\noptional = true\n' for number in range(13)),
    ]
)


def verbs(scratch: Scratch) -> Iterator[Row]:
    """Yield a row for each verb; some of them talk to a machine that runs."""
    scratch.write("hundred", SMALL + HUNDRED)
    plain = [sys.executable, "-c", "pass"]
    lines = {
        "`--version`": ["--version"],
        "`argv`": ["argv", NAME],
        "`plan`": ["plan", NAME],
        "`argv`, 100 devices": ["argv", "hundred"],
        "`plan`, 100 devices": ["plan", "hundred"],
        "`list`": ["list"],
        "`status`": ["status", NAME],
        "`console -c query-status`": ["console", NAME, "-c", "query-status"],
    }
    candidates: dict[str, Callable[[], float]] = {"python": lambda: timed(lambda: scratch.run(plain))}
    candidates |= {what: lambda words=words: scratch.timed(*words) for what, words in lines.items()}  # type: ignore[misc]
    scratch.start()
    try:
        times = take_turns(candidates, scratch.rounds)
    finally:
        scratch.qlaunch("down", "--force", NAME)
    base = times.pop("python")
    against = f"`python -c pass`, {milliseconds(statistics.median(base))}"
    for what, measured in times.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(measured, base, strict=True))
        yield Row(what=what, qlaunch=milliseconds(statistics.median(measured)), against=against, value=ratio)
