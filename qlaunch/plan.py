"""The plan: a machine file and the host brought together. The one place where both are known; nothing is changed here.

Owns: what `plan --json` shows. Must not: write, start or open anything for writing.
"""

import os

import msgspec

from qlaunch.argv import build_args
from qlaunch.autopin import pin_automatically
from qlaunch.capability import lacks
from qlaunch.devices.site import Controller, FirmwareFiles, Site
from qlaunch.duty import Duty, Pins
from qlaunch.errors import Problem
from qlaunch.found import Found
from qlaunch.machine.load import Loaded
from qlaunch.machine.model import Machine
from qlaunch.machine.pending import pending
from qlaunch.values.cpus import CpuSet

# sun_path in the kernel's include/uapi/linux/un.h, less the zero at its end.
_LONGEST_SOCKET = 107


class HostStep(msgspec.Struct, frozen=True, kw_only=True):
    """One change to the host, as it will be made."""

    kind: str
    summary: str
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    needs_root: bool = False


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """One helper process, as it will be started."""

    name: str
    argv: list[str]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that `up` would do, as data."""

    duty: Duty
    argv: list[str]
    firmware: FirmwareFiles | None = None
    steps: list[HostStep] = []
    sidecars: list[Sidecar] = []
    problems: list[Problem] = []

    def as_json(self) -> dict[str, object]:
        """Give the documented shape of ``plan --json``."""
        return {
            "machine": self.duty.name,
            "argv": self.argv,
            "steps": self.steps,
            "pins": self.duty.pins,
            "sidecars": self.sidecars,
            "problems": [
                {key: getattr(problem, key) for key in ("severity", "code", "message", "hint")}
                for problem in self.problems
            ],
        }


def make_plan(loaded: Loaded, found: Found, taken: CpuSet | None = None) -> Plan:
    """Plan a run of a machine on the host that was found; ``taken`` are the CPUs of other running machines."""
    machine, choices = pin_automatically(loaded.machine, found.cpus, gpu_node=found.gpu_node, taken=taken)
    site = place(loaded.name, machine, found)
    args = build_args(machine, site)
    pins = _pins(machine)
    problems = [
        *loaded.warnings,
        *found.problems,
        *choices,
        *pending(machine),
        *lacks(args, found.qemu),
        *_socket_problems(site),
        *_pin_problems(pins, found),
    ]
    return Plan(
        duty=_duty(loaded, machine, site, pins, found),
        argv=[machine.qemu.binary, *(word for arg in args for word in arg.words())],
        firmware=site.firmware,
        problems=_placed(problems, loaded),
    )


def place(name: str, machine: Machine, found: Found) -> Site:
    """Decide everything that devices need to know beyond their own sections."""
    needs: frozenset[Controller] = frozenset().union(*(section.needs() for _, _, section in machine.parts()))
    on_scsi = [disk for disk in machine.disk if disk.on_bus == "scsi"]
    pins = machine.cpu.pin or ()
    emulator = machine.cpu.emulator or CpuSet()
    return Site(
        name=name,
        uuid=machine.machine.uuid or derived_uuid(name),
        runtime=found.runtime,
        state=found.state,
        board="pc" if machine.machine.type.startswith("pc") and "q35" not in machine.machine.type else "q35",
        machine_type=found.machine_type,
        accel=found.accel,
        version=found.version,
        firmware=found.firmware,
        host_smbios=found.smbios,
        slot_functions=found.slot_functions,
        needs=needs,
        vcpus=machine.cpu.shape().vcpus,
        prealloc_cpus=tuple(sorted(emulator.union(pins))) if pins else (),
        sata_disks=tuple(index for index, disk in enumerate(machine.disk) if disk.on_bus == "sata"),
        usb_disks=tuple(index for index, disk in enumerate(machine.disk) if disk.on_bus == "usb"),
        scsi_iothread=next((disk.iothread for disk in on_scsi if disk.iothread), None),
    )


def derived_uuid(name: str) -> str:
    """Give a UUID that depends on the machine's name alone (version 5, RFC 9562), so that Windows stays activated."""
    import uuid  # noqa: PLC0415 - a millisecond that argv with a uuid of its own does not pay

    return str(uuid.uuid5(uuid.UUID("7b9b5c62-9e0a-5d5d-8f57-3c1f0a0c0d5e"), name))


def _pins(machine: Machine) -> Pins:
    return Pins(
        vcpus={str(number): str(cpu) for number, cpu in enumerate(machine.cpu.pin or ())},
        iothreads={thread.name: str(thread.pin) for thread in machine.iothread if thread.pin},
        emulator=str(machine.cpu.emulator) if machine.cpu.emulator else None,
    )


def _duty(loaded: Loaded, machine: Machine, site: Site, pins: Pins, found: Found) -> Duty:
    return Duty(
        name=loaded.name,
        runtime=site.runtime,
        state=site.state,
        accel=site.accel,
        qemu_version=".".join(map(str, found.version)),
        machine_type=site.machine_type,
        machine_file=os.path.abspath(loaded.path),
        vcpus=site.vcpus,
        memory=int(machine.memory.size),
        pins=pins,
        scheduler=machine.cpu.scheduler,
        agent=machine.agent.enabled,
        serial=machine.serial.enabled,
        on_poweroff=machine.machine.on_poweroff,
        on_reboot=machine.machine.on_reboot,
        on_crash=machine.machine.on_crash,
        ephemeral=machine.machine.ephemeral,
        shutdown=machine.shutdown,
    )


def _placed(problems: list[Problem], loaded: Loaded) -> list[Problem]:
    """Give each problem the place of its key in the machine file.

    The file is scanned only if there is something to tell.
    """
    if all(problem.where or not problem.key for problem in problems):
        return problems
    places = loaded.places
    return [
        problem
        if problem.where or not problem.key
        else msgspec.structs.replace(problem, where=places.where(problem.key))
        for problem in problems
    ]


def _socket_problems(site: Site) -> list[Problem]:
    longest = max(
        (site.socket(name) for name in ("qmp-user", "control", "serial")), key=lambda path: len(path.encode())
    )
    if len(longest.encode()) <= _LONGEST_SOCKET:
        return []
    message = f"the socket path {longest} has {len(longest.encode())} bytes; the kernel takes {_LONGEST_SOCKET}"
    return [Problem(code="socket-path", message=message, hint="choose a shorter name or a shorter QLAUNCH_RUNTIME_DIR")]


def _pin_problems(pins: Pins, found: Found) -> list[Problem]:
    wanted = CpuSet().union(
        *(CpuSet.parse(cpus) for cpus in (*pins.vcpus.values(), *pins.iothreads.values(), pins.emulator or ""))
    )
    missing = CpuSet(wanted - found.online)
    if not missing or not found.online:
        return []
    message = f"CPU {missing} is pinned to, but this host has {found.online} online"
    return [Problem(code="pin-offline", message=message, key="cpu.pin", hint="see: lscpu -e")]
