"""A machine file as a checked `Machine`: read, overridden, converted, and held against the rules.

Owns: the order of these. Must not: look at the host; what is missing there is the plan's to say.

A relative path in a machine file is relative to the folder of the file that has the key, also across ``extends``; in
a ``--set``
option it is relative to the current folder. ``~/`` is the home folder of whoever runs qlaunch. Programs are found on
PATH.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from qlaunch.errors import MachineError, Problem
from qlaunch.machine.decode import parse_value
from qlaunch.machine.model import Machine
from qlaunch.machine.overrides import Override, apply_overrides, parse_overrides
from qlaunch.machine.read import Source, Table, read_chain
from qlaunch.machine.rules import RULES
from qlaunch.machine.search import find, machine_name

if TYPE_CHECKING:
    from qlaunch.machine.places import Places


class Loaded(msgspec.Struct, frozen=True):
    """A machine that holds together, and where it came from. ``warnings`` did not stop it."""

    name: str
    path: str
    machine: Machine
    warnings: tuple[Problem, ...] = ()
    sources: tuple[Source, ...] = ()
    overrides: tuple[Override, ...] = ()

    @property
    def places(self) -> "Places":
        """Say where each key stands; the files are scanned anew each time."""
        return _places(self.sources, self.overrides)


def load(name_or_path: str, overrides: Sequence[str] = (), folders: Sequence[str] | None = None) -> Loaded:
    """Load a machine by name or path, with ``key=value`` overrides.

    Raises UsageError when there is no such machine or an override is no assignment, and MachineError with all problems
    of the file.
    """
    changes = parse_overrides(overrides)
    path = find(name_or_path, folders)
    name = machine_name(path)
    table, sources = read_chain(path)
    machine, changes = _convert(table, changes, sources)
    problems = [problem for rule in RULES for problem in rule(machine)]
    placed = _placed(problems, sources, changes)
    if any(problem.severity == "error" for problem in placed):
        raise MachineError(placed)
    return Loaded(name, path, machine, tuple(placed), sources, changes)


def _convert(
    table: Table, changes: tuple[Override, ...], sources: tuple[Source, ...]
) -> tuple[Machine, tuple[Override, ...]]:
    """Give the machine, and the overrides in the form in which they were taken."""
    data = apply_overrides(table, changes)
    try:
        return msgspec.convert(data, Machine, dec_hook=parse_value), changes
    except (msgspec.ValidationError, RecursionError):
        from qlaunch.machine.explain import explain  # noqa: PLC0415 - only when something is wrong

    problems = list(explain(data))
    refused = {problem.key for problem in problems}
    from qlaunch.machine.keys import join_key  # noqa: PLC0415

    # A number where text is wanted: on a command line nobody writes the quotes that TOML asks for.
    retyped = tuple(
        change.as_text() if join_key(change.key) in refused and not isinstance(change.value, str) else change
        for change in changes
    )
    if retyped != changes:
        try:
            return msgspec.convert(apply_overrides(table, retyped), Machine, dec_hook=parse_value), retyped
        except msgspec.ValidationError:
            pass
    raise MachineError(_placed(problems, sources, changes))


def _placed(problems: Sequence[Problem], sources: Sequence[Source], changes: Sequence[Override]) -> list[Problem]:
    """Give the problems with their places, in the order of the file."""
    if not problems:
        return []
    places = _places(sources, changes)
    placed = [msgspec.structs.replace(problem, where=places.where(problem.key)) for problem in problems]
    return sorted(placed, key=lambda problem: _in_file_order(problem.where))


def _in_file_order(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return (file, int(line)) if line.isdigit() else (where, 0)


def _places(sources: Sequence[Source], changes: Sequence[Override]) -> "Places":
    from qlaunch.machine.places import Places  # noqa: PLC0415 - only when there is something to tell

    return Places(sources, changes)
