"""``[cpu]``: model, features, topology, and which host CPUs its threads run on.

Source: ``target/i386/cpu.c`` and ``target/i386/kvm/kvm.c`` (kvm, migratable, host-cache-info), ``qemu-options.hx``
(-smp). ``-cpu`` has no escape for a comma, so no text of the machine file that holds one may reach it.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, keyval
from qlaunch.devices.hyperv import Hyperv
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.cpus import CpuSet, PinList

Count = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Plain = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]+$", description="letters, digits, '.', '_' and '-'")]
Feature = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[+-][A-Za-z0-9._-]+$", description="'+' or '-' and the name of a CPU feature, as in '+invtsc'"
    ),
]
SchedulerText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(fifo|rr):[1-9][0-9]?$", description="'fifo' or 'rr', and a priority of 1 to 99, as in 'fifo:1'"
    ),
]

# Models that show the host's own CPU; only they know migratable and host-cache-info (target/i386/cpu.c, max_x86_cpu).
_HOST_MODELS = ("host", "max")


class Topology(Section, frozen=True, kw_only=True):
    """How the vCPUs are grouped; their number is the product."""

    sockets: Count = 1
    dies: Count = 1
    cores: Count = 1
    threads: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1

    @property
    def vcpus(self) -> int:
        """The number of vCPUs."""
        return self.sockets * self.dies * self.cores * self.threads


class Cpu(Section, frozen=True, kw_only=True):
    """The guest's CPUs and their threads on the host."""

    model: Plain | None = None  # host under KVM, max under TCG
    vcpus: Count | None = None
    topology: Topology | None = None
    pin: PinList | None = None
    pin_shared: bool = False
    emulator: CpuSet | None = None
    features: list[Feature] = []
    migratable: bool = False
    host_cache_info: bool = False
    physical_bits: Annotated[int, msgspec.Meta(ge=32, le=64)] | Literal["host"] | None = None
    hide_kvm: bool = False
    dedicated_hint: bool = False
    power_management: bool = False
    scheduler: SchedulerText | None = None
    hyperv: Hyperv = Hyperv()

    def shape(self) -> Topology:
        """Give the topology: as written, or one socket with a core for each vCPU."""
        return self.topology or Topology(cores=self.vcpus or len(self.pin or ()) or 1)

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield -cpu and -smp."""
        del index
        shape = self.shape()
        model = self.model_under(site.accel)
        yield keyval("cpu", model, **dict(self._properties(site, model)))
        # All four levels are always printed: what a bare number means differs between machine versions.
        yield keyval(
            "smp", str(shape.vcpus), sockets=shape.sockets, dies=shape.dies, cores=shape.cores, threads=shape.threads
        )
        if self.power_management:
            yield keyval("overcommit", **{"cpu-pm": True})

    def model_under(self, accel: str) -> str:
        """Give QEMU's name of the model; TCG has no host CPU to show, its nearest is ``max``."""
        if accel == "kvm":
            return self.model or "host"
        return "max" if self.model in (None, "host") else str(self.model)

    def _properties(self, site: Site, model: str) -> Iterator[tuple[str, str | bool]]:
        if model in _HOST_MODELS and site.accel == "kvm":
            yield "migratable", self.migratable
            if self.host_cache_info:
                # l3-cache would be QEMU's invented cache beside the host's own.
                yield "host-cache-info", True
                yield "l3-cache", False
        if self.physical_bits == "host":
            yield "host-phys-bits", True
        elif self.physical_bits:
            yield "host-phys-bits", False
            yield "phys-bits", str(self.physical_bits)
        for feature in self.features:
            yield feature[1:], feature[0] == "+"
        if self.hide_kvm:
            yield "kvm", False
        if self.dedicated_hint:
            yield "kvm-hint-dedicated", True
        if site.accel == "kvm":
            # TCG has no enlightenments; QEMU 7.2 dies on some of them there, and 10.0 ignores them.
            yield from self.hyperv.properties()
