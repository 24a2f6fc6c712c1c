"""The kernel: release, command line, modules and their parameters; and the processor as `/proc/cpuinfo` names it.

Source: the kernel's ``Documentation/admin-guide/kernel-parameters.rst``, ``proc_modules(5)``, ``modules.builtin`` and
``modules.dep`` of kmod (``depmod(8)``).
"""

import re

import msgspec

from qlaunch.host.tree import Tree, whole_number

# Their parameters decide how guests run.
_ASKED = (
    "kvm",
    "kvm_amd",
    "kvm_intel",
    "vfio",
    "vfio_pci",
    "vfio_iommu_type1",
    "vfio_virqfd",
    "nvidia_drm",
    "i915",
    "xe",
)
_RELEASE = re.compile(r"(\d+)\.(\d+)", re.ASCII)
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded module."""

    name: str
    references: int | None = None
    users: tuple[str, ...] = ()
    """The modules that need it."""


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """What the first CPU says of itself."""

    vendor: str | None = None
    """``AuthenticAMD``, ``GenuineIntel``."""
    model: str | None = None
    family: int | None = None
    model_number: int | None = None
    flags: frozenset[str] = frozenset()

    @property
    def virtualization(self) -> str | None:
        """``AMD-V`` or ``VT-x``; None when the CPU has neither, or the firmware hides it."""
        return "AMD-V" if "svm" in self.flags else "VT-x" if "vmx" in self.flags else None


class KernelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The running kernel."""

    release: str | None = None
    version: tuple[int, int] | None = None
    cmdline: tuple[str, ...] = ()
    modules: dict[str, Module] = {}
    parameters: dict[str, dict[str, str]] = {}
    """By module and parameter, of KVM, VFIO and graphics drivers; those that root alone may read are left out."""
    kvm: bool = False
    """Whether /dev/kvm is there."""
    vfio: bool = False
    """Whether /dev/vfio/vfio is there."""
    processor: Processor = Processor()

    def option(self, name: str) -> str | None:
        """Give a command-line option's value, the last one given; empty when it stands alone."""
        for word in reversed(self.cmdline):
            key, _, value = word.partition("=")
            # The kernel takes - and _ in names for the same (parameq in kernel/params.c).
            if key.replace("-", "_") == name.replace("-", "_"):
                return value.strip('"')
        return None


def read_kernel(tree: Tree) -> KernelFacts:
    """Read all of it."""
    release = tree.read("/proc/sys/kernel/osrelease")
    match = _RELEASE.match(release or "")
    return KernelFacts(
        release=release,
        version=(int(match[1]), int(match[2])) if match else None,
        cmdline=tuple(_WORD.findall(tree.read("/proc/cmdline") or "")),
        modules=_modules(tree),
        parameters=_parameters(tree),
        kvm=tree.exists("/dev/kvm"),
        vfio=tree.exists("/dev/vfio/vfio"),
        processor=read_processor(tree),
    )


def read_processor(tree: Tree) -> Processor:
    """Read the first CPU's part; the file grows with every CPU, and is slow to make."""
    facts: dict[str, str] = {}
    for line in (tree.read("/proc/cpuinfo", 8192) or "").splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            break
        facts[name.strip()] = value.strip()
    return Processor(
        vendor=facts.get("vendor_id"),
        model=facts.get("model name"),
        family=whole_number(facts.get("cpu family")),
        model_number=whole_number(facts.get("model")),
        flags=frozenset(facts.get("flags", "").split()),
    )


def find_module(tree: Tree, name: str, release: str | None) -> str | None:
    """Say how a module is to be had: ``loaded``, ``built in``, ``available``, or None."""
    wanted = name.replace("-", "_")
    if tree.exists(f"/sys/module/{wanted}"):
        return "loaded"
    for folder in (f"/lib/modules/{release}", f"/usr/lib/modules/{release}"):
        if _has_line(tree, f"{folder}/modules.builtin", wanted):
            return "built in"
        if _has_line(tree, f"{folder}/modules.dep", wanted):
            return "available"
    return None


def _has_line(tree: Tree, path: str, wanted: str) -> bool:
    """Whether a list of modules has one: ``kernel/drivers/vfio/pci/vfio-pci.ko.zst: …``."""

    def keep(line: str) -> str | None:
        path = line.partition(":")[0]
        return path if path.rpartition("/")[2].partition(".")[0].replace("-", "_") == wanted else None

    return bool(tree.distilled(path, keep))


def _modules(tree: Tree) -> dict[str, Module]:
    modules: dict[str, Module] = {}
    for line in tree.lines("/proc/modules"):
        words = line.split()
        if len(words) >= 4:
            users = tuple(user for user in words[3].split(",") if user not in ("-", ""))
            modules[words[0]] = Module(name=words[0], references=whole_number(words[2]), users=users)
    return modules


def _parameters(tree: Tree) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for module in _ASKED:
        folder = f"/sys/module/{module}/parameters"
        values = {name: value for name in tree.listdir(folder) if (value := tree.read(f"{folder}/{name}")) is not None}
        if values:
            found[module] = values
    return found
