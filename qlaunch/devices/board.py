"""``[machine]``: the board, the accelerator, and what the guest's own power events mean.

Source: ``qemu-options.hx`` (-machine, -accel, -action, -name), ``hw/i386/pc.c`` (vmport, i8042), ``hw/acpi/ich9.c``
(disable_s3).
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device, keyval, raw
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.guest import GuestAddress
from qlaunch.values.size import Size


class Board(Section, frozen=True, kw_only=True):
    """The board and its behaviour."""

    type: str = "q35"
    accel: Literal["kvm", "tcg", "auto"] = "kvm"
    on_reboot: Literal["reset", "stop"] = "reset"
    on_poweroff: Literal["stop", "pause"] = "stop"
    on_crash: Literal["stop", "pause", "reset"] = "stop"
    uuid: str | None = None
    title: str | None = None
    vmport: bool = False
    ps2: bool = True  # OVMF and Windows Setup need a keyboard before virtio drivers exist
    acpi: bool = True
    smm: bool | None = None  # on where the firmware needs it, else QEMU's own choice
    tseg: Size | None = None
    irqchip: Literal["kernel", "split"] | None = None
    dirty_ring: Annotated[int, msgspec.Meta(ge=1024, le=65536)] | None = None
    suspend: bool | Literal["to-ram", "to-disk"] = False
    watchdog: Literal["i6300esb", "ib700", "itco"] | None = None
    watchdog_action: Literal["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"] = "reset"
    watchdog_address: GuestAddress | None = None
    panic_device: bool = True
    genid: str | None = None
    root_ports: list[GuestAddress] = []
    spare_ports: Annotated[int, msgspec.Meta(ge=0, le=8)] = 4
    ephemeral: bool = False

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield name, board, accelerator and power behaviour."""
        del index
        # The kernel keeps 15 characters of a thread's name (TASK_COMM_LEN in include/linux/sched.h).
        name: dict[str, Value] = {"guest": site.name, "process": process_name(site.name), "debug-threads": True}
        yield keyval("name", **name)
        yield raw("no-user-config")
        yield raw("nodefaults")
        yield raw("S")
        yield keyval("msg", timestamp=True)
        yield keyval("sandbox", "on", obsolete="deny", elevateprivileges="deny", spawn="deny", resourcecontrol="deny")
        yield raw("uuid", site.uuid)
        yield self._machine(site)
        yield self._accel(site)
        # The supervisor decides how it ends: QEMU's own exit status is 0 for power-off, panic and quit alike.
        reboot = "reset" if self.on_reboot == "reset" else "shutdown"
        yield keyval("action", reboot=reboot, shutdown="pause", panic="pause", watchdog=self.watchdog_action)
        yield from self._globals(site)
        if self.watchdog == "i6300esb":
            yield device(self.watchdog, "watchdog0", **site.built_in("0x11", "0x1b", self.watchdog_address))
        elif self.watchdog == "ib700":
            yield device(self.watchdog, "watchdog0")
        if self.panic_device:
            yield device("pvpanic", "panic0")
        if self.genid:
            yield device("vmgenid", "genid0", guid=self.genid)

    def _accel(self, site: Site) -> Arg:
        if site.accel == "kvm":
            return keyval("accel", "kvm", **{"dirty-ring-size": self.dirty_ring})
        return keyval("accel", "tcg", thread="multi")

    def _globals(self, site: Site) -> Iterator[Arg]:
        """Yield what belongs to devices of the board itself, which -machine has no word for."""
        chipset = "ICH9-LPC" if site.board == "q35" else "PIIX4_PM"
        for state, name in (("disable_s3", "to-ram"), ("disable_s4", "to-disk")):
            if self.suspend is not True and self.suspend != name:
                yield keyval("global", driver=chipset, property=state, value="1")
        if self.watchdog == "itco":
            yield keyval("global", driver="ICH9-LPC", property="noreboot", value="off")
        if self.tseg:
            yield keyval("global", driver="mch", property="extended-tseg-mbytes", value=str(self.tseg.mib))

    def _machine(self, site: Site) -> Arg:
        firmware = site.firmware
        options: dict[str, Value] = {
            "smm": self.smm if self.smm is not None else (firmware.needs_smm or None) if firmware else None,
            "vmport": self.vmport,
            "i8042": None if self.ps2 else False,
            "usb": False,
            "dump-guest-core": False,
            "mem-merge": False,
            "memory-backend": None if site.memory_cells else "ram0",
            "pflash0": "fw-code" if firmware else None,
            "pflash1": "fw-vars" if firmware else None,
            "kernel-irqchip": {"kernel": "on", "split": "split", None: None}[
                self.irqchip if site.accel == "kvm" else None
            ],
            "acpi": None if self.acpi else False,
        }
        return keyval("machine", site.machine_type, **options)


def process_name(name: str) -> str:
    """Give what a machine's QEMU calls itself; the kernel keeps 15 bytes."""
    return f"ql-{name}"[:15]
