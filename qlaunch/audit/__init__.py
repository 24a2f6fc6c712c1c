"""Findings on one machine and one host, with the numbers and the corrected line of the machine file.

Owns: the list of themes. Must not: write, or complain about pins that `choose_cpus` would give itself.
"""

from collections.abc import Iterator

from qlaunch.audit import enlightenments, memory, numa, pins, roles, topology
from qlaunch.audit.scene import Scene
from qlaunch.errors import Problem
from qlaunch.host.facts import HostFacts
from qlaunch.machine.model import Machine
from qlaunch.values.cpus import CpuSet

THEMES = (pins, roles, topology, numa, memory, enlightenments)


def audit(
    machine: Machine, facts: HostFacts, *, gpu_node: int | None = None, taken: CpuSet | None = None
) -> Iterator[Problem]:
    """Yield findings. ``machine`` has its pins laid in already; ``taken`` are the CPUs of other running machines."""
    scene = Scene(machine, facts, gpu_node=gpu_node, taken=taken or CpuSet())
    for theme in THEMES:
        yield from theme.findings(scene)
