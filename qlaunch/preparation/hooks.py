"""Commands of the user's before the start and after the end, as steps: first of all there, last of all back."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.preparation.commands import command_problems, needs_root, user_problems
from qlaunch.preparation.wish import Wish
from qlaunch.steps.hook import Commands
from qlaunch.steps.step import Step

LOG = "hooks.log"
"""Its name in a machine's state folder: what the commands printed."""


def steps(wish: Wish) -> Iterator[Step]:
    """Yield each pair, in the order of the file."""
    for number, hook in enumerate(wish.machine.hook):
        commands = Commands(
            start=hook.start,
            stop=hook.stop,
            user=hook.user,
            environment=hook.environment,
            timeout_s=hook.timeout_s,
            log=f"{wish.state}/{LOG}" if wish.state else None,
        )
        words = [f"{' '.join(argv)} {when}" for argv, when in ((hook.start, "first"), (hook.stop, "last")) if argv]
        yield Step(
            kind="hook",
            summary=f"{', '.join(words) or 'an empty hook'}{f' (as {hook.user})' if hook.user else ''}",
            claims={f"hook {number} of {wish.name}": commands.claim()},
            lane="hooks",
            moment="first",
            needs_root=needs_root(wish.facts.tree, hook.user),
        )


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield users who do not exist, and programs that are not there."""
    tree = wish.facts.tree
    for number, hook in enumerate(wish.machine.hook):
        yield from user_problems(tree, f"hook.{number}.user", hook.user)
        yield from command_problems(tree, f"hook.{number}.start", hook.start)
        yield from command_problems(tree, f"hook.{number}.stop", hook.stop)
