"""The plan: a machine file and the host brought together. The one place where both are known; nothing is changed here.

Owns: what `plan --json` shows. Must not: write, start or open anything for writing.
"""

import os

import msgspec

from qlaunch.argv import build_args
from qlaunch.autopin import pin_automatically
from qlaunch.capability import lacks
from qlaunch.devices.arg import Arg, Value, plain
from qlaunch.devices.host_end import HostEnd
from qlaunch.devices.site import Controller, FirmwareFiles, Site
from qlaunch.devices.usb import SOURCE
from qlaunch.duty import CardDuty, Duty, EvdevDuty, Pins, Plugged, UsbDuty, lockable
from qlaunch.errors import Problem
from qlaunch.found import Found
from qlaunch.host.account import is_self, uid_of
from qlaunch.host.facts import HostFacts
from qlaunch.machine.load import Loaded
from qlaunch.machine.model import Machine
from qlaunch.steps.step import Step
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
    changes: list[Step] = []
    host_ends: list[HostEnd] = []
    facts: HostFacts | None = None
    problems: list[Problem] = []
    instead: "Plan | None" = None
    """What comes in place of all of it when its huge pages cannot be had, as ``memory.on_missing`` says."""

    def host_steps(self) -> list[HostStep]:
        """Show each change to the host with the values of now. Something that cannot be read here shows none."""
        from qlaunch.preparation.observe import observe  # noqa: PLC0415 - only `plan` shows them

        tree = (self.facts or HostFacts()).tree
        return [
            HostStep(kind=step.kind, summary=step.summary, before=before, after=after, needs_root=step.needs_root)
            for step, (before, after) in ((step, observe(step, tree)) for step in self.changes)
        ]

    def as_json(self) -> dict[str, object]:
        """Give the documented shape of ``plan --json``."""
        return {
            "machine": self.duty.name,
            "argv": self.argv,
            "steps": self.host_steps(),
            "pins": self.duty.pins,
            "sidecars": [
                *(Sidecar(name=f"passt of {end.netdev}", argv=end.passt) for end in self.host_ends if end.passt),
                *(Sidecar(name=spec.name, argv=spec.argv) for spec in self.duty.sidecars),
            ],
            "problems": [
                {key: getattr(problem, key) for key in ("severity", "code", "message", "hint")}
                for problem in self.problems
            ],
        }


def make_plan(loaded: Loaded, found: Found, taken: CpuSet | None = None) -> Plan:
    """Plan a run of a machine on the host that was found; ``taken`` are the CPUs of other running machines."""
    plan = _plan(loaded, found, taken)
    memory = loaded.machine.memory
    if memory.instead is None:
        return plan
    memory = msgspec.structs.replace(memory, hugepages=memory.instead)
    machine = msgspec.structs.replace(loaded.machine, memory=memory)
    instead = make_plan(msgspec.structs.replace(loaded, machine=machine), found, taken)
    unavailable = [problem for problem in plan.problems if problem.code == "no-hugepages"]
    if not unavailable:
        return msgspec.structs.replace(plan, instead=instead)
    said = [msgspec.structs.replace(unavailable[0], severity="warning", hint=f"hugepages = {memory.hugepages} instead")]
    return msgspec.structs.replace(instead, problems=[*said, *instead.problems])


def _plan(loaded: Loaded, found: Found, taken: CpuSet | None) -> Plan:
    machine, choices = pin_automatically(loaded.machine, found.cpus, gpu_node=found.gpu_node, taken=taken)
    site = place(loaded.name, machine, found)
    args = build_args(machine, site)
    changes, refusals, owed = _changes(loaded.name, site.uuid, machine, found)
    pins = _pins(machine)
    ends = [end for index, card in enumerate(machine.network) if (end := card.host_end(site, index))]
    problems = [
        *loaded.warnings,
        *found.problems,
        *choices,
        *refusals,
        *lacks(args, found.qemu),
        *_socket_problems(site),
        *_pin_problems(pins, found),
        *_findings(machine, found, taken),
    ]
    return Plan(
        duty=msgspec.structs.replace(
            _duty(loaded, machine, site, pins, found), **owed, **_plugged(machine, args, found)
        ),
        argv=[machine.qemu.binary, *(word for arg in args for word in arg.words())],
        firmware=site.firmware,
        changes=changes,
        host_ends=ends,
        facts=found.facts,
        problems=_placed(problems, loaded),
    )


def place(name: str, machine: Machine, found: Found) -> Site:
    """Decide everything that devices need to know beyond their own sections."""
    needs: frozenset[Controller] = frozenset().union(*(section.needs() for _, _, section in machine.parts()))
    named = [controller.kind for controller in machine.controller]
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
        iommufd=found.iommufd and machine.passes_devices,
        vf_addresses=_vf_addresses(machine, found),
        needs=needs - set(named),
        vcpus=machine.cpu.shape().vcpus,
        prealloc_cpus=tuple(sorted(emulator.union(pins))) if pins else (),
        cell_cpus=tuple(
            tuple(sorted({pins[vcpu] for vcpu in cell.cpus if vcpu < len(pins)})) for cell in machine.memory.cell
        ),
        sata_disks=tuple(index for index, disk in enumerate(machine.disk) if disk.on_bus == "sata"),
        usb_disks=tuple(index for index, disk in enumerate(machine.disk) if disk.on_bus == "usb"),
        controller_numbers=tuple(named[:index].count(kind) for index, kind in enumerate(named)),
        own_usb="usb" in named,
        memory_cells=len(machine.memory.cell),
        display_folder=_display_folder(machine, found),
        vhost=_moves_packets(machine, found),
        scsi_iothread=next((disk.iothread for disk in on_scsi if disk.iothread), None),
    )


def _display_folder(machine: Machine, found: Found) -> str:
    """Give where the display's socket is if not where the others are, which another user of QEMU's may not enter."""
    user, tree = machine.host.user, (found.facts or HostFacts()).tree
    return f"{found.state}/display" if user and not is_self(tree, user) else ""


def _moves_packets(machine: Machine, found: Found) -> bool:
    """Whether the kernel can move a card's packets without QEMU. Emulated processors gain nothing by it."""
    wanted = any(card.type in ("bridge", "tap", "macvtap") and card.vhost is None for card in machine.network)
    is_here = wanted and found.accel == "kvm" and found.facts is not None and found.facts.tree.live
    return is_here and os.access("/dev/vhost-net", os.R_OK | os.W_OK)


def _vf_addresses(machine: Machine, found: Found) -> dict[int, str]:
    """Give the address of each virtual function by the number of its network card; it need not be there yet."""
    cards = [(index, card) for index, card in enumerate(machine.network) if card.type == "vf"]
    if not cards or found.facts is None:
        return {}
    from qlaunch.preparation.network import vf_address  # noqa: PLC0415 - few machines have one

    addresses = ((index, vf_address(found.facts, card)) for index, card in cards)
    return {index: str(address) for index, address in addresses if address}


def _changes(
    name: str, uuid: str, machine: Machine, found: Found
) -> tuple[list[Step], list[Problem], dict[str, object]]:
    """Give the changes to the host, what stands against them, and what the supervisor owes for them.

    Most headless machines have none.
    """
    facts = found.facts
    if facts is None or not machine.changes_host:
        return [], [], {}
    from qlaunch.preparation import refusals, steps  # noqa: PLC0415 - see above
    from qlaunch.preparation.functions import functions  # noqa: PLC0415
    from qlaunch.preparation.sidecars import sidecars  # noqa: PLC0415
    from qlaunch.preparation.sound import environment  # noqa: PLC0415
    from qlaunch.preparation.wish import Wish  # noqa: PLC0415

    store = found.firmware.vars if found.firmware else ""
    wish = Wish(
        name=name,
        uuid=uuid,
        machine=machine,
        facts=facts,
        runtime=found.runtime,
        state=found.state,
        vars=store,
        iommufd=found.iommufd,
    )
    to_guide = functions(wish) if machine.host.irq and machine.cpu.pin else []
    owed = {"sidecars": sidecars(wish), "functions": to_guide, "environment": environment(wish)}
    return steps(wish), refusals(wish), owed


def usb_problems(machine: str, device: Plugged, facts: HostFacts) -> list[Problem]:
    """Give what stands against attaching a USB device to a machine that runs."""
    from qlaunch.preparation.usb import unfit  # noqa: PLC0415 - see _changes

    meant = [one for one in facts.usb if one.is_meant(device.id, device.at)]
    return [problem for one in meant for problem in unfit(facts, machine, one)]


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
        inhibit_sleep=machine.host.inhibit_sleep,
        user=machine.host.user,
        cards={
            f"net{index}": CardDuty(type=card.type, link=card.counted_link(loaded.name, index))
            for index, card in enumerate(machine.network)
        },
        memory_lock=_memory_lock(machine, found),
        iommufd=found.iommufd,
    )


def _plugged(machine: Machine, args: list[Arg], found: Found) -> dict[str, list[UsbDuty] | list[EvdevDuty]]:
    """Give what the supervisor plugs in by itself. Where a USB device goes, its option says; which one, the machine."""
    places = [arg.body for arg in args if arg.get("driver") == "usb-host" and isinstance(arg.body, dict)]
    usb = [
        UsbDuty(
            device=Plugged(id=str(section.id) if section.id else None, at=section.at),
            optional=section.optional,
            arguments=_flat({key: value for key, value in place.items() if key not in SOURCE}),
        )
        for section, place in zip(machine.usb, places, strict=False)
    ]
    tree, user = (found.facts or HostFacts()).tree, machine.host.user
    # Put back, a device has a new node, which is root's again.
    uid = uid_of(tree, user) if machine.evdev and user and not is_self(tree, user) else None
    evdev = [
        EvdevDuty(path=section.path, user=uid, optional=section.optional, arguments=_flat(section.late_object(index)))
        for index, section in enumerate(machine.evdev)
    ]
    return {"usb": usb, "evdev": evdev}


def _flat(body: dict[str, Value]) -> dict[str, str | int | bool]:
    printed = plain(body)
    assert isinstance(printed, dict)  # noqa: S101 - plain keeps the shape
    return {key: value for key, value in printed.items() if isinstance(value, str | int | bool)}


def _memory_lock(machine: Machine, found: Found) -> int | None:
    """Give how much QEMU may lock, where it locks any."""
    if not (machine.passes_devices or machine.memory.lock):
        return None
    total = found.facts.memory.total if found.iommufd and found.facts else None
    return lockable(int(machine.memory.size), total, iommufd=found.iommufd and machine.passes_devices)


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


def _findings(machine: Machine, found: Found, taken: CpuSet | None) -> list[Problem]:
    """Give what the audit says; CPUs that are offline are told above, also where no facts were read."""
    if found.facts is None:
        return []
    from qlaunch.audit import audit  # noqa: PLC0415 - see _changes

    findings = audit(machine, found.facts, gpu_node=found.gpu_node, taken=taken)
    return [finding for finding in findings if finding.code != "pin-offline"]
