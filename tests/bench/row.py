"""A row of the table of speeds, and how it comes about.

Times of two candidates that ran long after one another cannot be compared on a computer that has other work. So all
candidates take turns, a ratio is made within a round, and the median of the rounds' ratios counts.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line. ``value`` is what the target is about: a ratio, or else a figure in ``unit``."""

    what: str
    qlaunch: str
    against: str = ""
    value: float
    unit: str = ""  # none: a ratio
    target: float | None = None  # at most

    @property
    def is_met(self) -> bool:
        """Whether the target is met, or there is none."""
        return self.target is None or self.value <= self.target


def take_turns(candidates: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measure each candidate once a round. One round goes before those that count, for the caches."""
    measured: dict[str, list[T]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, measure in candidates.items():
            result = measure()
            if turn:
                measured[name].append(result)
    return measured


def compared(what: str, times: Mapping[str, Sequence[float]], targets: Mapping[str, float | None]) -> Iterable[Row]:
    """Give a row for each candidate that qlaunch is held against; times are milliseconds, of the same rounds."""
    own = times["qlaunch"]
    for name, others in times.items():
        if name == "qlaunch":
            continue
        ratio = statistics.median(ours / theirs for ours, theirs in zip(own, others, strict=True))
        against = f"{name}, {milliseconds(statistics.median(others))}"
        figure = milliseconds(statistics.median(own))
        yield Row(what=what, qlaunch=figure, against=against, value=ratio, target=targets.get(name))


def timed(act: Callable[[], object]) -> float:
    """Give how long something takes, in milliseconds."""
    begin = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - begin)


def milliseconds(value: float) -> str:
    """Print a time."""
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def table(rows: Iterable[Row]) -> Iterable[str]:
    """Give the table in Markdown, line by line as the rows come."""
    yield "| | qlaunch | against | ratio | target |"
    yield "|---|---|---|---|---|"
    for row in rows:
        ratio = "" if row.unit else f"{row.value:.2f}"
        yield f"| {row.what} | {row.qlaunch} | {row.against} | {ratio} | {_target(row)} |"


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    bound = f"≤ {row.target:g}{' ' + row.unit if row.unit else ''}"
    return bound if row.is_met else f"**{bound}: missed**"
