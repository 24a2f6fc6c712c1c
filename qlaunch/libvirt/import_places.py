"""Where the guest finds its PCI devices: kept as libvirt had them, so that Windows takes none for a new one.

Libvirt numbers buses by the controllers that lead to them; the machine file names the way through the bridges. A device
without an address among others that have one gets the next free place, as libvirt itself would give it.

Source: libvirt's ``docs/formatdomain.rst``, "Controllers" and "Device Addresses"; ``docs/pci-addresses.rst``;
``src/qemu/qemu_domain_address.c`` (what the boards keep for themselves).
"""

import re
from collections.abc import Iterator

import msgspec

from qlaunch.devices.ports import BoardName, room
from qlaunch.libvirt.import_draft import Draft, Table, integer, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.values.guest import GuestAddress

_BRIDGES = {
    "pcie-root-port": "root-port",
    "pci-bridge": "pci-bridge",
    "pcie-to-pci-bridge": "pcie-to-pci",
    "dmi-to-pci-bridge": "dmi-to-pci",
    "pcie-switch-upstream-port": "upstream",
    "pcie-switch-downstream-port": "downstream",
    "pcie-expander-bus": "expander",
    "pci-expander-bus": "pci-expander",
}
_ROOTS = ("pci-root", "pcie-root")
_DEEPEST = 8
_KINDS = {"disk": "disk", "interface": "net", "hostdev": "pci", "filesystem": "share"}


class Claim(msgspec.Struct):
    """A device that wants a place: the row and key of its address, and what the XML says of it."""

    node: Node
    row: Table
    key: str
    address: GuestAddress | None
    must: bool  # whether the row cannot be without one
    usual: GuestAddress | None = None  # where libvirt puts the first of its kind


class Places:
    """The bridges of a domain, and the places that its devices have on them."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.claims: list[Claim] = []
        self.named_ports: dict[str, GuestAddress] = {}  # root ports of <qemu:commandline>, by their ids
        self.network_boot: int | None = None  # the place of the network in <os><boot>
        devices = draft.root.one("devices")
        self.devices = Node("devices", {}, None, draft.root.line, draft.root.column) if devices is None else devices
        self.on_q35 = self._on_q35()
        found = [node for node in self.devices.children if node.tag == "controller" and node.get("type") == "pci"]
        self.bridges = self._numbered(found)
        self.paths: dict[int, GuestAddress | None] = {}
        self._place_bridges()

    def _place_bridges(self) -> None:
        """Give bridges without an address a free one, as libvirt would: others may be behind them."""
        taken = set()
        for node in self.devices.walk():
            if node.tag == "address" and node.attributes.get("type") == "pci":
                numbers = [integer(node.attributes.get(name) or "0") or 0 for name in ("bus", "slot", "function")]
                if numbers[0] == 0 and numbers[1] <= 31 and numbers[2] <= 7:
                    taken.add(GuestAddress(f"{numbers[1]:02x}.{numbers[2]}"))
        free = self._free(taken, bridges=True)
        for index, node in self.bridges.items():
            if node.get("model") not in _ROOTS and all(child.tag != "address" for child in node.children):
                self.paths[index] = next(free, None)

    def _on_q35(self) -> bool:
        system = self.draft.root.one("os")
        kind = system.one("type") if system else None
        return "q35" in ((kind.get("machine") or "") if kind else "")

    def _numbered(self, found: list[Node]) -> dict[int, Node]:
        """Give the bridges by their indexes; one without an index has the next free one."""
        numbered: dict[int, Node] = {}
        waiting = []
        for node in found:
            index = self.draft.number(node, "index", most=255)
            if index is not None and index not in numbered:
                numbered[index] = node
            else:
                waiting.append(node)
        for node in waiting:
            if node.get("model") not in _ROOTS:
                numbered[next(index for index in range(1, 1000) if index not in numbered)] = node
        return dict(sorted(numbered.items()))

    def claim(self, node: Node, row: Table, key: str = "address", *, must: bool = False, usual: str = "") -> None:
        """Note that a row wants the place that an element's ``address`` says."""
        address = node.one("address")
        if address is not None and address.get("type") not in ("pci", None):
            self.draft.idle(address, "a place that is not on the PCI bus")
            address = None
        self.claims.append(Claim(node, row, key, self.read(address), must, GuestAddress(usual) if usual else None))

    def claim_at(self, node: Node, row: Table, key: str, address: GuestAddress | None) -> None:
        """Note that a row wants a place that is already known."""
        self.claims.append(Claim(node, row, key, address, address is None and "size" in row))

    def on_bus(self, bus: str, addr: str) -> GuestAddress | None:
        """Read a place as QEMU writes it: ``bus=pci.5,addr=0x1b.0x0``."""
        if port := self.named_ports.get(bus):
            inner = self.on_bus("pcie.0", addr)
            return None if inner is None else GuestAddress(f"{port}/{inner}")
        match = re.fullmatch(r"pcie?\.([0-9]{1,3})(\.0)?", bus)
        slot, _, function = addr.partition(".")
        numbers = [_hexadecimal(slot), _hexadecimal(function or "0")]
        if not match or not 0 <= numbers[0] <= 31 or not 0 <= numbers[1] <= 7:
            return None
        before = self.path_of(int(match[1])) if int(match[1]) else ""
        if before is None:
            return None
        return GuestAddress(f"{before}{'/' if before else ''}{numbers[0]:02x}.{numbers[1]}")

    def read(self, address: Node | None) -> GuestAddress | None:
        """Read a PCI address of the guest's."""
        if address is None:
            return None
        if integer(address.get("domain") or "0") != 0:
            self.draft.idle(address, "a machine has one PCI domain", "domain")
        address.get("type")
        address.get("multifunction")  # follows from what sits in the slot
        for zpci in address.each("zpci"):
            self.draft.idle(zpci, "is for s390")
        numbers = [integer(address.get(name) or "0") for name in ("bus", "slot", "function")]
        bus, slot, function = (-1 if number is None else number for number in numbers)
        if (bus, slot, function) == (0, 0, 0):
            return None  # to libvirt none is said
        if not (0 <= bus <= 255 and 0 <= slot <= 31 and 0 <= function <= 7):
            self.draft.asks(address, "is no PCI address; a free place is taken")
            return None
        before = "" if bus == 0 else self.path_of(bus)
        if before is None:
            self.draft.differs(address, f"there is no controller for bus {bus}; a free place is taken")
            return None
        return GuestAddress(f"{before}{'/' if before else ''}{slot:02x}.{function}")

    def path_of(self, index: int, depth: int = 0) -> GuestAddress | None:
        """Give the address of the bridge that a bus is behind."""
        if index not in self.paths:
            self.paths[index] = None  # a bridge behind itself has none
            node = self.bridges.get(index)
            address = None if node is None else node.one("address")
            if address is not None and depth < _DEEPEST:
                self.paths[index] = self.read(address)
        return self.paths[index]

    def gives(self) -> bool:
        """Whether devices have places in the file: some have to, or there are too many for those of qlaunch."""
        placed = any(child.tag == "address" for node in self.bridges.values() for child in node.children)
        return placed or any(claim.address or claim.must for claim in self.claims) or not self._fits()

    def settle(self) -> None:
        """Write the bridges, and give each device its place."""
        if not self.gives():
            for node in self.bridges.values():
                node.close()
            return  # no place to keep: each device has the one that it always has here
        self._write_bridges()
        kept = [claim for claim in self.claims if claim.address]
        taken = {claim.address for claim in kept if claim.address} | {path for path in self.paths.values() if path}
        taken |= set(self.named_ports.values())
        if kept or self.on_q35:
            self.draft.set(self.devices, "machine", "spare_ports", 0)
        for claim in self.claims:
            if claim.address is None and claim.usual is not None and claim.usual not in taken:
                claim.address = claim.usual
                taken.add(claim.usual)
        self._give(self._free(taken), kept=bool(kept))

    def _give(self, free: Iterator[GuestAddress], *, kept: bool) -> None:
        """Write the address of each device: its own, or the next free one."""
        seen: set[GuestAddress] = set()
        for claim in self.claims:
            address = claim.address
            if not claim.key:  # a further function of a slot, which its first one stands for
                continue
            if address in seen and address is not None:
                self.draft.asks(claim.node, f"{address} is another device's place too; a free one is taken")
                address = None
            if address is None:
                address = next(free, None)
                if address is None:
                    continue
                if claim.node.parent is not None and kept:
                    self.draft.differs(claim.node, "has no address among others that have one: gets a free place")
            seen.add(address)
            claim.row[claim.key] = str(address)

    def _fits(self) -> bool:
        """Whether qlaunch's own places are enough, of which each kind of device has a few."""
        board: BoardName = "q35" if self.on_q35 else "pc"
        tags = [claim.node.tag for claim in self.claims]
        return all(tags.count(tag) <= room(board, kind) for tag, kind in _KINDS.items())

    def _write_bridges(self) -> None:
        ports: list[str] = [str(address) for address in self.named_ports.values()]
        for index, node in sorted(self.bridges.items(), key=lambda bridge: self._depth(bridge[0])):
            node.seen = True
            model = node.get("model")
            self.draft.idle(node.one("alias"), "libvirt's own name")
            if model in _ROOTS:
                self._root(node)
                continue
            kind = _BRIDGES.get(model or ("pcie-root-port" if self.on_q35 else "pci-bridge"))
            path = self.path_of(index)
            if kind == ("pci-expander" if self.on_q35 else "expander"):
                kind = None
            if kind is None:
                self.draft.asks(node, f'a bridge of the model "{shown(model or "")}" is not known here; left out')
                continue
            if path is not None:
                ports += self._bridge(node, kind, path)
        if ports:
            self.draft.set(self.devices, "machine", "root_ports", sorted(ports))

    def _depth(self, index: int) -> tuple[int, str]:
        """Give the order in which bridges are written: each after those that lead to it."""
        path = self.path_of(index) or ""
        return path.count("/"), path

    def _bridge(self, node: Node, kind: str, path: GuestAddress) -> Iterator[str]:
        """Write one bridge; give its address where it is a plain root port."""
        target, model = node.one("target"), node.one("model")
        hotplug, numa = None, None
        if target is not None:
            target.seen = True
            port = integer(target.get("port") or "-1")
            if port not in (None, -1, path.slot << 3 | path.function):
                self.draft.idle(target, "the number of a port follows from its address", "port")
            for name in ("chassis", "chassisNr", "busNr", "index"):
                target.get(name)  # numbers that only have to differ
            self.draft.lost(target, "has no key here", "memReserve")
            hotplug = self.draft.flag(target, "hotplug")
            numa = target.words("node")
        if model is not None and model.get("name") == "ioh3420":
            self.draft.differs(
                model, "a plain root port (pcie-root-port) takes the place of Intel's ioh3420", (), "name"
            )
        if kind == "root-port" and path.bridge is None and hotplug is not False and self.on_q35:
            return iter([str(path)])
        node_number = integer(numa) if numa else None
        self.draft.add(node, "controller", type=kind, address=str(path), hotplug=hotplug, node=node_number)
        return iter(())

    def _root(self, node: Node) -> None:
        target = node.one("pcihole64")
        if target is not None:
            size = self.draft.size(target, target.word())
            if size is not None and size >= 1 << 20:
                host = "q35-pcihost" if self.on_q35 else "i440FX-pcihost"
                self.draft.pass_on("-global", f"{host}.pci-hole64-size={size >> 10}K")

    def _free(self, taken: set[GuestAddress], *, bridges: bool = False) -> Iterator[GuestAddress]:
        """Yield free places: ports that lead nowhere yet, then new ones; on pc, slots of the one bus."""
        if self.on_q35 and not bridges:
            behind = {address.bridge for address in taken}
            for index in self.bridges:
                path = self.path_of(index)
                if path and path not in behind and self.bridges[index].get("model") == "pcie-root-port":
                    yield GuestAddress(f"{path}/00.0")
        roots = {address.partition("/")[0] for address in taken}
        slots = {root[:2] for root in roots}
        # Libvirt keeps slot 2 of pc, and slot 1 of q35, for an emulated graphics card.
        first = (1 if self.on_q35 else 2) + self.devices.counts.get("video", 0)
        for slot in range(min(first, 3), 0x1E):
            if f"{slot:02x}" in slots:
                continue
            for function in range(8 if self.on_q35 else 1):
                port = f"{slot:02x}.{function}"
                yield GuestAddress(port if bridges or not self.on_q35 else f"{port}/00.0")
        if not self.on_q35 and not bridges and "1e" not in slots:
            yield from (GuestAddress(f"1e.0/{slot:02x}.0") for slot in range(1, 32))


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1
