"""The CPUs that a machine's threads are pinned to, as a lease."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.preparation.wish import Wish
from qlaunch.steps.cpus import OWN, SHARED
from qlaunch.steps.step import Step


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the lease of the vCPUs' CPUs; those of the emulator and of iothreads may be shared by all."""
    cpus = wish.vcpu_cpus
    if cpus:
        claim = SHARED if wish.machine.cpu.pin_shared else OWN
        yield Step(
            kind="cpus",
            summary=f"CPUs {cpus} for its vCPUs",
            claims={f"CPU {cpu}": claim for cpu in sorted(cpus)},
            lane="leases",
            needs_root=False,
        )


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield nothing: who has a CPU is known when it is leased."""
    del wish
    yield from ()
