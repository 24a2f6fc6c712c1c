"""Whether the guest's memory is on a node that exists, beside its graphics card."""

from collections.abc import Iterator

from qlaunch.audit.scene import Scene, finding
from qlaunch.errors import Problem


def findings(scene: Scene) -> Iterator[Problem]:
    """Yield findings; none on a host that does not tell its nodes."""
    node = scene.machine.memory.node
    if node is None:
        return
    known = sorted(one.node for one in scene.facts.memory.nodes)
    if known and node not in known:
        message = f"there is no node {node} here; this host has node {', '.join(map(str, known))}"
        better = known[0] if scene.gpu_node is None else scene.gpu_node
        yield finding("memory-node-missing", "memory.node", message, f"write node = {better}")
    elif len(known) > 1 and scene.gpu_node is not None and scene.gpu_node != node:
        message = f"the guest's memory is on node {node}, and its graphics card on node {scene.gpu_node}"
        yield finding("memory-away", "memory.node", message, f"write node = {scene.gpu_node}")
