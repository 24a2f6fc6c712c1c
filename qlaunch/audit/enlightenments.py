"""Whether a Windows guest is told what makes it calm, and nothing that this host or another key takes back.

A machine whose clock is local time is taken for Windows: no other guest wants that.
Source: QEMU's ``docs/system/i386/hyperv.rst`` (evmcs is of Intel's VMX; stimer and time replace HPET).
"""

from collections.abc import Iterator

from qlaunch.audit.scene import Scene, finding
from qlaunch.errors import Problem


def findings(scene: Scene) -> Iterator[Problem]:
    """Yield findings; plain emulation has no enlightenments."""
    machine = scene.machine
    if machine.machine.accel == "tcg":
        return
    hyperv, enabled = machine.cpu.hyperv, machine.cpu.hyperv.enabled()
    windows = machine.clock.base == "localtime"
    if windows and not hyperv.is_used():
        message = "the clock is local time, as for Windows, and there are no enlightenments: an idle guest burns CPU"
        yield finding("hyperv-missing", "cpu.hyperv", message, 'write preset = "gaming" in [cpu.hyperv]')
    elif windows and hyperv.preset == "none" and "stimer" not in enabled:
        message = "Windows has no synthetic timer and ticks through emulated ones, about half a CPU for each idle vCPU"
        yield finding("hyperv-stimer", "cpu.hyperv", message, 'write preset = "gaming" in [cpu.hyperv]')
    if "stimer" in enabled and "stimer_direct" not in enabled:
        message = "stimer without stimer_direct is slower than neither under full load"
        yield finding("hyperv-stimer-direct", "cpu.hyperv", message, "write stimer_direct = true")
    if machine.clock.hpet and "time" in enabled:
        message = "an HPET is offered beside the enlightened clock: guests that choose it trap at each reading"
        yield finding("hyperv-hpet", "clock.hpet", message, "write hpet = false")
    if "evmcs" in enabled and scene.facts.kernel.processor.virtualization == "AMD-V":
        message = "evmcs is of Intel's VT-x, and this host has AMD-V: QEMU refuses to start"
        yield finding("hyperv-evmcs", "cpu.hyperv.evmcs", message, "write evmcs = false")
