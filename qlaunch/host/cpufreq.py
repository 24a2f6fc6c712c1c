"""How fast each CPU may go, and who decides it.

Source: the kernel's ``Documentation/admin-guide/pm/cpufreq.rst``, ``intel_pstate.rst`` and ``amd-pstate.rst``
beside it, and ``Documentation/admin-guide/acpi/cppc_sysfs.rst``.
"""

import msgspec

from qlaunch.host.tree import Tree

_ROOT = "/sys/devices/system/cpu"


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Frequencies in kHz, and the performance figures of ACPI's CPPC, which have no unit."""

    driver: str | None = None
    governor: str | None = None
    max_khz: int | None = None
    min_khz: int | None = None
    highest_perf: int | None = None
    nominal_perf: int | None = None


def read_rates(tree: Tree, cpu: int) -> Rates:
    """Read one CPU's; a guest, and a kernel without cpufreq, have none."""
    folder = f"{_ROOT}/cpu{cpu}"
    highest = tree.number(f"{folder}/acpi_cppc/highest_perf")
    nominal = tree.number(f"{folder}/acpi_cppc/nominal_perf")
    driver = tree.read(f"{folder}/cpufreq/scaling_driver")
    if driver is None:
        return Rates(highest_perf=highest, nominal_perf=nominal)
    return Rates(
        driver=driver,
        governor=tree.read(f"{folder}/cpufreq/scaling_governor"),
        max_khz=tree.number(f"{folder}/cpufreq/cpuinfo_max_freq"),
        min_khz=tree.number(f"{folder}/cpufreq/cpuinfo_min_freq"),
        highest_perf=highest,
        nominal_perf=nominal,
    )


def read_boost(tree: Tree) -> bool | None:
    """Whether CPUs may go beyond their base frequency."""
    # intel_pstate says the opposite of what acpi-cpufreq and amd-pstate say.
    if (off := tree.number(f"{_ROOT}/intel_pstate/no_turbo")) is not None:
        return off == 0
    on = tree.number(f"{_ROOT}/cpufreq/boost")
    return None if on is None else on == 1
