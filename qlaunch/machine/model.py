"""The whole machine file as one frozen record. A field is a section of the file and has its name.

Owns: the list of sections. Must not: read files, or know the host.
"""

from collections.abc import Iterator

import msgspec

from qlaunch.devices import DEVICES, Section
from qlaunch.devices.agent import Agent
from qlaunch.devices.audio import Audio
from qlaunch.devices.board import Board
from qlaunch.devices.boot import Boot
from qlaunch.devices.channel import Channel
from qlaunch.devices.clock import Clock
from qlaunch.devices.controllers import Controller
from qlaunch.devices.cpu import Cpu
from qlaunch.devices.disk import Disk
from qlaunch.devices.display import Display
from qlaunch.devices.evdev import Evdev
from qlaunch.devices.extra import Extra
from qlaunch.devices.firmware import Firmware
from qlaunch.devices.input import Input
from qlaunch.devices.iothread import Iothread
from qlaunch.devices.memory import Memory
from qlaunch.devices.network import Network
from qlaunch.devices.pci import Pci
from qlaunch.devices.rng import Rng
from qlaunch.devices.serial import Serial
from qlaunch.devices.share import Share
from qlaunch.devices.shmem import Shmem
from qlaunch.devices.tpm import Tpm
from qlaunch.devices.usb import Usb
from qlaunch.devices.vsock import Vsock
from qlaunch.machine.hostside import Hook, HostSide, Shutdown, Sidecar


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine file, every default filled in."""

    machine: Board = Board()
    firmware: Firmware = Firmware()
    boot: Boot = Boot()
    cpu: Cpu = Cpu()
    clock: Clock = Clock()
    memory: Memory
    iothread: list[Iothread] = []
    controller: list[Controller] = []
    disk: list[Disk] = []
    pci: list[Pci] = []
    network: list[Network] = []
    evdev: list[Evdev] = []
    usb: list[Usb] = []
    tpm: Tpm | None = None
    share: list[Share] = []
    display: Display = Display()
    input: list[Input] = []
    audio: Audio | None = None
    agent: Agent = Agent()
    serial: Serial = Serial()
    channel: list[Channel] = []
    rng: Rng = Rng()
    vsock: Vsock | None = None
    shmem: list[Shmem] = []
    host: HostSide = HostSide()
    sidecar: list[Sidecar] = []
    hook: list[Hook] = []
    shutdown: Shutdown = Shutdown()
    qemu: Extra = Extra()

    @property
    def changes_host(self) -> bool:
        """Whether running it may change anything on the host beside its own files."""
        sections = (self.pci, self.evdev, self.usb, self.tpm, self.share, self.sidecar, self.hook, self.cpu.pin)
        return bool(
            any(sections)
            or self.host != HostSide()
            or self.memory.page_bytes
            or self.display.looking_glass
            or (self.audio and self.audio.backend not in ("spice", "none"))
            or any(network.type != "user" for network in self.network)
        )

    @property
    def passes_devices(self) -> bool:
        """Whether it takes PCI functions of the host."""
        return bool(self.pci or any(card.type == "vf" for card in self.network))

    def parts(self) -> Iterator[tuple[str, int, Section]]:
        """Yield the sections that have QEMU options, in the order of the command line: key, number, section."""
        for key in DEVICES:
            value = getattr(self, key)
            for index, section in enumerate(value if isinstance(value, list) else [value]):
                if section is not None:
                    yield key, index, section
