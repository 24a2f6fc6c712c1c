"""What a rule is: a function of the whole machine that yields what does not hold together in it.

A rule sees only machines whose every key has the right type; it never looks at the host. Its problems carry keys,
and get their
places in the files later.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator

from qlaunch.devices.ports import BoardName
from qlaunch.errors import Problem
from qlaunch.machine.model import Machine

Rule = Callable[[Machine], Iterable[Problem]]


def fault(code: str, key: str, message: str, hint: str = "") -> Problem:
    """Give a problem that stops the machine."""
    return Problem(code=code, key=key, message=message, hint=hint)


def caution(code: str, key: str, message: str, hint: str = "") -> Problem:
    """Give a problem that does not stop the machine."""
    return Problem(code=code, key=key, message=message, hint=hint, severity="warning")


def board_of(machine: Machine) -> BoardName:
    """Give the family of the board; both ``pc`` and ``pc-i440fx-…`` are pc, ``pc-q35-…`` is q35."""
    kind = machine.machine.type
    return "pc" if kind.startswith("pc") and "q35" not in kind else "q35"


def repeated(values: Iterable[tuple[str, Hashable]]) -> Iterator[tuple[str, str, Hashable]]:
    """Yield (key, key of the first, value) for each value that another key has already. None is no value."""
    first: dict[Hashable, str] = {}
    for key, value in values:
        if value is None:
            continue
        if value in first:
            yield key, first[value], value
        else:
            first[value] = key
