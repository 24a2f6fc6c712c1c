"""IOMMU groups, and why there are none.

Source: the kernel's ``Documentation/ABI/testing/sysfs-kernel-iommu_groups`` and ``Documentation/driver-api/vfio.rst``;
``/sys/class/iommu`` names the units (``dmar0`` of Intel, ``ivhd0`` of AMD); the ACPI tables are DMAR and IVRS.
"""

import msgspec

from qlaunch.host.bootloader import command_line_place
from qlaunch.host.tree import Tree, whole_number

_GROUPS = "/sys/kernel/iommu_groups"
_TABLES = "/sys/firmware/acpi/tables"

_UNUSED = {
    "DMAR": ("Intel", "add intel_iommu=on iommu=pt to {place}"),
    "IVRS": ("AMD", "look for AMD-Vi in the kernel's log (dmesg)"),
}
_UNDESCRIBED = (
    "the firmware describes no IOMMU (neither a DMAR nor an IVRS table)",
    "switch VT-d, AMD-Vi or IOMMU on in the firmware setup",
)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One IOMMU group: what goes to a guest together, or not at all."""

    id: int
    type: str | None = None
    """``DMA``, ``DMA-FQ`` (translated), ``identity`` (passed through), or what a driver set."""
    devices: tuple[str, ...] = ()
    """PCI addresses, and the names of the few devices that are not PCI."""
    no_iommu: bool = False
    """Whether the group is VFIO's stand-in that protects nothing."""


class IommuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The groups in order; where there are none, ``absence`` says why in a sentence, and ``hint`` what to do."""

    groups: tuple[Group, ...] = ()
    units: tuple[str, ...] = ()
    table: str | None = None
    """``DMAR``, ``IVRS``, or None when the firmware describes no IOMMU."""
    absence: str | None = None
    hint: str = ""

    @property
    def enabled(self) -> bool:
        """Whether devices can be given to guests, and are kept to their own memory."""
        return any(not group.no_iommu for group in self.groups)


def read_iommu(tree: Tree) -> IommuFacts:
    """Read the groups."""
    names = tree.names(_GROUPS)
    numbers = sorted(number for name in names or () if (number := whole_number(name)) is not None)
    groups = tuple(_group(tree, number) for number in numbers)
    units = tuple(tree.listdir("/sys/class/iommu"))
    tables = tree.names(_TABLES)
    table = next((name for name in ("DMAR", "IVRS") if name in (tables or ())), None)
    facts = IommuFacts(groups=groups, units=units, table=table)
    if facts.enabled:
        return facts
    absence, hint = _why_not(tree, names, tables, table)
    return msgspec.structs.replace(facts, absence=absence, hint=hint)


def _group(tree: Tree, number: int) -> Group:
    folder = f"{_GROUPS}/{number}"
    return Group(
        id=number,
        type=tree.read(f"{folder}/type"),
        devices=tuple(tree.listdir(f"{folder}/devices")),
        no_iommu=tree.read(f"{folder}/name") == "vfio-noiommu",
    )


def _why_not(tree: Tree, names: list[str] | None, tables: list[str] | None, table: str | None) -> tuple[str, str]:
    """Give the most likely reason and the remedy, from what is certain to what is a guess."""
    if not tree.exists("/sys/devices/system/cpu"):
        return "/sys has no devices here: this is a container", "run qlaunch on the host itself"
    words = (tree.read("/proc/cmdline") or "").split()
    # The last of a repeated option counts.
    for word in reversed(words):
        option, _, value = word.partition("=")
        if option in ("iommu", "intel_iommu", "amd_iommu") and "off" in value.split(","):
            return (
                f"the kernel command line switches the IOMMU off ({word})",
                f"remove {word} from {command_line_place(tree)}",
            )
    if table:
        maker, remedy = _UNUSED[table]
        return f"the firmware describes {maker}'s IOMMU ({table}), and the kernel does not use it", remedy.format(
            place=command_line_place(tree)
        )
    if names is None:
        return "this kernel is built without IOMMU support", "boot a kernel with CONFIG_IOMMU_SUPPORT"
    if tables is None:
        return "there are no groups, and no ACPI tables that would tell why", "look for IOMMU in the kernel's log"
    return _UNDESCRIBED
