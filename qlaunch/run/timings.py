"""How long each part of a start and an end took: noted beside the logs, for `--timings`.

Times are of the monotonic clock, which all processes of one boot share.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from qlaunch.steps.waits import Wait

FILE = "timings.json"
QEMU = "qemu"  # the lane of what is no change to the host


class Part(msgspec.Struct, frozen=True):
    """One part of a run; ``began`` and ``ended`` in seconds. ``lane`` names what runs one after the other.

    ``waits`` are what it waited for the kernel or systemd.
    """

    summary: str
    lane: str
    began: float
    ended: float
    waits: tuple[Wait, ...] = ()


class Clock:
    """Notes the parts of one run that are no steps."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    @contextmanager
    def part(self, summary: str) -> Iterator[None]:
        """Note what is done meanwhile."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.note(summary, began)

    def note(self, summary: str, began: float) -> None:
        """Note what began then and has just ended."""
        self.parts.append(Part(summary, QEMU, began, time.monotonic()))


def write_timings(state: str, parts: Sequence[Part]) -> None:
    """Keep the parts in a machine's state folder, if that is still there."""
    with suppress(OSError), open(f"{state}/{FILE}", "wb") as file:
        file.write(msgspec.json.encode(sorted(parts, key=lambda part: part.began)))


def read_timings(state: str) -> list[Part]:
    """Give the parts of the last run; none where none were kept."""
    try:
        with open(f"{state}/{FILE}", "rb") as file:
            return msgspec.json.decode(file.read(), type=list[Part])
    except (OSError, msgspec.MsgspecError):
        return []
