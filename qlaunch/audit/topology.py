"""Whether what the guest believes of its CPUs agrees with where they run."""

from collections.abc import Iterator

from qlaunch.audit.scene import Scene, finding, shape_line
from qlaunch.errors import Problem


def findings(scene: Scene) -> Iterator[Problem]:
    """Yield findings. A topology that does not multiply to the vCPU count is refused when the file is read."""
    yield from _too_many(scene)
    yield from _hidden_threads(scene)
    yield from _topoext(scene)


def _too_many(scene: Scene) -> Iterator[Problem]:
    vcpus = scene.machine.cpu.shape().vcpus
    if vcpus < 2 or scene.machine.machine.accel == "tcg":
        return
    online = len(scene.facts.tree.cpus("/sys/devices/system/cpu/online") or ())
    if 0 < online < vcpus:
        hint = f"write {shape_line(scene.largest)}" if scene.largest.pins else f"write vcpus = {online}"
        yield finding("vcpus-too-many", "cpu.topology", f"{vcpus} vCPUs on a host of {online} CPUs", hint)


def _hidden_threads(scene: Scene) -> Iterator[Problem]:
    shape, pins = scene.machine.cpu.shape(), set(scene.pins)
    if shape.threads > 1 or not pins:
        return
    both = [cpu.cpu for cpu in scene.placed if len(pins & set(cpu.siblings)) > 1]
    if both:
        message = (
            f"the guest has {shape.vcpus} cores of one thread, and {len(both)} of them are only half a core of the host"
        )
        hint = f"write {shape_line(scene.largest)}"
        if len(both) == len(scene.pins) and shape.vcpus % 2 == 0:
            cores = shape.vcpus // 2
            hint = f"write topology = {{ cores = {cores}, threads = 2 }}, with siblings next to each other in cpu.pin"
        yield finding("topology-threads", "cpu.topology", message, hint)


def _topoext(scene: Scene) -> Iterator[Problem]:
    """A guest of model host gets topoext only when told to: target/i386/cpu.c, no_autoenable_flags."""
    cpu = scene.machine.cpu
    if cpu.shape().threads < 2 or scene.machine.machine.accel == "tcg" or cpu.model not in (None, "host", "max"):
        return
    if "+topoext" in cpu.features or "topoext" not in scene.facts.kernel.processor.flags:
        return
    features = ", ".join(f'"{one}"' for one in ("+topoext", *(one for one in cpu.features if one[1:] != "topoext")))
    message = f"{cpu.shape().threads} threads a core are not seen by a guest on an AMD CPU without the feature topoext"
    yield finding("topoext", "cpu.features", message, f"write features = [{features}]")
