"""The bridges of the guest's bus: PCIe root ports, and whatever else leads to an address that the file names.

Source: ``hw/pci-bridge/gen_pcie_root_port.c``, ``hw/pci-bridge/pcie_pci_bridge.c``, ``hw/pci-bridge/pci_bridge_dev.c``,
``hw/pci-bridge/xio3130_*.c``, ``hw/pci-bridge/i82801b11.c``, ``hw/pci-bridge/pci_expander_bridge.c``.
"""

from collections.abc import Iterable, Iterator

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.controllers import Controller
from qlaunch.devices.ports import Behind, BoardName, Port
from qlaunch.values.guest import GuestAddress

SPARE_PORTS = 4
_DRIVERS = {
    "root-port": "pcie-root-port",
    "pcie-to-pci": "pcie-pci-bridge",
    "dmi-to-pci": "i82801b11-bridge",
    "pci-bridge": "pci-bridge",
    "upstream": "x3130-upstream",
    "downstream": "xio3130-downstream",
    "expander": "pxb-pcie",
    "pci-expander": "pxb",
}
_HAVE_CHASSIS = ("root-port", "downstream", "pci-bridge")
# Chassis numbers of bridges behind other bridges; those of root ports end at 255 and leave these out.
_INNER_CHASSIS = range(241, 248)


class Bus(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says of the bus: the root ports and bridges that it names, and how many to keep free."""

    board: BoardName
    root_ports: tuple[GuestAddress, ...] = ()
    controllers: tuple[Controller, ...] = ()
    spare_ports: int = SPARE_PORTS

    def bridges(self, used: Iterable[Port | Behind]) -> Iterator[Arg]:
        """Yield all bridges, each after those that lead to it."""
        seen = set(used)
        named = {controller.address: controller for controller in self.controllers if controller.kind is None}
        wanted = {place.address for place in seen if isinstance(place, Behind)} | set(self.root_ports) | set(named)
        wanted |= {bridge for address in wanted for bridge in _on_the_way(address)}
        # Without function 0 of a slot the guest does not look for the others.
        wanted |= {address.at(0) for address in wanted if address.bridge is None and self.board == "q35"}
        if self.board == "q35":
            yield from _root_ports({port for port in seen if isinstance(port, Port)}, self.spare_ports, wanted)
        inner = iter(_INNER_CHASSIS)
        for address in sorted(wanted, key=lambda address: (address.count("/"), address)):
            yield self._bridge(address, named.get(address), inner)

    def _bridge(self, address: GuestAddress, named: Controller | None, inner: Iterator[int]) -> Arg:
        first = self.board == "q35" and address.bridge is None
        kind = named.type if named else "root-port" if first else "pci-bridge"
        chassis = _chassis(address, inner) if kind in _HAVE_CHASSIS else None
        own: dict[str, Value] = {}
        match kind:
            case "root-port":
                own = {"chassis": chassis, "port": address.slot << 3 | address.function}
            case "downstream":
                own = {"chassis": chassis, "port": address.slot}
            case "pci-bridge":
                own = {"chassis_nr": chassis}
            case "expander" | "pci-expander":
                own = {"bus_nr": 0xFE - address.slot, "numa_node": named.node if named else None}
            case _:
                pass
        if named and not named.hotplug:
            own["hotplug"] = False
        bus: Value = Behind(address.bridge) if address.bridge else "pcie.0" if self.board == "q35" else "pci.0"
        addr = f"{address.slot:#x}.{address.function:#x}"
        return device(_DRIVERS[kind], Behind(address).id, bus=bus, addr=addr, **own)


def with_multifunction(args: list[Arg]) -> list[Arg]:
    """Mark function 0 of each slot that has others, where the file itself chose the places; else no guest looks."""
    shared: set[tuple[str, str]] = set()
    for arg in args:
        slot, _, function = str(arg.get("addr") or "").partition(".")
        if arg.flag == "device" and function not in ("", "0x0"):
            shared.add((_name(arg), slot))
    if not shared:
        return args
    return [_marked(arg) if _is_first(arg, shared) else arg for arg in args]


def _is_first(arg: Arg, shared: set[tuple[str, str]]) -> bool:
    slot, _, function = str(arg.get("addr") or "").partition(".")
    is_first = arg.flag == "device" and function in ("", "0x0") and (_name(arg), slot) in shared
    return is_first and arg.get("multifunction") is None


def _name(arg: Arg) -> str:
    bus = arg.get("bus")
    return bus.id if isinstance(bus, Port | Behind) else str(bus)


def _marked(arg: Arg) -> Arg:
    body = arg.body if isinstance(arg.body, dict) else {}
    return msgspec.structs.replace(arg, body={**body, "multifunction": True})


def _on_the_way(address: GuestAddress) -> Iterator[GuestAddress]:
    bridge = address.bridge
    while bridge is not None:
        yield bridge
        bridge = bridge.bridge


def _chassis(address: GuestAddress, inner: Iterator[int]) -> int:
    """Give a number that no other has, 1 to 255; that of a place of qlaunch's own is the same at the same address."""
    if address.bridge is not None:
        return next(inner, 240)
    return (address.slot * 8 + address.function - 16) % 255 + 1


def _root_ports(used: set[Port], spare: int, taken: set[GuestAddress]) -> Iterator[Arg]:
    """Yield the root ports of qlaunch's own places, and spare ones for hot-plugging.

    Function 0 of a slot is always there: without it the guest does not look for the others.
    """
    ports = used | {Port("spare", number) for number in range(spare)}
    fillers = {port.first_of_slot for port in ports} - ports
    free = {port for port in fillers if GuestAddress.parse(port.address.replace("0x", "")) not in taken}
    for port in sorted(ports | free, key=lambda port: port.chassis):
        place: dict[str, Value] = {
            "bus": "pcie.0",
            "chassis": port.chassis,
            "port": 0x0F + port.chassis,
            "addr": port.address,
            "multifunction": True if port == port.first_of_slot else None,
            # No "safely remove" icon for what is built in; what the host may want back keeps its hot-plug.
            "hotplug": port.kind in ("pci", "net", "spare"),
        }
        yield device("pcie-root-port", port.id, **place)
