"""A machine's journal for people: what it has changed on this host, and what of it is undone."""

import msgspec

from qlaunch.cli.terminal import bold
from qlaunch.errors import HostError
from qlaunch.journal.file import Contents, read_journal
from qlaunch.journal.record import Change


def show(folder: str, *, json: bool) -> int:
    """Print a journal. Raises HostError where there is none."""
    contents = read_journal(folder)
    if contents.begin is None and not contents.damaged:
        raise HostError(f"{folder} has no journal: nothing is changed on this host for it")
    if json:
        print(msgspec.json.encode({"changes": [_as_json(contents, change) for change in contents.changes]}).decode())
        return 0
    for change in contents.changes:
        _print(contents, change)
    for number in contents.damaged:
        print(f"line {number} is damaged, and what it changed is not known")
    return 0


def _state(contents: Contents, change: Change) -> str:
    if change.number in contents.undone:
        return "undone"
    return "made" if change.number in contents.made else "begun"


def _as_json(contents: Contents, change: Change) -> dict[str, object]:
    made, undone = contents.made.get(change.number), contents.undone.get(change.number)
    return {
        "number": change.number,
        "kind": change.kind,
        "summary": change.summary,
        "state": _state(contents, change),
        "before": change.before,
        "after": change.after,
        "refused": made.refused if made else {},
        "differs": made.differs if made else {},
        "kept": undone.kept if undone else {},
    }


def _print(contents: Contents, change: Change) -> None:
    print(bold(f"{change.number:>3}  {change.summary} ({_state(contents, change)})"))
    made, undone = contents.made.get(change.number), contents.undone.get(change.number)
    for key, after in change.after.items():
        note = ""
        if made and key in made.refused:
            note = f"; stayed as it was: {made.refused[key]}"
        elif undone and key in undone.kept:
            note = f"; somebody set it to {_word(undone.kept[key])} since, which stays"
        before = change.before.get(key)
        value = f"{_word(before)} -> {_word(after)}" if before != after else change.claims[key]
        print(f"     {key}: {value}{note}")


def _word(value: str | None) -> str:
    return "nothing" if value is None else value or "''"
