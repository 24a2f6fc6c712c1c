"""What a device must know beyond its own section, all of it decided before the first option is written.

Names of sockets and files are functions of the machine's name, so that nothing has to exist before the argv can be
written.
"""

from typing import Literal

import msgspec

from qlaunch.devices.arg import Value
from qlaunch.devices.ports import BoardName, Port, pc_slot

Controller = Literal["usb", "virtio-serial", "scsi", "shared-memory"]


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
    prealloc_cpus: tuple[int, ...] = ()
    sata_disks: tuple[int, ...] = ()  # which of the machine's disks sit on the SATA or IDE controller
    usb_disks: tuple[int, ...] = ()
    vf_addresses: dict[int, str] = {}  # PCI address of each virtual function, by network card
    scsi_iothread: str | None = None

    @property
    def root_bus(self) -> str:
        """The bus of the board itself."""
        return "pcie.0" if self.board == "q35" else "pci.0"

    @property
    def looking_glass_slot(self) -> str:
        """Where the shared memory of Looking Glass sits."""
        return "0x10" if self.board == "q35" else "0x1f"

    def socket(self, name: str) -> str:
        """Give the path of a socket of this machine."""
        return f"{self.runtime}/{name}.sock"

    def on(self, port: Port, function: int = 0) -> dict[str, Value]:
        """Give the properties that put a device at a place of this board."""
        if self.board == "q35":
            return {"bus": port, "addr": f"0x0.0x{function:x}" if function else "0x0"}
        return {"bus": "pci.0", "addr": pc_slot(port) + (f".0x{function:x}" if function else "")}

    def sata_place(self, disk: int) -> dict[str, Value]:
        """Give the place of a disk on the built-in controller: AHCI has a bus a port, IDE has two units a bus."""
        number = self.sata_disks.index(disk)
        if self.board == "q35":
            return {"bus": f"ide.{number}"}
        return {"bus": f"ide.{number // 2}", "unit": number % 2}
