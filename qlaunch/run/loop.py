"""Enter trio and come back with a plain exception: nurseries wrap what they raise in groups, which no caller wants."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from qlaunch.errors import QlaunchError

T = TypeVar("T")


def run_in_trio(function: Callable[[], Awaitable[T]]) -> T:
    """Run an async function to its end. Of several failures at once, the one that a user can act on is raised."""
    try:
        return trio.run(function)
    except BaseExceptionGroup as group:
        raise first_cause(group) from None


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the failure of a group that a user can act on, or else the first."""
    leaves = _leaves(group)
    return next((leaf for leaf in leaves if isinstance(leaf, QlaunchError)), leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for inner in group.exceptions:
        leaves += _leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner]
    return leaves
