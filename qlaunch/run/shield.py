"""Whether a shield holds, looked up once the guest runs: in the groups' effective CPUs, and in every task's own."""

from collections.abc import Sequence

import trio

from qlaunch.run.voice import Say
from qlaunch.steps.step import Step


async def tell_shield(steps: Sequence[Step], say: Say) -> None:
    """Say who may still run on the guest's CPUs, or that nobody may; nothing for a machine without a shield."""
    if any(step.kind in ("shield", "cgroup-shield") for step in steps):
        say(await trio.to_thread.run_sync(_look, steps))


def _look(steps: Sequence[Step]) -> str:
    from qlaunch.host.shielded import verify_shield  # noqa: PLC0415 - see above
    from qlaunch.host.tree import Tree  # noqa: PLC0415
    from qlaunch.journal.drift import shielded_cpus  # noqa: PLC0415

    cpus = shielded_cpus(steps)
    return f"shield of CPUs {cpus}: {verify_shield(Tree(), cpus)}"
