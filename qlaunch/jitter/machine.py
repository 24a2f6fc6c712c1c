"""The machine that is measured: the named one's CPUs, pins, memory pages and host settings, with the probe. Pure.

What it leaves out: devices, disks, services, modules, hooks. None of them is needed to see how calm the CPUs are, and
some would take the screen away.
"""

from typing import Literal

import msgspec

from qlaunch.devices.agent import Agent
from qlaunch.devices.boot import Boot
from qlaunch.devices.display import Display
from qlaunch.devices.firmware import Firmware
from qlaunch.devices.memory import Memory
from qlaunch.devices.rng import Rng
from qlaunch.devices.serial import Serial
from qlaunch.machine.hostside import HostSide, Shutdown
from qlaunch.machine.load import Loaded
from qlaunch.machine.model import Machine
from qlaunch.values.size import Size

Variant = Literal["nothing", "pins", "pins+shield", "all", "own"]
COMPARED: tuple[Variant, ...] = ("nothing", "pins", "pins+shield", "all")
SETTINGS: dict[Variant, str] = {
    "nothing": "the kernel schedules every thread as it likes",
    "pins": "threads pinned, and nothing else",
    "pins+shield": "threads pinned, and the host's tasks and interrupts kept off their CPUs",
    "all": "its own settings, with the shield",
    "own": "its own settings",
}
SUFFIX = ".jitter"
_LONGEST_NAME = 64  # see qlaunch.machine.search
_ENOUGH = 256 << 20  # what the firmware and a few histograms need


def jitter_name(name: str) -> str:
    """Name the machine that stands in for one: folders and leases of its own."""
    return name[: _LONGEST_NAME - len(SUFFIX)] + SUFFIX


def probe_machine(loaded: Loaded, variant: Variant) -> Loaded:
    """Give the stand-in of a machine, with as many of its settings as the variant has."""
    machine = loaded.machine
    stand_in = Machine(
        machine=msgspec.structs.replace(
            machine.machine, uuid=None, ephemeral=True, on_poweroff="stop", on_reboot="stop", on_crash="stop"
        ),
        firmware=_firmware(machine.firmware),
        boot=Boot(app="jitter"),
        cpu=machine.cpu,
        clock=machine.clock,
        memory=_memory(machine.memory),
        display=Display(type="none"),
        agent=Agent(enabled=False),
        serial=Serial(),
        rng=Rng(enabled=False),
        host=_host(machine.host),
        shutdown=Shutdown(timeout_s=0.1),  # the probe heeds no power button
        qemu=msgspec.structs.replace(machine.qemu, extra=[]),
    )
    name = jitter_name(loaded.name)
    return Loaded(name, loaded.path, _reduced(stand_in, variant), (), loaded.sources, loaded.overrides)


def without_shield(loaded: Loaded) -> Loaded:
    """Give the same without a shield, for a host that cannot have one."""
    host = msgspec.structs.replace(loaded.machine.host, shield=False)
    machine = msgspec.structs.replace(loaded.machine, host=host)
    return msgspec.structs.replace(loaded, machine=machine)


def _firmware(firmware: Firmware) -> Firmware:
    """Keep UEFI firmware that is named by its files. The probe is not signed: a secure boot would refuse it."""
    if firmware.type == "bios" or firmware.secure_boot or not firmware.code:
        return Firmware()
    return Firmware(code=firmware.code, vars_template=firmware.vars_template)


def _memory(memory: Memory) -> Memory:
    """Keep the pages and the node; no more of them than the probe needs, in whole pages."""
    page = memory.page_bytes or 1 << 20
    enough = -(-min(int(memory.size), _ENOUGH) // page) * page
    return msgspec.structs.replace(memory, size=Size(enough), balloon=False, mmio64=None)


def _host(host: HostSide) -> HostSide:
    keys = ("governor", "energy_preference", "shield", "irq", "sysfs", "sysctl")
    return HostSide(**{key: getattr(host, key) for key in keys})


def _reduced(machine: Machine, variant: Variant) -> Machine:
    replace = msgspec.structs.replace
    match variant:
        case "nothing":
            cpu = replace(machine.cpu, vcpus=_vcpus(machine), pin=None, emulator=None, scheduler=None)
            return replace(machine, cpu=cpu, host=HostSide())
        case "pins":
            return replace(machine, cpu=replace(machine.cpu, scheduler=None), host=HostSide())
        case "pins+shield":
            host = HostSide(shield=True, irq=True)
            return replace(machine, cpu=replace(machine.cpu, scheduler=None), host=host)
        case "all":
            return replace(machine, host=replace(machine.host, shield=machine.host.shield or True))
        case "own":
            return machine


def _vcpus(machine: Machine) -> int | None:
    """Without pins, their number no longer tells how many vCPUs there are."""
    return None if machine.cpu.topology else machine.cpu.shape().vcpus
