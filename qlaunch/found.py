"""What was found on this host for one machine: QEMU, firmware, accelerator, files. Reads only, changes nothing.

A thing that is missing becomes a problem, and the nearest sensible value takes its place, so that `argv` and `plan`
always answer.
"""

import os
from typing import Literal

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
    online: CpuSet = CpuSet()
    cpus: CpuFacts = CpuFacts()  # read only where pins are to be chosen
    gpu_node: int | None = None
    problems: list[Problem] = []


def look(name: str, machine: Machine, folders: Folders, root: str = "/") -> Found:
    """Look at the host, as far as this machine is concerned. ``root`` may be a captured tree."""
    problems: list[Problem] = []
    host = HostFacts(Tree(root))
    runtime, state = folders.of(name)
    qemu = _qemu(machine, folders, problems)
    machine_type = _machine_type(machine, qemu, state, problems)
    _files(machine, problems)
    return Found(
        runtime=runtime,
        state=state,
        qemu=qemu,
        version=qemu.version[:2] if qemu else _ASSUMED_VERSION,
        machine_type=machine_type,
        accel=_accel(machine, qemu, folders, problems),
        firmware=_firmware(machine, machine_type, state, root, problems),
        smbios=read_smbios(root) if machine.firmware.smbios == "host" else {},
        slot_functions={pci.host.slot: _functions(host, pci.host) for pci in machine.pci},
        online=host.tree.cpus("/sys/devices/system/cpu/online") or CpuSet(),
        cpus=host.cpus if machine.cpu.pin is not None and machine.cpu.pin.auto else CpuFacts(),
        gpu_node=_gpu_node(host, machine),
        problems=problems,
    )


def _qemu(machine: Machine, folders: Folders, problems: list[Problem]) -> QemuFacts | None:
    try:
        return read_qemu_facts(machine.qemu.binary, DRIVERS, folders.cache)
    except (QemuError, HostError) as error:
        problems.append(Problem(code="qemu-missing", message=error.message, hint=error.hint, key="qemu.binary"))
        return None


def _machine_type(machine: Machine, qemu: QemuFacts | None, state: str, problems: list[Problem]) -> str:
    """Give the versioned type: the one of the first start, for Windows takes a newer one for another computer."""
    wanted = machine.machine.type
    if qemu is None:
        return wanted
    kept = _kept_machine_type(state)
    if kept in qemu.machines and kept.startswith({"q35": "pc-q35-", "pc": "pc-i440fx-"}.get(wanted, "-")):
        return kept
    try:
        return qemu.resolve_machine(wanted)
    except QemuError as error:
        problems.append(Problem(code="machine-type", message=error.message, hint=error.hint, key="machine.type"))
        return wanted


def _kept_machine_type(state: str) -> str:
    try:
        with open(f"{state}/machine-type", encoding="utf-8", errors="replace") as file:
            return file.read(256).strip()
    except OSError:
        return ""


def _accel(
    machine: Machine, qemu: QemuFacts | None, folders: Folders, problems: list[Problem]
) -> Literal["kvm", "tcg"]:
    wanted = machine.machine.accel
    if wanted != "auto" or qemu is None:
        return "tcg" if wanted == "tcg" else "kvm"
    trial = try_kvm(qemu.path, folders.cache)
    if trial.works:
        return "kvm"
    message = f"KVM cannot run a guest here ({trial.reason}); plain emulation is used instead, many times slower"
    problems.append(Problem(code="kvm-unusable", severity="info", message=message, key="machine.accel"))
    return "tcg"


def _firmware(
    machine: Machine, machine_type: str, state: str, root: str, problems: list[Problem]
) -> FirmwareFiles | None:
    wanted = machine.firmware
    if wanted.type == "bios":
        return None
    own_vars = wanted.vars or f"{state}/VARS.fd"
    if wanted.code and wanted.vars_template:
        for key, path in (("code", wanted.code), ("vars_template", wanted.vars_template)):
            _must_exist(path, f"firmware.{key}", "firmware-missing", problems)
        return FirmwareFiles(
            code=wanted.code, vars=own_vars, vars_template=wanted.vars_template, needs_smm=wanted.secure_boot
        )
    try:
        pair = find_firmware(machine_type, secure_boot=wanted.secure_boot, root=root)
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


def _files(machine: Machine, problems: list[Problem]) -> None:
    for index, disk in enumerate(machine.disk):
        _must_exist(disk.path, f"disk.{index}.path", "disk-missing", problems)
    for key, path in (("boot.kernel", machine.boot.kernel), ("boot.initrd", machine.boot.initrd)):
        if path:
            _must_exist(path, key, "file-missing", problems)


def _must_exist(path: str, key: str, code: str, problems: list[Problem]) -> None:
    if not os.path.exists(path):
        problems.append(
            Problem(code=code, message=f"{path} does not exist", key=key, hint="make it, or correct the path")
        )


def _functions(host: HostFacts, slot: PciAddress) -> tuple[int, ...]:
    found = (device.address.function for device in host.pci.slot(slot))
    return tuple(sorted(number for number in found if number is not None))


def _gpu_node(host: HostFacts, machine: Machine) -> int | None:
    """Give the node of the first graphics card that is passed through: its guest belongs beside it."""
    passed = (device for pci in machine.pci for device in host.pci.slot(pci.host))
    return next((device.node for device in passed if device.display and device.node is not None), None)
