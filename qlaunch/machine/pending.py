"""What a machine file may say already, and this qlaunch cannot do yet: told in one sentence instead of being ignored.

`argv` and `plan` show such a machine all the same; `up` refuses it.
"""

from collections.abc import Callable, Iterator

from qlaunch.errors import Problem
from qlaunch.machine.model import Machine


def pending(machine: Machine) -> Iterator[Problem]:
    """Yield a problem for each key in use whose effect on the host is not there yet."""
    for key, what, is_used in _PENDING:
        if is_used(machine):
            message = f"this qlaunch cannot {what} yet"
            yield Problem(code="not-yet", key=key, message=message)


_PENDING: tuple[tuple[str, str, Callable[[Machine], object]], ...] = (
    ("pci", "hand over PCI devices", lambda machine: machine.pci),
    ("network", "make networks other than type = 'user'", lambda m: any(net.type != "user" for net in m.network)),
    ("evdev", "pass input devices", lambda machine: machine.evdev),
    ("usb", "pass USB devices", lambda machine: machine.usb),
    ("tpm", "start a TPM", lambda machine: machine.tpm),
    ("share", "start virtiofsd", lambda machine: any(share.type == "virtiofs" for share in machine.share)),
    ("display.looking_glass", "make the shared file of Looking Glass", lambda machine: machine.display.looking_glass),
    ("host.user", "run QEMU as another user", lambda machine: machine.host.user),
    ("host.governor", "set the CPU governor", lambda machine: machine.host.governor),
    ("host.energy_preference", "set the energy preference", lambda machine: machine.host.energy_preference),
    ("host.shield", "shield CPUs", lambda machine: machine.host.shield),
    ("host.irq", "move interrupts", lambda machine: machine.host.irq),
    ("host.inhibit_sleep", "keep the host awake", lambda machine: machine.host.inhibit_sleep),
    ("host.services", "stop services", lambda machine: machine.host.services.stop),
    ("host.modules", "unload modules", lambda m: m.host.modules.unload or m.host.modules.load),
    ("host.vtconsoles", "unbind consoles", lambda machine: machine.host.vtconsoles != "keep"),
    ("host.sysfs", "write sysfs values", lambda machine: machine.host.sysfs),
    ("host.sysctl", "write sysctl values", lambda machine: machine.host.sysctl),
    ("sidecar", "start sidecars", lambda machine: machine.sidecar),
    ("hook", "run hooks", lambda machine: machine.hook),
)
