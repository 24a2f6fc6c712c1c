"""What a write to a file of the kernel means: ``echo VALUE > PATH``, and the same by ``tee`` and ``sysctl``.

Owns: the table of paths. An unknown part of a path is any CPU, any interrupt, any console.

Source: the kernel's ``Documentation/ABI/testing/sysfs-bus-pci``, ``Documentation/admin-guide/mm/hugetlbpage.rst``,
``Documentation/admin-guide/pm/cpufreq.rst``, ``Documentation/core-api/irq/irq-affinity.rst``,
``Documentation/admin-guide/sysctl``.
"""

import re

from qlaunch.libvirt.hooks_facts import Fact, always, needless
from qlaunch.libvirt.hooks_words import is_known, shown

_ADDRESS = r"([0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])"
# What a path says by itself; the value of the fact is the text that is written where it is None here.
_PATHS: tuple[tuple[str, str, object], ...] = (
    (r"/sys/class/vtconsole/.+/bind", "host.vtconsoles", "unbind"),
    (r"/sys/bus/platform/drivers/[a-z]+-framebuffer/(un)?bind", "host.vtconsoles", "unbind"),
    (r"/sys/devices/system/cpu/.*cpufreq/.*scaling_governor", "host.governor", None),
    (r"/sys/devices/system/cpu/.*cpufreq/.*energy_performance_preference", "host.energy_preference", None),
    (r"/proc/irq/.+/smp_affinity(_list)?", "host.irq", True),
    (r"/proc/irq/default_smp_affinity", "host.irq", True),
    (r"/sys/fs/cgroup/.*cpuset\.(cpus|mems|cpus\.partition)", "host.shield", True),
    (r"/sys/fs/cgroup/.*(tasks|cgroup\.procs)", "host.shield", True),
)
_PAGES = re.compile(r"/sys/.*hugepages-(\d+)kB/nr_(?:overcommit_)?hugepages")
_SYSCTL = re.compile(r"/proc/sys/([A-Za-z0-9_./-]+)")
_SYSFS = re.compile(r"/sys/[A-Za-z0-9_./:-]+")
_PCI = (
    re.compile(rf"/sys/bus/pci/devices/{_ADDRESS}/(?:driver/(?:un)?bind|driver_override)"),
    re.compile(r"/sys/bus/pci/(?:drivers/[A-Za-z0-9_-]+/(?:un)?bind|drivers_probe)"),
)
_PAGE_NAMES = {"2048": "2M", "1048576": "1G"}
# Written once and without a state to give back: a setting of these would be wrong.
_TRIGGERS = ("/proc/sys/vm/compact_memory", "/proc/sys/vm/drop_caches", "/sys/bus/pci/rescan")
# The number of VFs is a setting, but devices come and go with it.
_ONCE = (
    *("/remove", "/reset", "/rescan", "/unbind", "/bind", "/create", "/delete", "/new_id", "/remove_id", "/uevent"),
    "/sriov_numvfs",
)
# What a script writes there is for people.
_OUTPUT = ("/dev/null", "/dev/tty", "/dev/kmsg", "/dev/stderr", "/var/log/")


def written(path: str, value: str) -> tuple[Fact, ...] | None:
    """Say what it means to write a value to a path. None when that is not known."""
    if path.startswith(_OUTPUT):
        return needless()
    for pattern, key, told in _PATHS:
        if re.fullmatch(pattern, path):
            known = is_known(value) and bool(value)
            return always(key, value if told is None else told) if known or told is not None else None
    if path == "/proc/sys/vm/nr_hugepages":
        return always("memory.hugepages", "2M")
    if match := _PAGES.fullmatch(path):
        return always("memory.hugepages", _PAGE_NAMES[match[1]]) if match[1] in _PAGE_NAMES else None
    if pci := _pci(path, value):
        return pci
    return _setting(path, value)


def _setting(path: str, value: str) -> tuple[Fact, ...] | None:
    """Any other file of the kernel, if its path and value are plain, and it is a setting that can be given back."""
    once = path in _TRIGGERS or path.endswith(_ONCE)
    if once or not is_known(path + value) or ".." in path:
        return None
    if match := _SYSCTL.fullmatch(path):
        name = match[1].strip("/").replace("/", ".")
        return always("host.sysctl", (name, value), name)
    if _SYSFS.fullmatch(path):
        return always("host.sysfs", (path, value), path)
    return None


def _pci(path: str, value: str) -> tuple[Fact, ...] | None:
    if match := _PCI[0].fullmatch(path):
        return always("pci", match[1], match[1])
    text = value.strip()
    if _PCI[1].fullmatch(path) and re.fullmatch(_ADDRESS, text):
        return always("pci", text, text)
    if re.fullmatch(r"/sys/bus/pci/drivers/vfio-pci/(new_id|remove_id)", shown(path)):
        return needless("qlaunch binds a function to vfio-pci by its address")
    return None
