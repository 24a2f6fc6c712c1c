"""``[machine]``: the board, the accelerator, and what the guest's own power events mean.

Source: ``qemu-options.hx`` (-machine, -accel, -action, -name), ``hw/i386/pc.c`` (vmport, i8042), ``hw/acpi/ich9.c``
(disable_s3).
"""

from collections.abc import Iterator
from typing import Literal

from qlaunch.devices.arg import Arg, Value, device, keyval, raw
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site


class Board(Section, frozen=True, kw_only=True):
    """The board and its behaviour."""

    type: str = "q35"
    accel: Literal["kvm", "tcg", "auto"] = "kvm"
    on_reboot: Literal["reset", "stop"] = "reset"
    on_poweroff: Literal["stop", "pause"] = "stop"
    on_crash: Literal["stop", "pause", "reset"] = "stop"
    uuid: str | None = None
    vmport: bool = False
    ps2: bool = True  # OVMF and Windows Setup need a keyboard before virtio drivers exist
    suspend: bool = False
    watchdog: Literal["i6300esb", "itco"] | None = None
    panic_device: bool = True
    ephemeral: bool = False

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield name, board, accelerator and power behaviour."""
        del index
        # The kernel keeps 15 characters of a thread's name (TASK_COMM_LEN in include/linux/sched.h).
        name: dict[str, Value] = {"guest": site.name, "process": f"ql-{site.name}"[:15], "debug-threads": True}
        yield keyval("name", **name)
        yield raw("no-user-config")
        yield raw("nodefaults")
        yield raw("S")
        yield keyval("msg", timestamp=True)
        yield keyval("sandbox", "on", obsolete="deny", elevateprivileges="deny", spawn="deny", resourcecontrol="deny")
        yield raw("uuid", site.uuid)
        yield self._machine(site)
        yield keyval("accel", "kvm") if site.accel == "kvm" else keyval("accel", "tcg", thread="multi")
        # The supervisor decides how it ends: QEMU's own exit status is 0 for power-off, panic and quit alike.
        reboot = "reset" if self.on_reboot == "reset" else "shutdown"
        yield keyval("action", reboot=reboot, shutdown="pause", panic="pause", watchdog="reset")
        if not self.suspend:
            chipset = "ICH9-LPC" if site.board == "q35" else "PIIX4_PM"
            for state in ("disable_s3", "disable_s4"):
                yield keyval("global", driver=chipset, property=state, value="1")
        if self.watchdog == "itco":
            yield keyval("global", driver="ICH9-LPC", property="noreboot", value="off")
        elif self.watchdog:
            yield device(self.watchdog, "watchdog0", bus=site.root_bus, addr="0x11" if site.board == "q35" else "0x1b")
        if self.panic_device:
            yield device("pvpanic", "panic0")

    def _machine(self, site: Site) -> Arg:
        firmware = site.firmware
        options: dict[str, Value] = {
            "smm": (firmware.needs_smm or None) if firmware else None,
            "vmport": self.vmport,
            "i8042": None if self.ps2 else False,
            "usb": False,
            "dump-guest-core": False,
            "mem-merge": False,
            "memory-backend": "ram0",
            "pflash0": "fw-code" if firmware else None,
            "pflash1": "fw-vars" if firmware else None,
        }
        return keyval("machine", site.machine_type, **options)
