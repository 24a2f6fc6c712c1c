"""Known complaints of QEMU, with what to do about each. Everything QEMU printed is shown beside it.

Source: each text was made by running QEMU 7.2 and 10.0 into the fault.
"""

import re
import signal
from collections.abc import Sequence

from qlaunch.errors import HostError, QemuError
from qlaunch.machine.sidecar import SidecarSpec
from qlaunch.run.sidecar_start import last_lines, last_words

# What QEMU says, what it means, what to do. {0} is what the parentheses matched.
_KNOWN = (
    (
        r"Is another process using the image \[(.+?)\]",
        "the disk {0} is in use by another QEMU",
        "stop the machine that uses it",
    ),
    (
        r'Failed to get "?(?:write|shared \S+)"? lock',
        "a disk is in use by another QEMU",
        "stop the machine that uses it",
    ),
    (
        r"Could not access KVM kernel module: Permission denied",
        "/dev/kvm may not be opened",
        "join the group kvm and log in again",
    ),
    (
        r"Could not access KVM kernel module",
        "there is no usable /dev/kvm",
        "switch virtualization on in the firmware setup, or use accel = 'tcg'",
    ),
    (
        r"cannot set up guest memory .*: Cannot allocate memory",
        "the host has not enough free memory",
        "lower memory.size",
    ),
    (
        r"unable to map backing store for guest RAM",
        "the hugepage pool is too small",
        "lower memory.size, or grow the pool",
    ),
    (
        r"Could not set up host forwarding rule '(.+?)'",
        "the port of the forward {0} is taken on this host",
        "choose another port in network.forward",
    ),
    (
        r"Could not open '(.+?)': (?:Permission denied)",
        "{0} may not be opened",
        "give the user that runs qlaunch access to it",
    ),
    (
        r"couldn't open directory \S+/([0-9a-f:.]{12})/vfio-dev",
        "the PCI device {0} is not there, or vfio-pci does not have it",
        "see: qlaunch groups",
    ),
    (
        r'failed to load "\S+/([0-9a-f:.]{12})/vfio-dev/',
        "this kernel gives the PCI device {0} no node of its own, as iommufd needs",
        'boot one with CONFIG_VFIO_DEVICE_CDEV, or write iommu_backend = "container" under [host]',
    ),
    (r"Could not open '(.+?)': (.+)", "{0} cannot be opened: {1}", "check the path"),
    (
        r"vfio \S*?([0-9a-f:.]{12}): no such host device",
        "there is no PCI device {0} on this host",
        "see: lspci -D",
    ),
    (r"Perhaps you want to install (\S+) package", "this QEMU lacks a module", "install {0}"),
    (
        r"'(\S+)' is not a valid device model name",
        "this QEMU has no device {0}",
        "install its module package, or use a newer QEMU",
    ),
    (
        r"Failed to connect to '\S+/(\w+)\.sock'",
        "the helper behind {0}.sock ended at its start",
        "its own words are in the machine's state folder",
    ),
    (
        r"tpm-emulator: (?:\w+: )?(.+)",
        "QEMU and swtpm do not get on: {0}",
        "see swtpm.log in the machine's state folder",
    ),
    (r"Unable to find CPU definition: (\S+)", "this QEMU knows no CPU model {0}", "see: qemu-system-x86_64 -cpu help"),
    (r"CPU model '(\S+)' requires KVM", "the CPU model {0} needs KVM", "leave cpu.model out, or use accel = 'kvm'"),
)


def explain_death(
    error: BaseException, status: int | None, log: str, helpers: Sequence[SidecarSpec] = ()
) -> BaseException:
    """Turn "the monitor closed" into what QEMU complained about, if it did; ``status`` is negative for a signal.

    Where QEMU complains of a helper, that one's own last words say more.
    """
    cause = _explained(error, status, log)
    spec = next((spec for spec in helpers if spec.socket and _names(log, spec.socket)), None)
    said = last_words(spec) if spec else ""
    if spec is None or not said or not isinstance(cause, QemuError):
        return cause
    printed = "\n".join([log, *last_lines(spec)])
    return QemuError(f"{cause.message}; {spec.name} said: {said}", f"see: {spec.log}", printed)


def _names(log: str, socket: str) -> bool:
    name = socket.rpartition("/")[2]
    return f"/{name}'" in log or (name == "swtpm.sock" and "tpm-emulator" in log)


def _explained(error: BaseException, status: int | None, log: str) -> BaseException:
    if isinstance(error, HostError):
        return error
    for pattern, meaning, hint in _KNOWN:
        if match := re.search(pattern, log):
            return QemuError(
                f"QEMU did not start: {meaning.format(*match.groups())}", hint.format(*match.groups()), log
            )
    if status is None or status == -signal.SIGKILL:
        return error
    if status < 0:
        name = signal.Signals(-status).name
        return QemuError(f"QEMU died of {name} at its start", "", log)
    return QemuError(f"QEMU ended with status {status} at its start", "", log)
