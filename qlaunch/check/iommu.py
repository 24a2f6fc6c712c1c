"""The IOMMU, the groups of the wanted devices, and vfio-pci.

Source: the kernel's ``Documentation/driver-api/vfio.rst``: a group is viable when each of its functions, bridges apart,
has no driver or one of VFIO's.
"""

from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.errors import Severity
from qlaunch.host.kernel import find_module

TITLE = "IOMMU and VFIO"


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks; a machine that takes no device of the host needs none of it."""
    if question.machine and not question.passes_devices:
        return
    needed = question.passes_devices
    yield from _iommu(question, needed=needed)
    yield from _groups(question)
    yield _vfio(question, needed=needed)
    yield from _backend(question)


def _iommu(question: Question, *, needed: bool) -> Iterator[Check]:
    iommu = question.facts.iommu
    if iommu.enabled:
        modes = sorted({group.type or "of unknown mode" for group in iommu.groups})
        yield passed("iommu", f"the IOMMU is on: {_count(len(iommu.groups), 'group')}, {', '.join(modes)}")
        return
    message = f"no IOMMU: {iommu.absence or 'the kernel made no groups'}"
    yield failed("iommu", message, iommu.hint, _how_bad(needed=needed))


def _how_bad(*, needed: bool) -> Severity:
    return "error" if needed else "warning"


def _groups(question: Question) -> Iterator[Check]:
    wanted = {device.address for device in question.wanted}
    for number in dict.fromkeys(device.group for device in question.wanted):
        if number is None:
            continue
        members = [device for device in question.facts.pci.group(number) if not device.bridge]
        strangers = [device for device in members if device.address not in wanted]
        held = [device for device in strangers if device.driver and not device.driver.startswith("vfio")]
        if held:
            names = ", ".join(f"{question.name(device)} of {device.driver}" for device in held)
            hint = "pass them too, or move the card to another slot; some boards split groups in their firmware (ACS)"
            yield failed("group", f"group {number} is shared with {names}", hint)
        else:
            yield passed(
                "group", f"group {number} is viable: {_count(len(members), 'function')}, no stranger with a driver"
            )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _vfio(question: Question, *, needed: bool) -> Check:
    kernel = question.facts.kernel
    how = find_module(question.facts.tree, "vfio_pci", kernel.release)
    if how is None and "vfio_pci" in kernel.modules:
        how = "loaded"
    if how:
        return passed("vfio-pci", f"vfio-pci is {how}")
    if not any(question.facts.tree.exists(f"{folder}/{kernel.release}") for folder in _MODULES):
        return unknown("vfio-pci", "vfio-pci is not loaded, and the modules of this kernel are not to be seen")
    message = f"kernel {kernel.release} has no vfio-pci"
    return failed("vfio-pci", message, "boot a kernel with CONFIG_VFIO_PCI", _how_bad(needed=needed))


def _backend(question: Question) -> Iterator[Check]:
    """Say by which of the two ways devices are handed over, and why; what a machine lacks for it, its plan tells."""
    vfio = question.facts.vfio
    wanted = question.machine.host.iommu_backend if question.machine else "auto"
    if wanted != "auto":
        has = vfio.iommufd if wanted == "iommufd" else vfio.container
        if has is not False:
            yield passed("iommu-backend", f"devices are handed over by {_WAYS[wanted]}, as host.iommu_backend says")
    elif vfio.container:
        beside = "; this kernel has iommufd, too" if vfio.iommufd else ""
        yield passed("iommu-backend", f"devices are handed over by {_WAYS['container']}{beside}")
    elif vfio.iommufd:
        yield passed("iommu-backend", "devices are handed over by iommufd: this kernel has no VFIO container")


_WAYS = {"container": "their IOMMU groups (VFIO container)", "iommufd": "iommufd"}
_MODULES = ("/lib/modules", "/usr/lib/modules")
