"""What a device must know beyond its own section, all of it decided before the first option is written.

Names of sockets and files are functions of the machine's name, so that nothing has to exist before the argv can be
written.
"""

from typing import Literal

import msgspec

from qlaunch.devices.arg import Value
from qlaunch.devices.ports import Behind, BoardName, Port, pc_slot
from qlaunch.values.guest import GuestAddress

Controller = Literal["usb", "virtio-serial", "scsi", "shared-memory"]
# The name that QEMU's iommufd has.
IOMMUFD = "iommufd0"


class FirmwareFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A matched pair of UEFI code and variable store; ``vars`` is the machine's own copy of ``vars_template``."""

    code: str
    vars: str
    vars_template: str
    code_format: str = "raw"
    vars_format: str = "raw"
    needs_smm: bool = False


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where a machine's devices are placed: names, folders, board, accelerator, and what was found on the host."""

    name: str
    uuid: str
    runtime: str  # folder of sockets
    state: str  # folder of variables and logs
    board: BoardName
    machine_type: str  # versioned
    accel: Literal["kvm", "tcg"]
    version: tuple[int, int]  # of QEMU
    firmware: FirmwareFiles | None = None
    host_smbios: dict[int, dict[str, str]] = {}
    slot_functions: dict[str, tuple[int, ...]] = {}  # functions of each passed-through slot
    needs: frozenset[Controller] = frozenset()  # what the machine's devices ask for
    vcpus: int = 1
    prealloc_cpus: tuple[int, ...] = ()  # all of the machine's own host CPUs
    cell_cpus: tuple[tuple[int, ...], ...] = ()  # those of each NUMA cell's vCPUs
    sata_disks: tuple[int, ...] = ()  # which of the machine's disks sit on the SATA or IDE controller
    usb_disks: tuple[int, ...] = ()
    vf_addresses: dict[int, str] = {}  # PCI address of each virtual function, by network card
    display_folder: str = ""  # of the display's socket, where that is another one than of the others
    scsi_iothread: str | None = None
    controller_numbers: tuple[int, ...] = ()  # of each [[controller]] among those of its kind
    own_usb: bool = False  # whether the file names its USB controllers
    memory_cells: int = 0
    vhost: bool = False  # whether the kernel can move packets by itself
    iommufd: bool = False  # whether VFIO devices are had one by one, and not by their groups

    @property
    def root_bus(self) -> str:
        """The bus of the board itself."""
        return "pcie.0" if self.board == "q35" else "pci.0"

    @property
    def looking_glass_slot(self) -> str:
        """Where the shared memory of Looking Glass sits."""
        return "0x10" if self.board == "q35" else "0x1f"

    @property
    def vfio(self) -> dict[str, Value]:
        """Give the properties of every VFIO device."""
        return {"iommufd": IOMMUFD if self.iommufd else None}

    def socket(self, name: str) -> str:
        """Give the path of a socket of this machine."""
        return f"{self.runtime}/{name}.sock"

    def display_socket(self, name: str) -> str:
        """Give the path of a socket for a viewer."""
        return f"{self.display_folder}/{name}.sock" if self.display_folder else self.socket(name)

    def on(self, port: Port, function: int = 0, *, address: GuestAddress | None = None) -> dict[str, Value]:
        """Give the properties that put a device at its address, or else at a place of this board."""
        if address is not None:
            return self.at(address.at(function) if function else address)
        if self.board == "q35":
            return {"bus": port, "addr": f"0x0.0x{function:x}" if function else "0x0"}
        return {"bus": "pci.0", "addr": pc_slot(port) + (f".0x{function:x}" if function else "")}

    def at(self, address: GuestAddress) -> dict[str, Value]:
        """Give the properties that put a device at an address in the guest."""
        bus = Behind(address.bridge) if address.bridge else self.root_bus
        return {"bus": bus, "addr": f"{address.slot:#x}.{address.function:#x}"}

    def built_in(self, q35: str, pc: str, address: GuestAddress | None) -> dict[str, Value]:
        """Give the properties of a device that has a slot of its own on the root bus of each board."""
        return self.at(address) if address else {"bus": self.root_bus, "addr": q35 if self.board == "q35" else pc}

    def usb_place(self, default: int, port: str | None, controller: int) -> dict[str, Value]:
        """Give the place of a USB device. On controllers that the file names, QEMU chooses a port where none is."""
        fallback = None if self.own_usb else str(default)
        return {"bus": f"usb{controller}.0", "port": port or fallback}

    def sata_place(self, disk: int) -> dict[str, Value]:
        """Give the place of a disk on the built-in controller: AHCI has a bus a port, IDE has two units a bus."""
        number = self.sata_disks.index(disk)
        if self.board == "q35":
            return {"bus": f"ide.{number}"}
        return {"bus": f"ide.{number // 2}", "unit": number % 2}
