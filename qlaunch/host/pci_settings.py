"""The settings of one PCI function: BARs, resets, power, SR-IOV, interrupts. See `pci.py` for why these are apart.

Source: the kernel's ``Documentation/ABI/testing/sysfs-bus-pci`` (``resourceN_resize`` since 6.1 is a mask whose bit n
stands for 2^n MiB, ``reset_method`` since 5.15, ``power_state`` since 5.12), ``include/linux/ioport.h`` for the flags.
"""

import msgspec

from qlaunch.host.pci import FOLDER, PciDevice
from qlaunch.host.tree import Tree, whole_number
from qlaunch.values.pci import PciAddress

_IO, _MEMORY, _PREFETCH, _WIDE = 0x100, 0x200, 0x2000, 0x100000
_LAST_BAR = 5
_ROM = 6


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One base address register. Sizes are bytes."""

    index: int
    kind: str
    """``memory`` or ``io``."""
    start: int
    size: int
    prefetchable: bool = False
    wide: bool = False
    """64 bits."""
    sizes: tuple[int, ...] = ()
    """What it can be resized to; empty when it cannot, or the kernel does not say."""


class SrIov(msgspec.Struct, frozen=True, kw_only=True):
    """Virtual functions of a physical function."""

    total: int
    in_use: int
    functions: tuple[PciAddress, ...] = ()
    """The virtual functions there are, by their number."""


class PciSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one function is set to, and can do. None is unknown."""

    address: PciAddress
    revision: str | None = None
    driver_override: str | None = None
    bars: tuple[Bar, ...] = ()
    rom_size: int = 0
    reset_methods: tuple[str, ...] | None = None
    """In the order in which the kernel tries them; None before Linux 5.15."""
    power_state: str | None = None
    """``D0`` to ``D3cold``."""
    runtime_power: str | None = None
    """``on`` or ``auto``."""
    d3cold_allowed: bool | None = None
    sriov: SrIov | None = None
    physical_function: PciAddress | None = None
    """Of a virtual function, whose it is."""
    msi_vectors: tuple[int, ...] = ()
    """The interrupts that are in use as MSI or MSI-X."""
    irq: int | None = None


def read_pci_settings(tree: Tree, device: PciDevice | PciAddress) -> PciSettings:
    """Read the settings of one function."""
    address = device.address if isinstance(device, PciDevice) else device
    folder = f"{FOLDER}/{address}"
    there = set(tree.listdir(folder))
    override = tree.read(f"{folder}/driver_override")
    methods = tree.read(f"{folder}/reset_method") if "reset_method" in there else None
    allowed = tree.number(f"{folder}/d3cold_allowed")
    bars, rom_size = _bars(tree, folder, there)
    return PciSettings(
        address=address,
        revision=(tree.read(f"{folder}/revision") or "").removeprefix("0x") or None,
        # The kernel prints "(null)" where none is set.
        driver_override=None if override in (None, "", "(null)") else override,
        bars=bars,
        rom_size=rom_size,
        reset_methods=None if methods is None else tuple(methods.split()),
        power_state=tree.read(f"{folder}/power_state"),
        runtime_power=tree.read(f"{folder}/power/control"),
        d3cold_allowed=None if allowed is None else allowed == 1,
        sriov=_sriov(tree, folder, there) if "sriov_totalvfs" in there else None,
        physical_function=_linked(tree, f"{folder}/physfn") if "physfn" in there else None,
        msi_vectors=_vectors(tree, folder) if "msi_irqs" in there else (),
        irq=tree.number(f"{folder}/irq"),
    )


def _bars(tree: Tree, folder: str, there: set[str]) -> tuple[tuple[Bar, ...], int]:
    """Read ``resource``: a line of start, end and flags for each BAR, then the ROM."""
    bars: list[Bar] = []
    rom_size = 0
    for index, line in enumerate(tree.lines(f"{folder}/resource")[: _ROM + 1]):
        numbers = [whole_number(word, 16) for word in line.split()]
        if len(numbers) != 3 or None in numbers:
            continue
        start, end, flags = (number or 0 for number in numbers)
        if not flags or end < start:
            continue
        size = end - start + 1
        if index == _ROM:
            rom_size = size
        elif index <= _LAST_BAR:
            sizes = _sizes(tree, f"{folder}/resource{index}_resize") if f"resource{index}_resize" in there else ()
            bars.append(_bar(index, start, size, flags, sizes))
    return tuple(bars), rom_size


def _bar(index: int, start: int, size: int, flags: int, sizes: tuple[int, ...]) -> Bar:
    return Bar(
        index=index,
        kind="io" if flags & _IO and not flags & _MEMORY else "memory",
        start=start,
        size=size,
        prefetchable=bool(flags & _PREFETCH),
        wide=bool(flags & _WIDE),
        sizes=sizes,
    )


def _sizes(tree: Tree, path: str) -> tuple[int, ...]:
    mask = tree.hexadecimal(path) or 0
    return tuple(1 << (20 + bit) for bit in range(min(mask.bit_length(), 44)) if mask >> bit & 1)


def _sriov(tree: Tree, folder: str, there: set[str]) -> SrIov | None:
    total = tree.number(f"{folder}/sriov_totalvfs")
    if total is None:
        return None
    numbers = sorted(number for name in there if (number := whole_number(name.removeprefix("virtfn"))) is not None)
    links = (_linked(tree, f"{folder}/virtfn{number}") for number in numbers)
    return SrIov(
        total=total,
        in_use=tree.number(f"{folder}/sriov_numvfs") or 0,
        functions=tuple(address for address in links if address),
    )


def _linked(tree: Tree, path: str) -> PciAddress | None:
    name = tree.linked_name(path)
    return PciAddress(name) if name else None


def _vectors(tree: Tree, folder: str) -> tuple[int, ...]:
    names = (whole_number(name) for name in tree.listdir(f"{folder}/msi_irqs"))
    return tuple(sorted(number for number in names if number is not None))
