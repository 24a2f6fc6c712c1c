"""What a supervisor owes a started machine: all that it needs to know, and nothing of the machine file.

It is on disk while the machine runs, so that another supervisor can take the machine over from a dead one.
"""

from typing import Literal

import msgspec

from qlaunch.machine.hostside import Shutdown


class Pins(msgspec.Struct, frozen=True, kw_only=True):
    """Host CPUs by thread, in the kernel's list format: what ``plan --json`` shows."""

    vcpus: dict[str, str] = {}
    iothreads: dict[str, str] = {}
    emulator: str | None = None


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
    shutdown: Shutdown = Shutdown()

    def socket(self, name: str) -> str:
        """Give the path of one of the machine's sockets."""
        return f"{self.runtime}/{name}.sock"
