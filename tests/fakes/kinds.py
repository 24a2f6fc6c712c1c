"""Kinds of change for tests of the journal: one for each way in which several machines' claims can come together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from qlaunch.steps import KINDS
from qlaunch.steps.host import Host
from qlaunch.steps.hugepages import Hugepages
from qlaunch.steps.kind import ForeignChangeError, Kind


class Removing(Kind):
    """A list of letters, from which each machine takes some away."""

    name = "removing"

    def merge(self, original: str | None, claims: Sequence[str]) -> str | None:
        return "".join(letter for letter in original or "" if letter not in "".join(claims))

    def agrees(self, claim: str, other: str) -> bool:  # noqa: ARG002 - as Kind
        return True


class Adding(Hugepages):
    """A number, to which each machine adds; what others add stays, and nobody gives back more than his own."""

    name = "adding"

    def write(self, host: Host, key: str, value: str | None) -> None:
        Kind.write(self, host, key, value)


class Owned(Kind):
    """Something that belongs to one machine, and goes through a state between two writes."""

    name = "owned"
    exclusive = True

    def write(self, host: object, key: str, value: str | None) -> None:
        host.write(key, "halfway")  # type: ignore[attr-defined]
        host.write(key, value or "")  # type: ignore[attr-defined]

    def is_halfway(self, current: str | None, original: str | None, claim: str) -> bool:  # noqa: ARG002 - as Kind
        return current == "halfway"


class Unseen(Kind):
    """Something that cannot be looked at, such as a command that was run: its undo runs whenever it may have been."""

    name = "unseen"
    observable = False

    def read(self, host: object, key: str) -> str | None:  # noqa: ARG002 - as Kind
        return None

    def settle(self, current: str | None, original: str | None, claim: str, others: Sequence[str]) -> str | None:  # noqa: ARG002 - as Kind
        if current is not None:
            raise ForeignChangeError
        return ""


@contextmanager
def known_kinds() -> Iterator[None]:
    """Let the registry know them."""
    ours = {kind.name: f"{__name__}:{kind.__name__}" for kind in (Removing, Adding, Owned, Unseen)}
    KINDS.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del KINDS[name]
