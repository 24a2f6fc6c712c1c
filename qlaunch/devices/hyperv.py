"""``[cpu.hyperv]``: the Hyper-V enlightenments that make Windows a calm guest.

Source: QEMU's ``docs/system/i386/hyperv.rst`` (names, meaning, what each needs), ``target/i386/kvm/kvm.c`` (passthrough
overrides every single flag).
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.section import Section

# Twelve characters, the length of three CPUID registers; a comma would end the value, since -cpu has no escape.
VendorId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=12, pattern=r"^[ -+\--~]+$", description="plain characters, no comma")
]

# In the order in which they are printed.
FLAGS = (
    *("relaxed", "vapic", "vpindex", "runtime", "time", "synic", "stimer", "stimer_direct", "frequencies"),
    *("tlbflush", "tlbflush_ext", "ipi", "xmm_input", "reset", "reenlightenment", "evmcs", "avic", "emsr_bitmap"),
    *("tlbflush_direct", "crash"),
)
# What each flag needs, as QEMU checks it (kvm_hyperv_properties in target/i386/kvm/kvm.c).
NEEDS = {
    "synic": ("vpindex",),
    "stimer": ("synic", "time"),
    "stimer_direct": ("stimer",),
    "tlbflush": ("vpindex",),
    "tlbflush_ext": ("tlbflush",),
    "tlbflush_direct": ("vapic",),
    "ipi": ("vpindex",),
    "evmcs": ("vapic",),
}
_GAMING = frozenset(FLAGS) - {"reset", "reenlightenment", "evmcs", "avic", "emsr_bitmap", "tlbflush_direct", "crash"}
# hyperv.rst: the number of failed spin attempts before the guest tells; libvirt guides use the same.
_SPINLOCK_RETRIES = 8191


class Hyperv(Section, frozen=True, kw_only=True):
    """A preset, and single flags that override it."""

    preset: Literal["none", "gaming", "passthrough"] = "none"
    vendor_id: VendorId | None = None
    spinlocks: Annotated[int, msgspec.Meta(ge=4095, le=0xFFFFFFFF)] | Literal["off"] | None = None
    relaxed: bool | None = None
    vapic: bool | None = None
    vpindex: bool | None = None
    runtime: bool | None = None
    time: bool | None = None
    synic: bool | None = None
    stimer: bool | None = None
    stimer_direct: bool | None = None
    frequencies: bool | None = None
    tlbflush: bool | None = None
    tlbflush_ext: bool | None = None
    ipi: bool | None = None
    xmm_input: bool | None = None
    reset: bool | None = None
    reenlightenment: bool | None = None
    evmcs: bool | None = None
    avic: bool | None = None
    emsr_bitmap: bool | None = None
    tlbflush_direct: bool | None = None
    crash: bool | None = None
    no_nonarch_coresharing: Literal["on", "off", "auto"] | None = None

    def single(self) -> dict[str, bool]:
        """Give the flags that are set one by one."""
        return {name: value for name in FLAGS if (value := getattr(self, name)) is not None}

    def enabled(self) -> frozenset[str]:
        """Name the flags in force: the preset's, with the single ones laid over it."""
        chosen = _GAMING if self.preset == "gaming" else frozenset[str]()
        single = self.single()
        return (chosen | {name for name, on in single.items() if on}) - {name for name, on in single.items() if not on}

    def is_used(self) -> bool:
        """Whether any enlightenment is asked for."""
        return self.preset == "passthrough" or bool(self.enabled() or self.vendor_id or isinstance(self.spinlocks, int))

    def properties(self) -> Iterator[tuple[str, str | bool]]:
        """Yield the properties for ``-cpu``."""
        if self.preset == "passthrough":
            yield "hv-passthrough", True
            return
        enabled = self.enabled()
        yield from ((f"hv-{name.replace('_', '-')}", True) for name in FLAGS if name in enabled)
        retries = self.spinlocks or (_SPINLOCK_RETRIES if self.preset == "gaming" else "off")
        if isinstance(retries, int):
            yield "hv-spinlocks", f"{retries:#x}"
        if self.no_nonarch_coresharing:
            yield "hv-no-nonarch-coresharing", self.no_nonarch_coresharing
        if self.vendor_id:
            yield "hv-vendor-id", self.vendor_id
