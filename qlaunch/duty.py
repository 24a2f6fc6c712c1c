"""What a supervisor owes a started machine: all that it needs to know, and nothing of the machine file.

It is on disk while the machine runs, so that another supervisor can take the machine over from a dead one.
"""

from typing import Literal

import msgspec

from qlaunch.machine.hostside import Shutdown
from qlaunch.machine.sidecar import SidecarSpec

_BESIDE_RAM = 1 << 30


class Pins(msgspec.Struct, frozen=True, kw_only=True):
    """Host CPUs by thread, in the kernel's list format: what ``plan --json`` shows."""

    vcpus: dict[str, str] = {}
    iothreads: dict[str, str] = {}
    emulator: str | None = None


class Plugged(msgspec.Struct, frozen=True, kw_only=True):
    """Which USB device is meant: vendor and product, port, or both."""

    id: str | None = None
    at: str | None = None

    def __str__(self) -> str:
        """Name it as the machine file does."""
        return " at ".join(word for word in (self.id, self.at) if word)


class UsbDuty(msgspec.Struct, frozen=True, kw_only=True):
    """A USB device that the guest has whenever it is plugged in. ``arguments`` are those of device_add, less which."""

    device: Plugged
    optional: bool = False
    arguments: dict[str, str | int | bool]

    @property
    def qemu_id(self) -> str:
        """What QEMU calls it."""
        return str(self.arguments["id"])


class EvdevDuty(msgspec.Struct, frozen=True, kw_only=True):
    """A keyboard or mouse that guest and host share. ``arguments`` are those of object-add."""

    path: str
    user: int | None = None  # who must be able to open it; None: as it is
    optional: bool = False
    arguments: dict[str, str | int | bool]

    @property
    def qemu_id(self) -> str:
        """What QEMU calls it."""
        return str(self.arguments["id"])


class CardDuty(msgspec.Struct, frozen=True, kw_only=True):
    """A network card, by what counts its traffic: its link on this host, or nothing."""

    type: str
    link: str = ""


def lockable(memory: int, total: int | None, *, iommufd: bool) -> int:
    """Give how many bytes QEMU may lock when devices reach its memory: the kernel pins all of it, and windows beside.

    iommufd counts by user, over all of that user's machines: there the limit is all memory of the host.

    Source: libvirt's ``qemu_domain.c``, qemuDomainGetMemLockLimitBytes (RAM and 1 GiB); the kernel's
    ``drivers/iommu/iommufd/pages.c``, IOPT_PAGES_ACCOUNT_USER.
    """
    return max(memory, total or 0 if iommufd else 0) + _BESIDE_RAM


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """The promises to one running machine."""

    name: str
    runtime: str
    state: str
    accel: str
    qemu_version: str
    machine_type: str  # versioned
    machine_file: str
    vcpus: int
    memory: int  # bytes
    pins: Pins = Pins()
    scheduler: str | None = None
    agent: bool = False
    serial: bool = False
    on_poweroff: Literal["stop", "pause"] = "stop"
    on_reboot: Literal["reset", "stop"] = "reset"
    on_crash: Literal["stop", "pause", "reset"] = "stop"
    ephemeral: bool = False
    inhibit_sleep: bool = False
    user: str | None = None  # whom QEMU runs as
    environment: dict[str, str] = {}  # of QEMU, on top of its user's
    memory_lock: int | None = None  # bytes that QEMU may lock, where devices reach its memory
    cards: dict[str, CardDuty] = {}  # by QEMU's ids
    iommufd: bool = False  # whether VFIO devices are had by iommufd
    functions: list[str] = []  # PCI functions whose interrupts go to the CPUs of the vCPUs
    sidecars: list[SidecarSpec] = []  # in the order of their start
    shutdown: Shutdown = Shutdown()
    usb: list[UsbDuty] = []
    evdev: list[EvdevDuty] = []

    @property
    def mark(self) -> tuple[str, str]:
        """Give the name and the value of the word in QEMU's environment by which it is found again."""
        return "QLAUNCH_QEMU", self.runtime

    def socket(self, name: str) -> str:
        """Give the path of one of the machine's sockets."""
        return f"{self.runtime}/{name}.sock"
