"""What one command or pipeline of a script means, with its words filled in.

Must not: follow the script; see `hooks_run`.
"""

import msgspec

from qlaunch.libvirt.hooks_commands import command
from qlaunch.libvirt.hooks_facts import Fact, needless
from qlaunch.libvirt.hooks_nodes import Node, Simple
from qlaunch.libvirt.hooks_words import Variables, expand, joined
from qlaunch.libvirt.hooks_writes import written


class Scene(msgspec.Struct, frozen=True):
    """Where a command stands: what its variables are, and in which script."""

    variables: Variables
    starts: bool  # the machine, rather than ends it
    takes_pages: bool  # somewhere in the script


def keys(facts: tuple[Fact, ...]) -> bool:
    """Whether any of these is said by a key."""
    return any(fact.key for fact in facts)


def meaning(node: Simple, words: list[str], scene: Scene) -> tuple[Fact, ...] | None:
    """Say what a command means, with what it writes to files. None when that is not known."""
    targets = [(operator, joined(word, scene.variables)) for operator, word in node.redirections if "<" not in operator]
    files = [path for operator, path in targets if not operator.endswith("&") and not path.startswith("/dev/null")]
    if words[0] in ("echo", "printf") and files:
        text = [word for word in words[1:] if word not in ("-n", "-e", "%s", "%s\\n")]
        return _written(files[0], " ".join(text), scene) if len(files) == 1 else None
    if files and not all(_is_log(path) for path in files):
        return None
    return command(words, starts=scene.starts)


def pipe(parts: list[Node], scene: Scene) -> tuple[Fact, ...] | None:
    """Say what a pipeline means: one that ends in ``tee`` writes a file, and others have to be harmless."""
    simple = [part for part in parts if isinstance(part, Simple)]
    if len(simple) != len(parts):
        return None
    words = [[field for word in part.words for field in expand(word, scene.variables)] for part in simple]
    last = words[-1][1:] if words[-1][:1] == ["sudo"] else words[-1]
    if words[0][:1] in (["echo"], ["printf"]) and last[:1] == ["tee"]:
        files = [word for word in last[1:] if not word.startswith("-")]
        one = len(files) == 1 and len(parts) == 2
        return _written(files[0], " ".join(words[0][1:]), scene) if one else None
    meanings = [meaning(part, each, scene) for part, each in zip(simple, words, strict=True) if each]
    harmless = all(facts is not None and not keys(facts) for facts in meanings)
    return needless() if harmless else None


def _written(path: str, value: str, scene: Scene) -> tuple[Fact, ...] | None:
    if path == "/proc/sys/vm/compact_memory" and scene.takes_pages:
        return needless("qlaunch moves memory together itself while it grows the pool")
    return written(path, value)


def _is_log(path: str) -> bool:
    return path.startswith(("/dev/", "/var/log/", "/tmp/")) or path.isdigit()  # noqa: S108 - a path in a script
