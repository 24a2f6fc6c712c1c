"""The last word on a draft: what a machine refuses is taken out and told, so that every file that comes out loads.

Must not: look at the host.
"""

from typing import Any

import msgspec

from qlaunch.errors import Problem
from qlaunch.libvirt.import_draft import Draft, Key, close_gap, in_bytes
from qlaunch.machine.decode import parse_value
from qlaunch.machine.explain import explain
from qlaunch.machine.keys import split_key
from qlaunch.machine.model import Machine
from qlaunch.machine.rules import RULES
from qlaunch.values.size import Size

# Each round takes at least one key out; a domain has fewer wrong ones than this.
_ROUNDS = 400


def settle(draft: Draft) -> tuple[Machine, list[Problem]]:
    """Give the machine, and the warnings of its rules. What is refused goes from the draft into its report."""
    for _ in range(_ROUNDS):
        machine, problems = _checked(draft)
        errors = [problem for problem in problems if problem.severity == "error"]
        if machine is not None and not errors:
            return machine, problems
        # From the end of each array, so that what goes does not move what is still to go.
        errors.sort(key=lambda problem: _numbers(problem.key), reverse=True)
        if not [problem for problem in errors if _take_out(draft, problem)]:
            raise AssertionError([str(problem) for problem in errors])  # a rule whose key is in no file
    raise AssertionError(_ROUNDS)


def _checked(draft: Draft) -> tuple[Machine | None, list[Problem]]:
    try:
        machine = msgspec.convert(draft.tables, Machine, dec_hook=parse_value)
    except (msgspec.ValidationError, RecursionError):
        return None, list(explain(draft.tables))
    return machine, [problem for rule in RULES for problem in rule(machine)]


def _take_out(draft: Draft, problem: Problem) -> bool:
    """Take the key of a problem out of the draft, with what it stands in where that cannot be without it."""
    if problem.code == "nothing-to-boot":
        draft.set(draft.root, "boot", "menu", value=True)
        draft.asks(
            draft.root, "nothing in it can be booted from; add a [[disk]], or choose in the boot menu", ("boot",)
        )
        return True
    if problem.key in ("memory", "memory.size"):
        return _resize(draft, problem)
    key: Key = tuple(int(part) if part.isdigit() else part for part in split_key(problem.key))
    while key and key != ("memory",):
        if _remove(draft, key):
            holder = next((key[:end] for end in range(len(key), 0, -1) if key[:end] in draft.keys), ())
            node = draft.keys.get(holder, draft.root)
            hint = f"; {problem.hint}" if problem.hint else ""
            draft.asks(node, f"{'.'.join(map(str, key))} {problem.message}; it is left out{hint}", key)
            return True
        key = key[:-1]
    return bool(key)  # of [memory] without the key: what was wrong went with another problem


def _numbers(key: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in split_key(key)) if key else ()


def _resize(draft: Draft, problem: Problem) -> bool:
    """Round the memory up to whole pages; a machine has no other size to fall back on."""
    table = draft.tables["memory"]
    table.setdefault("size", "0B")
    page = {"2M": 2 << 20, "1G": 1 << 30}.get(str(table.get("hugepages")), 1 << 20)
    before = table["size"]
    try:
        size = int(Size.parse(str(before)))
    except ValueError:
        size = 4 << 30
    table["size"] = in_bytes(size + -size % page or page)
    if table.pop("cell", None):
        draft.asks(draft.root, "the guest's NUMA cells do not fit its memory, and are left out", ("memory", "cell"))
    if table["size"] == before:
        return False
    draft.differs(
        draft.keys.get(("memory", "size"), draft.root),
        f"{problem.message}; it is {table['size']} now",
        ("memory", "size"),
    )
    return True


def _remove(draft: Draft, key: Key) -> bool:
    """Remove what stands at a key. Numbers of arrays move up, so comments and places move too."""
    holder: Any = draft.tables
    for part in key[:-1]:
        try:
            holder = holder[part]
        except (KeyError, IndexError, TypeError):
            return False
    last = key[-1]
    if isinstance(holder, dict) and last in holder:
        required = last in ("size", "path", "host", "type", "name", "tag", "cid", "cpus")
        required = required or (last == "address" and key[0] == "controller")
        if required and len(key) > 1 and isinstance(key[-2], int):
            return False  # a row without what it is about is none: the whole row goes
        del holder[last]
        draft.comments.pop(key, None)
        return True
    if isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        follows = last + 1 < len(holder) and not str(holder[last + 1]).startswith("-")
        if key[:2] == ("qemu", "extra") and holder[last].startswith("-") and follows:
            del holder[last + 1]  # the word of an option must not pass to the option before it
        del holder[last]
        for record in (draft.comments, draft.keys):
            close_gap(record, key)
        return True
    return False
