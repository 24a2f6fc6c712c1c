"""A machine and its site as the command line of QEMU. Pure: nothing is read, made or started.

Owns: the order of the options. Must not: know what is on the host.
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg, Value
from qlaunch.devices.bridges import Bus, with_multifunction
from qlaunch.devices.controllers import controllers
from qlaunch.devices.iommu import iommus
from qlaunch.devices.monitor import monitors
from qlaunch.devices.ports import Behind, Port
from qlaunch.devices.site import Site
from qlaunch.machine.model import Machine

# QEMU would merge repeated -machine options, but let a second -cpu replace the first (system/vl.c): one of each is
# printed.
_MERGED = ("machine", "cpu", "overcommit")
# Sections whose options stand before the bus; all later ones sit on it.
_BEFORE_BUS = ("machine", "cpu", "memory", "iothread", "firmware", "clock", "boot")


def build_argv(machine: Machine, site: Site) -> list[str]:
    """Give the whole command line, the binary first."""
    return [machine.qemu.binary, *(word for arg in build_args(machine, site) for word in arg.words())]


def build_args(machine: Machine, site: Site) -> list[Arg]:
    """Give the options in their order: what makes the board, then the bus, then what sits on it."""
    board: list[Arg] = []
    devices: list[Arg] = []
    for key, index, section in machine.parts():
        for arg in section.args(site, index):
            early = key in _BEFORE_BUS and arg.flag != "device"
            (board if early else devices).append(arg)
    devices = [*controllers(site), *devices]
    options = machine.machine
    bus = Bus(
        board=site.board,
        root_ports=tuple(options.root_ports),
        controllers=tuple(machine.controller),
        spare_ports=options.spare_ports,
    )
    on_bus = with_multifunction([*bus.bridges(_places(devices)), *devices])
    return [*_merge([*board, *monitors(site)]), *iommus(site), *_overridden(on_bus, machine)]


def _places(args: list[Arg]) -> Iterator[Port | Behind]:
    for arg in args:
        place: Value = arg.get("bus")
        if isinstance(place, Port | Behind):
            yield place


def _overridden(args: list[Arg], machine: Machine) -> Iterator[Arg]:
    """Lay the properties of ``qemu.properties`` over those of the devices that they name."""
    properties = machine.qemu.properties
    for arg in args:
        wanted = properties.get(str(arg.get("id"))) if arg.flag == "device" and properties else None
        if wanted and isinstance(arg.body, dict):
            yield Arg(arg.flag, {**arg.body, **wanted}, arg.head, arg.json)
        else:
            yield arg


def _merge(args: list[Arg]) -> Iterator[Arg]:
    """Give each merged option once, where it first stood, with the keys of all."""
    for position, arg in enumerate(args):
        if arg.flag not in _MERGED:
            yield arg
        elif all(earlier.flag != arg.flag for earlier in args[:position]):
            same = [other for other in args[position:] if other.flag == arg.flag]
            bodies = [other.body for other in same if isinstance(other.body, dict)]
            body: dict[str, Value] = {key: value for part in bodies for key, value in part.items() if value is not None}
            yield Arg(arg.flag, body, arg.head)
