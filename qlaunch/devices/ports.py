"""Where guest devices sit: addresses that depend on nothing but a device's own kind and number.

Windows takes a device at another address for a new device, so adding one must never move another. Each kind of device
has slots of its own; the n-th of its kind has the n-th place, whether the places before it are taken or not.

On q35 a place is a PCIe root port, eight functions to a slot. On pc (i440fx) it is a slot of the one conventional bus.

Source: QEMU's ``docs/pcie.txt`` (root ports, chassis and slot numbers), ``hw/pci-bridge/gen_pcie_root_port.c``;
q35 itself sits in slots 0 and 0x1f, HDA by habit in 0x1b, the display in 1.
"""

from typing import Literal

import msgspec

from qlaunch.values.guest import GuestAddress

BoardName = Literal["q35", "pc"]

# First slot and number of slots of each kind on q35; eight ports in each slot.
_Q35_SLOTS = {"fixed": (2, 1), "disk": (3, 4), "net": (7, 2), "pci": (9, 3), "share": (12, 1), "spare": (13, 1)}
# First slot and number of places of each kind on pc, whose bus has 32 slots. Those of which there is one have theirs:
# sound 0x11, the watchdog 0x1b, the display 0x1e, Looking Glass 0x1f.
_PC_SLOTS = {"fixed": (2, 8), "disk": (10, 7), "net": (18, 4), "pci": (22, 5), "share": (28, 2)}
# Devices of which a machine has one each, in an order that is never changed, only appended to.
_FIXED = ("xhci", "vserial", "rng", "scsi", "kbd", "mouse", "balloon", "probe")


class Port(msgspec.Struct, frozen=True, order=True):
    """The n-th place for one kind of device."""

    kind: str
    number: int

    @property
    def id(self) -> str:
        """The root port's id on q35."""
        return f"rp-{_FIXED[self.number]}" if self.kind == "fixed" else f"rp-{self.kind}{self.number}"

    @property
    def address(self) -> str:
        """The root port's own address on q35, ``SLOT.FUNCTION`` in hexadecimal."""
        first, _ = _Q35_SLOTS[self.kind]
        return f"0x{first + self.number // 8:x}.0x{self.number % 8:x}"

    @property
    def first_of_slot(self) -> "Port":
        """The port at function 0 of the same slot: without it the guest does not see the others."""
        return Port(self.kind, self.number - self.number % 8)

    @property
    def chassis(self) -> int:
        """The chassis number on q35, unique among ports, 1 to 255."""
        first, _ = _Q35_SLOTS[self.kind]
        return (first - 2) * 8 + self.number + 1


class Behind(msgspec.Struct, frozen=True, order=True):
    """The bridge that leads to an address which the machine file names."""

    address: GuestAddress

    @property
    def id(self) -> str:
        """The bridge's id, and that of the bus behind it."""
        return f"at-{self.address.replace('/', '-')}"


def fixed(name: str) -> Port:
    """Give the place of a device of which a machine has only one."""
    return Port("fixed", _FIXED.index(name))


def room(board: BoardName, kind: str) -> int:
    """Say how many devices of a kind the board has places for."""
    if board == "q35":
        return _Q35_SLOTS[kind][1] * 8
    return _PC_SLOTS.get(kind, (0, 0))[1]


def pc_slot(port: Port) -> str:
    """Give the address on the bus of a pc board."""
    return f"0x{_PC_SLOTS[port.kind][0] + port.number:x}"
