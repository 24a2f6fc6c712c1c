"""What was found on this host for one machine: QEMU, firmware, accelerator, files. Reads only, changes nothing.

A thing that is missing becomes a problem, and the nearest sensible value takes its place, so that `argv` and `plan`
always answer.
"""

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from qlaunch.capability import DRIVERS
from qlaunch.devices.site import FirmwareFiles
from qlaunch.errors import HostError, Problem, QemuError
from qlaunch.host.accel import try_kvm
from qlaunch.host.cpus import CpuFacts
from qlaunch.host.dmi import read_smbios
from qlaunch.host.facts import HostFacts
from qlaunch.host.firmware import find_firmware
from qlaunch.host.folders import Folders
from qlaunch.host.qemu import QemuFacts, read_qemu_facts
from qlaunch.host.tree import Tree
from qlaunch.machine.model import Machine
from qlaunch.values.cpus import CpuSet
from qlaunch.values.pci import PciAddress

if TYPE_CHECKING:
    from qlaunch.host.captured import Captured

# Assumed where QEMU is not installed: the floor.
_ASSUMED_VERSION = (7, 2)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of the host that one machine depends on."""

    runtime: str
    state: str
    qemu: QemuFacts | None = None
    version: tuple[int, int] = _ASSUMED_VERSION
    machine_type: str = "q35"
    accel: Literal["kvm", "tcg"] = "kvm"
    firmware: FirmwareFiles | None = None
    smbios: dict[int, dict[str, str]] = {}
    slot_functions: dict[str, tuple[int, ...]] = {}
    iommufd: bool = False  # whether VFIO devices are had by iommufd
    online: CpuSet = CpuSet()
    cpus: CpuFacts = CpuFacts()  # read only where pins are to be chosen
    gpu_node: int | None = None
    facts: HostFacts | None = None
    problems: list[Problem] = []


def look(name: str, machine: Machine, folders: Folders, facts: HostFacts | None = None) -> Found:
    """Look at the host, as far as this machine is concerned; the facts may be of a captured one. Raises HostError."""
    problems: list[Problem] = []
    host = facts or HostFacts()
    tree = host.tree
    told = _told(tree)
    folders = (told and told.folders) or folders
    runtime, state = folders.of(name)
    qemu = _qemu(machine, folders, told, problems)
    machine_type = _machine_type(machine, qemu, tree.read(f"{state}/machine-type", 256) or "", problems)
    _files(machine, tree, told, problems)
    if told and told.version and name not in told.machines:
        message = f"{tree.root} was captured without {name}: what else its file names was not looked for there"
        problems.append(Problem(code="captured-without", severity="info", message=message))
    return Found(
        runtime=runtime,
        state=state,
        qemu=qemu,
        version=qemu.version[:2] if qemu else _ASSUMED_VERSION,
        machine_type=machine_type,
        accel=_accel(machine, qemu, folders, told, problems),
        firmware=_firmware(machine, machine_type, state, tree, problems),
        smbios=read_smbios(tree) if machine.firmware.smbios == "host" else {},
        slot_functions={pci.host.slot: _functions(host, pci.host) for pci in machine.pci},
        iommufd=by_iommufd(machine, host, problems),
        online=tree.cpus("/sys/devices/system/cpu/online") or CpuSet(),
        cpus=host.cpus if machine.cpu.pin is not None and machine.cpu.pin.auto else CpuFacts(),
        gpu_node=_gpu_node(host, machine),
        facts=host,
        problems=problems,
    )


def _told(tree: Tree) -> "Captured | None":
    """Give what a captured tree tells beside its files; None on the running computer."""
    if tree.live:
        return None
    from qlaunch.host.captured import read_captured  # noqa: PLC0415 - for --host-root alone

    return read_captured(tree)


def _qemu(machine: Machine, folders: Folders, told: "Captured | None", problems: list[Problem]) -> QemuFacts | None:
    if told and machine.qemu.binary in told.qemu:
        return told.qemu[machine.qemu.binary]
    try:
        return read_qemu_facts(machine.qemu.binary, DRIVERS, folders.cache)
    except (QemuError, HostError) as error:
        problems.append(Problem(code="qemu-missing", message=error.message, hint=error.hint, key="qemu.binary"))
        return None


def _machine_type(machine: Machine, qemu: QemuFacts | None, kept: str, problems: list[Problem]) -> str:
    """Give the versioned type: the one of the first start, for Windows takes a newer one for another computer."""
    wanted = machine.machine.type
    if qemu is None:
        return wanted
    if kept in qemu.machines and kept.startswith({"q35": "pc-q35-", "pc": "pc-i440fx-"}.get(wanted, "-")):
        return kept
    try:
        return qemu.resolve_machine(wanted)
    except QemuError as error:
        problems.append(Problem(code="machine-type", message=error.message, hint=error.hint, key="machine.type"))
        return wanted


def _accel(
    machine: Machine, qemu: QemuFacts | None, folders: Folders, told: "Captured | None", problems: list[Problem]
) -> Literal["kvm", "tcg"]:
    wanted = machine.machine.accel
    if wanted != "auto" or qemu is None:
        return "tcg" if wanted == "tcg" else "kvm"
    trial = told.kvm.get(qemu.path) if told else try_kvm(qemu.path, folders.cache)
    if trial is None:
        # Nobody tried it there: as for a machine that names no accelerator.
        return "kvm"
    if trial.works:
        return "kvm"
    message = f"KVM cannot run a guest here ({trial.reason}); plain emulation is used instead, many times slower"
    problems.append(Problem(code="kvm-unusable", severity="info", message=message, key="machine.accel"))
    return "tcg"


def _firmware(
    machine: Machine, machine_type: str, state: str, tree: Tree, problems: list[Problem]
) -> FirmwareFiles | None:
    wanted = machine.firmware
    if wanted.type == "bios":
        return None
    own_vars = wanted.vars or f"{state}/VARS.fd"
    if wanted.code and wanted.vars_template:
        for key, path in (("code", wanted.code), ("vars_template", wanted.vars_template)):
            _must_exist(tree, path, f"firmware.{key}", "firmware-missing", problems)
        return FirmwareFiles(
            code=wanted.code, vars=own_vars, vars_template=wanted.vars_template, needs_smm=wanted.secure_boot
        )
    try:
        pair = find_firmware(machine_type, secure_boot=wanted.secure_boot, tree=tree)
    except HostError as error:
        problems.append(Problem(code="firmware-missing", message=error.message, hint=error.hint, key="firmware"))
        return FirmwareFiles(code="OVMF_CODE.fd", vars=own_vars, vars_template="OVMF_VARS.fd")
    return FirmwareFiles(
        code=pair.code,
        vars=own_vars,
        vars_template=pair.vars_template,
        code_format=pair.code_format,
        vars_format=pair.vars_format,
        needs_smm=pair.needs_smm,
    )


def _files(machine: Machine, tree: Tree, told: "Captured | None", problems: list[Problem]) -> None:
    wanted = [(f"disk.{index}.path", disk.path or "", "disk-missing") for index, disk in enumerate(machine.disk)]
    wanted += [("boot.kernel", machine.boot.kernel or "", "file-missing")]
    wanted += [("boot.initrd", machine.boot.initrd or "", "file-missing")]
    for key, path, code in wanted:
        if path and (told is None or told.tells_of(os.path.abspath(path))):
            _must_exist(tree, path, key, code, problems)


def _must_exist(tree: Tree, path: str, key: str, code: str, problems: list[Problem]) -> None:
    if not tree.exists(os.path.abspath(path)):
        problems.append(
            Problem(code=code, message=f"{path} does not exist", key=key, hint="make it, or correct the path")
        )


def _functions(host: HostFacts, slot: PciAddress) -> tuple[int, ...]:
    found = (device.address.function for device in host.pci.slot(slot))
    return tuple(sorted(number for number in found if number is not None))


def by_iommufd(machine: Machine, host: HostFacts, problems: list[Problem]) -> bool:
    """Choose how VFIO devices are had: by what the file says, or else by groups, as every kernel and QEMU can.

    A kernel without those leaves iommufd. Of a kernel that cannot be looked at the best is hoped.
    """
    wanted = machine.host.iommu_backend
    if not machine.passes_devices:
        return wanted == "iommufd"
    kernel = f"the kernel {host.vfio.release}".rstrip()
    if wanted == "iommufd" and host.vfio.iommufd is False:
        message = f"{kernel} has no iommufd for VFIO devices"
        hint = 'boot one with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV, or write iommu_backend = "container"'
        problems.append(Problem(code="no-iommufd", key="host.iommu_backend", message=message, hint=hint))
    if wanted == "container" and host.vfio.container is False:
        hint = 'boot one with CONFIG_VFIO_CONTAINER, or write iommu_backend = "iommufd"'
        message = f"{kernel} has no VFIO container"
        problems.append(Problem(code="no-container", key="host.iommu_backend", message=message, hint=hint))
    if wanted != "auto" or host.vfio.container is not False or not host.vfio.iommufd:
        return wanted == "iommufd"
    message = f"{kernel} has no VFIO container: devices are handed over by iommufd"
    problems.append(Problem(code="iommufd", severity="info", key="host.iommu_backend", message=message))
    return True


def _gpu_node(host: HostFacts, machine: Machine) -> int | None:
    """Give the node of the first graphics card that is passed through: its guest belongs beside it."""
    passed = (device for pci in machine.pci for device in host.pci.slot(pci.host))
    return next((device.node for device in passed if device.display and device.node is not None), None)
