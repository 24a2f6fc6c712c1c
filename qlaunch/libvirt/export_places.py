"""Where the guest finds its devices, in libvirt's words: PCI controllers, and the address of each device.

Read from QEMU's options themselves, so that what is exported cannot differ from what is started. Must not: choose an
address.

Source: libvirt's ``docs/formatdomain.rst``, "Controllers" and "Device Addresses": a PCI controller's index is the bus
number of what sits on it, 0 the board's own; ``target`` carries chassis, port and hotplug.
"""

import re
from collections.abc import Iterator

import msgspec

from qlaunch.devices.arg import Arg, Value
from qlaunch.devices.ports import Behind, Port
from qlaunch.libvirt.export_xml import Element, element

# QEMU's bridges and libvirt's names of them.
_MODELS = {
    "pcie-root-port": "pcie-root-port",
    "ioh3420": "pcie-root-port",
    "pcie-pci-bridge": "pcie-to-pci-bridge",
    "pci-bridge": "pci-bridge",
    "i82801b11-bridge": "dmi-to-pci-bridge",
    "pxb-pcie": "pcie-expander-bus",
    "pxb": "pci-expander-bus",
    "x3130-upstream": "pcie-switch-upstream-port",
    "xio3130-downstream": "pcie-switch-downstream-port",
}
# ``bus=NAME`` and ``"bus": "NAME"``.
_BUS = re.compile(r"""((?:^|,)bus=|"bus"\s*:\s*")([A-Za-z0-9._-]+)""")


class Places(msgspec.Struct, frozen=True):
    """The bus numbers of a machine's bridges by their ids, and its devices' options by theirs."""

    buses: dict[str, int]
    devices: dict[str, Arg]

    def controllers(self) -> Iterator[Element]:
        """Yield the board's own bus and every bridge."""
        yield element("controller", type="pci", index=0, model="pcie-root" if "pcie.0" in self.buses else "pci-root")
        for name, number in self.buses.items():
            if number:
                yield self._bridge(self.devices[name], number)

    def address(self, device: str) -> Element | None:
        """Give the PCI address of a device by its id; None when its place is not PCI, or left to QEMU."""
        option = self.devices.get(device)
        bus = None if option is None else _name(option.get("bus"))
        place = None if option is None else option.get("addr")
        if option is None or bus not in self.buses or place is None:
            return None
        slot, _, function = str(place).partition(".")
        return element(
            "address",
            type="pci",
            domain="0x0000",
            bus=f"{self.buses[bus]:#04x}",
            slot=f"{int(slot, 16):#04x}",
            function=f"{int(function or '0', 16):#x}",
            multifunction="on" if option.get("multifunction") else None,
        )

    def native(self, option: Arg) -> tuple[str, ...]:
        """Give an option in QEMU's own words, on the bus that libvirt will have made."""
        bus = _name(option.get("bus")) if isinstance(option.body, dict) else None
        if not isinstance(option.body, dict) or not self.buses.get(bus or ""):
            return option.words()
        return msgspec.structs.replace(option, body={**option.body, "bus": f"pci.{self.buses[str(bus)]}"}).words()

    def renamed(self, word: str) -> str:
        """Give a word of the user's own with the buses that it names as libvirt will have made them."""
        return _BUS.sub(lambda match: match[1] + self._made(match[2]), word)

    def _made(self, bus: str) -> str:
        number = self.buses.get(bus)
        return f"pci.{number}" if number else bus

    def _bridge(self, option: Arg, number: int) -> Element:
        driver = str(option.get("driver"))
        target = None
        if _MODELS[driver] == "pcie-root-port":
            hotplug, port = option.get("hotplug"), option.get("port")
            target = element(
                "target",
                chassis=_number(option.get("chassis")),
                port=None if port is None else f"{int(str(port), 0):#x}",
                hotplug="off" if hotplug is False else None,
            )
        elif _MODELS[driver] == "pcie-switch-downstream-port":
            target = element("target", chassis=_number(option.get("chassis")), port=f"{_number(option.get('port')):#x}")
        elif driver == "pci-bridge":
            target = element("target", chassisNr=_number(option.get("chassis_nr")))
        elif driver.startswith("pxb"):
            node = _number(option.get("numa_node"))
            inside = None if node is None else element("node", text=node)
            target = element("target", inside, busNr=_number(option.get("bus_nr")))
        place = self.address(str(option.get("id")))
        return element("controller", target, place, type="pci", index=number, model=_MODELS[driver])


def places(args: list[Arg], root_bus: str) -> Places:
    """Find the bridges and devices among QEMU's options."""
    devices = {str(arg.get("id")): arg for arg in args if arg.flag == "device" and arg.get("id")}
    bridges = [name for name, arg in devices.items() if arg.get("driver") in _MODELS]
    return Places({root_bus: 0, **{name: number for number, name in enumerate(bridges, 1)}}, devices)


def _name(bus: Value) -> str | None:
    """Give the id behind a bus: a port is its id, and ``br0.0`` or ``br0`` is the bus of bridge ``br0``."""
    return bus.id if isinstance(bus, Port | Behind) else None if bus is None else str(bus)


def _number(value: Value) -> int | None:
    return None if value is None else int(str(value), 0)
