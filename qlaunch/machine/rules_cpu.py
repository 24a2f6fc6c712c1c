"""Rules of vCPUs, their pins, and what the guest is told about its CPUs.

Source: ``target/i386/kvm/kvm.c`` (what enlightenments need; passthrough overrides every single flag),
``docs/system/i386/hyperv.rst``.
"""

from collections.abc import Iterator

import msgspec

from qlaunch.devices.hyperv import NEEDS, Hyperv
from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import caution, fault, repeated

# Features for which the machine file has a key of its own.
_KEY_OF_FEATURE = {
    "kvm": "cpu.hide_kvm",
    "migratable": "cpu.migratable",
    "host-cache-info": "cpu.host_cache_info",
    "kvm-hint-dedicated": "cpu.dedicated_hint",
    "kvmclock": "clock.kvmclock",
}


def topology_has_the_vcpus(machine: Machine) -> Iterator[Problem]:
    """The number of vCPUs is the product of the topology."""
    cpu = machine.cpu
    if cpu.topology and cpu.vcpus is not None and cpu.topology.vcpus != cpu.vcpus:
        shape = cpu.topology
        product = f"{shape.sockets} x {shape.dies} x {shape.cores} x {shape.threads} = {shape.vcpus}"
        hint = "leave cpu.vcpus out: it follows from the topology"
        yield fault("topology", "cpu.topology", f"has {product} vCPUs, and cpu.vcpus is {cpu.vcpus}", hint)


def each_vcpu_has_a_pin(machine: Machine) -> Iterator[Problem]:
    """A vCPU without a pin would run beside those that have one."""
    pins, vcpus = machine.cpu.pin or (), machine.cpu.shape().vcpus
    if pins and len(pins) != vcpus:
        hint = f"give one CPU for each of the {vcpus} vCPUs, in their order"
        yield fault("pin-count", "cpu.pin", f"names {len(pins)} CPUs for {vcpus} vCPUs", hint)


def pins_differ(machine: Machine) -> Iterator[Problem]:
    """Two vCPUs on one CPU wait for each other."""
    for number, other, cpu in repeated((str(number), cpu) for number, cpu in enumerate(machine.cpu.pin or ())):
        yield fault(
            "pin-twice", "cpu.pin", f"gives CPU {cpu} to vCPU {other} and to vCPU {number}", "give each its own"
        )


def pins_are_not_empty(machine: Machine) -> Iterator[Problem]:
    """An empty CPU set is no place to run."""
    sets = {f"iothread.{number}.pin": thread.pin for number, thread in enumerate(machine.iothread)}
    for key, cpus in {"cpu.emulator": machine.cpu.emulator, **sets}.items():
        if cpus is not None and not cpus:
            yield fault("pin-empty", key, "names no CPU", "leave it out to let the threads run anywhere")


def vcpus_are_left_alone(machine: Machine) -> Iterator[Problem]:
    """QEMU's own threads on a CPU of the guest cost it time when it least expects."""
    taken = frozenset(machine.cpu.pin or ())
    sets = {f"iothread.{number}.pin": thread.pin for number, thread in enumerate(machine.iothread)}
    for key, cpus in {"cpu.emulator": machine.cpu.emulator, **sets}.items():
        if shared := sorted(taken & (cpus or frozenset())):
            names = ", ".join(map(str, shared))
            yield caution(
                "pin-shared",
                key,
                f"takes CPU {names} from the vCPUs that are pinned there",
                "use CPUs that the guest has not",
            )


def emulation_has_no_kvm(machine: Machine) -> Iterator[Problem]:
    """Plain emulation cannot show what only KVM has."""
    if machine.machine.accel != "tcg":
        return
    cpu = machine.cpu
    wrong = {
        "cpu.hyperv": cpu.hyperv.is_used(),
        "cpu.model": cpu.model == "host",
        "cpu.host_cache_info": cpu.host_cache_info,
        "cpu.hide_kvm": cpu.hide_kvm,
        "cpu.dedicated_hint": cpu.dedicated_hint,
        "cpu.power_management": cpu.power_management,
    }
    for key, used in wrong.items():
        if used:
            hint = 'use model = "max"' if key == "cpu.model" else 'take it out, or use machine.accel = "kvm"'
            yield fault("needs-kvm", key, 'needs KVM, and machine.accel is "tcg"', hint)
    for key, timer in (("clock.pit", machine.clock.pit), ("clock.tsc", machine.clock.tsc)):
        if timer:
            yield caution("needs-kvm", key, 'does nothing with machine.accel = "tcg"')


def enlightenments_have_what_they_need(machine: Machine) -> Iterator[Problem]:
    """QEMU refuses an enlightenment without those below it."""
    hyperv = machine.cpu.hyperv
    enabled, single = hyperv.enabled(), hyperv.single()
    if hyperv.preset == "passthrough":
        return
    for flag in sorted(enabled):
        for need in NEEDS.get(flag, ()):
            if need not in enabled:
                key = flag if flag in single else need
                yield fault(
                    "hyperv-needs",
                    f"cpu.hyperv.{key}",
                    f"{flag} needs {need}, which is off",
                    f"set {need} = true, or {flag} = false",
                )


def passthrough_stands_alone(machine: Machine) -> Iterator[Problem]:
    """QEMU lets hv-passthrough override every single flag without a word."""
    hyperv = machine.cpu.hyperv
    if hyperv.preset != "passthrough":
        return
    for field in msgspec.structs.fields(Hyperv):
        if field.name != "preset" and getattr(hyperv, field.name) != field.default:
            hint = 'take it out, or use preset = "gaming"'
            yield fault(
                "hyperv-passthrough", f"cpu.hyperv.{field.name}", 'has no effect beside preset = "passthrough"', hint
            )


def features_are_said_once(machine: Machine) -> Iterator[Problem]:
    """The last of two would win silently."""
    named = [(f"cpu.features.{number}", feature[1:]) for number, feature in enumerate(machine.cpu.features)]
    for key, other, feature in repeated(named):
        first = machine.cpu.features[int(other.rpartition(".")[2])]
        yield fault("feature-twice", key, f'"{feature}" is in the list already, as "{first}"', "keep one of them")


def features_with_a_key_use_it(machine: Machine) -> Iterator[Problem]:
    """What has a key of its own is checked there."""
    for number, feature in enumerate(machine.cpu.features):
        name = feature[1:].replace("_", "-")
        key = "[cpu.hyperv]" if name.startswith("hv-") else _KEY_OF_FEATURE.get(name)
        if key:
            yield fault("feature-key", f"cpu.features.{number}", f'"{feature}" has a key of its own', f"use {key}")


def native_tsc_is_not_taken_away(machine: Machine) -> Iterator[Problem]:
    """clock.tsc is the feature invtsc."""
    if machine.clock.tsc == "native" and "-invtsc" in machine.cpu.features:
        yield fault(
            "tsc",
            "clock.tsc",
            '"native" needs the feature invtsc, which cpu.features takes away',
            "take one of the two out",
        )


def hidden_kvm_gives_no_hints(machine: Machine) -> Iterator[Problem]:
    """The hint stands in the CPUID leaf that hide_kvm takes away."""
    if machine.cpu.hide_kvm and machine.cpu.dedicated_hint:
        yield caution(
            "hint-hidden",
            "cpu.dedicated_hint",
            "is not seen by the guest, since hide_kvm hides KVM",
            "take one of the two out",
        )


RULES = (
    *(topology_has_the_vcpus, each_vcpu_has_a_pin, pins_differ, pins_are_not_empty, vcpus_are_left_alone),
    *(emulation_has_no_kvm, enlightenments_have_what_they_need, passthrough_stands_alone, features_are_said_once),
    *(features_with_a_key_use_it, native_tsc_is_not_taken_away, hidden_kvm_gives_no_hints),
)
