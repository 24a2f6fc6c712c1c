"""What a fact is: one thing that a line of a hook script does, and the key of the machine file that says the same.

Must not: know scripts.
"""

import msgspec


class Fact(msgspec.Struct, frozen=True):
    """``key`` is a dotted key of the machine file, or empty for what needs none; ``note`` says why.

    ``item`` tells facts of one key apart: a fact at the end that has the key and the item of one at the start is its
    other half.
    """

    key: str
    item: str = ""
    value: object = None
    note: str = ""


def needless(note: str = "") -> tuple[Fact, ...]:
    """Give the fact of a line that needs no key. Without a note it is not told: it only prints, tests or steers."""
    return (Fact("", note=note),)


def always(key: str, value: object, item: str = "") -> tuple[Fact, ...]:
    """Give one fact."""
    return (Fact(key, item, value),)
