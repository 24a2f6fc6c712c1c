"""Helper processes of a machine: how each is started, and a step that ends those whose supervisor was killed."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.machine.sidecar import MARK, SidecarSpec
from qlaunch.preparation.commands import command_problems, needs_root, user_problems
from qlaunch.preparation.emulated import helpers, refusals as missing
from qlaunch.preparation.wish import Wish
from qlaunch.steps.process import RUNNING
from qlaunch.steps.step import Step


def sidecars(wish: Wish) -> list[SidecarSpec]:
    """Give every helper, in the order of their start."""
    return [
        *helpers(wish),
        *(
            SidecarSpec(
                name=name,
                argv=list(section.command),
                mark=f"{MARK}={wish.runtime}/{name}",
                log=f"{wish.state}/{name}.log",
                user=section.user,
                environment=section.environment,
                restart=section.restart,
                socket=section.socket,
                before_qemu=section.socket is not None,
            )
            for name, section in zip(_names(wish), wish.machine.sidecar, strict=True)
        ),
    ]


def steps(wish: Wish) -> Iterator[Step]:
    """Yield what is known of all of them before the first is started."""
    specs = sidecars(wish)
    if specs:
        yield Step(
            kind="process",
            summary=f"helpers: {', '.join(spec.name for spec in specs)}",
            claims={spec.mark: RUNNING for spec in specs},
            lane="helpers",
            needs_root=any(needs_root(wish.facts.tree, spec.user) for spec in specs),
        )


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield users who do not exist, and programs that are not there."""
    yield from missing(wish)
    tree = wish.facts.tree
    for number, section in enumerate(wish.machine.sidecar):
        yield from user_problems(tree, f"sidecar.{number}.user", section.user)
        yield from command_problems(tree, f"sidecar.{number}.command", section.command)


def _names(wish: Wish) -> list[str]:
    """Name each after its program and its number: ``sidecar0-barrier``."""
    programs = [section.command[0].rpartition("/")[2] for section in wish.machine.sidecar]
    return [f"sidecar{number}-{program}"[:60] for number, program in enumerate(programs)]
