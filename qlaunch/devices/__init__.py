"""The parts of the guest: a section of the machine file each, as a frozen type that says its own QEMU options. Pure.

``DEVICES`` is the order in which sections stand on the command line. Adding a device is a file here, a line in this
list, a field in ``qlaunch.machine.model.Machine`` and a golden case.
"""

from qlaunch.devices.section import Section

DEVICES = (
    *("machine", "cpu", "memory", "iothread", "firmware", "clock", "boot", "controller", "disk", "network", "share"),
    *("usb", "display", "input", "audio", "agent", "serial", "channel", "rng", "vsock", "shmem", "tpm", "pci", "qemu"),
)

__all__ = ["DEVICES", "Section"]
