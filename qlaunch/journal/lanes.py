"""What of many things to do is done side by side, and what one after the other, by the names of their lanes.

Lanes run side by side. In a lane one thing follows another, but for its branches: ``devices/pci`` and ``devices/vf``
that stand together run side by side, after what ``devices`` has before them and before what it has after them. Turned
round, the same holds: so the way back needs no more than the order and the names.

Owns: threads. Must not: know what is done.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Protocol, TypeVar


class InLane(Protocol):
    """Something that has a lane."""

    @property
    def lane(self) -> str:
        """Its name, with that of a branch after a slash."""


One = TypeVar("One", bound=InLane)
_Work = TypeVar("_Work")


def work_in_lanes(
    in_a_row: Callable[[list[One]], None],
    ones: Sequence[One],
    at_work: Callable[[], AbstractContextManager[None]],
) -> None:
    """Call ``in_a_row`` with what is to be done one after the other, in threads; in each of them inside ``at_work``."""

    def one_row(row: list[One]) -> None:
        with at_work():
            in_a_row(row)

    def one_lane(lane: list[One]) -> None:
        with at_work():
            for _, stage in groupby(lane, key=lambda one: "/" in one.lane):
                _side_by_side(one_row, grouped(lambda one: one.lane, stage))

    _side_by_side(one_lane, grouped(lambda one: one.lane.partition("/")[0], ones))


def grouped(name: Callable[[One], str], ones: Iterable[One]) -> list[list[One]]:
    """Put those of one name together, in their order."""
    found: dict[str, list[One]] = {}
    for one in ones:
        found.setdefault(name(one), []).append(one)
    return list(found.values())


def _side_by_side(work: Callable[[_Work], None], pieces: Sequence[_Work]) -> None:
    """Work on every piece at the same time; on the first one in this thread."""
    mine, *others = pieces or (None,)
    threads = [threading.Thread(target=work, args=(piece,)) for piece in others]
    for thread in threads:
        thread.start()
    try:
        if mine is not None:
            work(mine)
    finally:
        for thread in threads:
            thread.join()
