"""Rules of the guest's memory.

Source: ``backends/hostmem.c`` (a size must be a multiple of the page), ``hw/misc/ivshmem.c`` (a power of two),
``hw/vfio/common.c`` (no balloon beside VFIO), the kernel's ``Documentation/admin-guide/mm/transhuge.rst``.
"""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import caution, fault
from qlaunch.values.size import Size

_MIB = 1 << 20


def hugepages_have_a_size(machine: Machine) -> Iterator[Problem]:
    """The host has pools of several sizes."""
    if machine.memory.hugepages is True:
        yield fault(
            "hugepages",
            "memory.hugepages",
            "true does not say which pages",
            'write "2M" or "1G", or "thp" for transparent ones',
        )


def size_is_whole_pages(machine: Machine) -> Iterator[Problem]:
    """QEMU rounds nothing here; it fails."""
    size, page = machine.memory.size, machine.memory.page_bytes or _MIB
    if size < _MIB:
        yield fault("memory-size", "memory.size", f"{size} is less than 1M", 'write "512M" or "16G", for example')
    elif size % page:
        what = f"hugepages of {Size(page)}" if machine.memory.page_bytes else "1M"
        yield fault(
            "memory-size",
            "memory.size",
            f"{size} is not a multiple of {what}",
            f"the next one is {Size(size + page - size % page)}",
        )


def shares_see_the_memory(machine: Machine) -> Iterator[Problem]:
    """Virtiofsd reads and writes the guest's memory; QEMU does not check that it can."""
    for number, share in enumerate(machine.share):
        if share.type == "virtiofs" and machine.memory.shared is False:
            hint = 'leave memory.shared out, or use type = "9p"'
            yield fault(
                "unshared-memory", f"share.{number}", "virtiofs needs shared memory, and memory.shared is false", hint
            )


def thp_is_for_private_memory(machine: Machine) -> Iterator[Problem]:
    """Shared memory follows another switch of the host, which is off by default (shmem_enabled)."""
    memory = machine.memory
    if memory.hugepages == "thp" and (memory.shared or any(share.type == "virtiofs" for share in machine.share)):
        hint = 'use hugepages = "2M", or memory that is not shared'
        yield caution(
            "thp-shared",
            "memory.hugepages",
            "the host makes no transparent huge pages for shared memory unless told to",
            hint,
        )


def prealloc_threads_have_work(machine: Machine) -> Iterator[Problem]:
    """Without preallocation there is nothing to do for them."""
    memory = machine.memory
    prealloc = bool(memory.page_bytes) if memory.prealloc is None else memory.prealloc
    if memory.prealloc_threads and not prealloc:
        yield caution("prealloc", "memory.prealloc_threads", "does nothing without memory.prealloc = true")


def balloon_can_give_back(machine: Machine) -> Iterator[Problem]:
    """Passed-through devices pin all memory, and locked or huge pages do not go back."""
    if not machine.memory.balloon:
        return
    vf = any(card.type == "vf" for card in machine.network)
    reasons = {
        "passed-through devices": machine.pci or vf,
        "hugepages": machine.memory.page_bytes,
        "memory.lock": machine.memory.lock,
    }
    for reason, present in reasons.items():
        if present:
            yield caution("balloon", "memory.balloon", f"gives nothing back beside {reason}", "take one of the two out")


def looking_glass_is_a_power_of_two(machine: Machine) -> Iterator[Problem]:
    """It becomes a PCI BAR."""
    size = machine.display.looking_glass
    if size is not None and (size < 2 * _MIB or size & (size - 1)):
        hint = "32M is enough for 1920x1080, 64M for 2560x1440, 128M for 3840x2160"
        yield fault("looking-glass", "display.looking_glass", f"{size} is not a power of two of at least 2M", hint)


def mmio_window_is_whole(machine: Machine) -> Iterator[Problem]:
    """The window is written in MiB, for OVMF to read."""
    size = machine.memory.mmio64
    if size is None:
        return
    if machine.firmware.type == "bios":
        yield fault(
            "mmio64",
            "memory.mmio64",
            'is read by UEFI firmware, and firmware.type is "bios"',
            "take one of the two out",
        )
    elif size < _MIB or size % _MIB:
        yield fault("mmio64", "memory.mmio64", f"{size} is not a multiple of 1M", 'write "64G", for example')


RULES = (
    *(hugepages_have_a_size, size_is_whole_pages, shares_see_the_memory, thp_is_for_private_memory),
    *(prealloc_threads_have_work, balloon_can_give_back, looking_glass_is_a_power_of_two, mmio_window_is_whole),
)
