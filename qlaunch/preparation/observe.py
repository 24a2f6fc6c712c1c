"""What a step would change, seen without changing anything: on this host, or on a captured one."""

from collections.abc import Callable
from contextlib import suppress

from qlaunch.errors import HostError
from qlaunch.host.tree import Tree
from qlaunch.steps import kind_named
from qlaunch.steps.step import Step
from qlaunch.values.access import Access


class ReadOnlyHost:
    """The reading doors of a host, over a tree. What no file tells is not known."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.read = tree.read
        self.listdir = tree.listdir
        self.readlink = tree.readlink
        self.exists = tree.exists

    def access(self, path: str) -> Access | None:
        """Give who may open a file of this computer; a captured tree keeps no owners."""
        from qlaunch.steps.host import LocalHost  # noqa: PLC0415 - few machines change owners

        return LocalHost().access(path) if self._tree.live else None

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Look once."""
        del timeout_s
        return condition()


def observe(step: Step, tree: Tree) -> tuple[dict[str, str], dict[str, str]]:
    """Give the values of now and those that the step makes of them, by key; keys that cannot be seen have none."""
    kind = kind_named(step.kind)
    host = ReadOnlyHost(tree)
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for key, claim in step.claims.items():
        # AttributeError: a kind that looks through another door, such as systemd's, which a tree does not have.
        with suppress(OSError, HostError, AttributeError, ValueError):
            current = kind.read(host, key)  # type: ignore[arg-type]
            wanted = kind.merge(current, [claim])
            if wanted is not None and wanted != current:
                before[key] = current or ""
                after[key] = wanted
    return before, after
