"""What runs beside the vCPUs: QEMU's emulator thread and the iothreads, on cores of the host's."""

from collections.abc import Iterator

from qlaunch.audit.scene import Scene, finding
from qlaunch.errors import Problem
from qlaunch.values.cpus import CpuSet


def findings(scene: Scene) -> Iterator[Problem]:
    """Yield findings; a thread on the very CPU of a vCPU is told when the file is read (``pin-shared``)."""
    if not scene.pins or not scene.cpus:
        return
    emulator = scene.machine.cpu.emulator
    guest = CpuSet(scene.pins)
    if emulator is None:
        message = "the emulator has no CPUs of its own: QEMU's threads run anywhere, on the guest's CPUs too"
        hint = f'write emulator = "{_free(scene, guest)}"'
        yield finding("emulator-unpinned", "cpu.emulator", message, hint, "info")
    else:
        yield from _beside(scene, "cpu.emulator", "the emulator", emulator)
        yield from _not_there(scene, "cpu.emulator", "emulator", emulator)
    for number, thread in enumerate(scene.machine.iothread):
        if thread.pin:
            key = f"iothread.{number}.pin"
            yield from _beside(scene, key, f"iothread {thread.name}", thread.pin)
            yield from _not_there(scene, key, "pin", thread.pin)


def _beside(scene: Scene, key: str, who: str, cpus: CpuSet) -> Iterator[Problem]:
    guest = CpuSet(scene.pins)
    shared = CpuSet((cpus & scene.cores(guest)) - guest)
    if shared:
        victims = CpuSet(scene.cores(shared) & guest)
        message = f"{who} runs on CPU {shared}, on the same cores as the vCPUs on CPU {victims}"
        code = "emulator-core" if key == "cpu.emulator" else "iothread-core"
        yield finding(code, key, message, f'write {key.rpartition(".")[2]} = "{_free(scene, guest)}"')


def _not_there(scene: Scene, key: str, name: str, cpus: CpuSet) -> Iterator[Problem]:
    missing = CpuSet(cpus - set(scene.cpus))
    if missing:
        message = f"CPU {missing} is not online here; the host has {scene.facts.cpus.online}"
        yield finding("pin-offline", key, message, f'write {name} = "{_free(scene, CpuSet(scene.pins))}"', "error")


def _free(scene: Scene, guest: CpuSet) -> CpuSet:
    """Give the lowest whole core that is not the guest's; else what automatic pins would leave to the host."""
    left = CpuSet(set(scene.cpus) - scene.cores(guest) - scene.taken)
    here = CpuSet(cpu for cpu in left if not scene.cpus[cpu].isolated) or left
    return scene.cores(CpuSet([min(here)])) if here else scene.choice.emulator or scene.largest.emulator
