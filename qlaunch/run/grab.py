"""Whether an event device can be grabbed: QEMU does not say so when another program has it.

Source: the kernel's ``drivers/input/evdev.c`` (EVIOCGRAB gives EBUSY to all but the one that has it), QEMU's
``ui/input-linux.c``.
"""

import errno
import fcntl
import os

from qlaunch.errors import HostError

_EVIOCGVERSION, _EVIOCGRAB = 0x80044501, 0x40044590


def insist_on_grab(path: str) -> None:
    """Grab a device and let it go at once; one that is not there is for others to judge. Raises HostError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        hint = "run as root, or: usermod -aG input $USER, and log in again" if error.errno == errno.EACCES else ""
        raise HostError(f"cannot open {path}: {os.strerror(error.errno or 0).lower()}", hint) from error
    try:
        _grab(descriptor, path)
    finally:
        os.close(descriptor)


def _grab(descriptor: int, path: str) -> None:
    try:
        fcntl.ioctl(descriptor, _EVIOCGVERSION, bytes(4))
    except OSError as error:
        if error.errno == errno.ENODEV:  # pulled in this very moment
            return
        raise HostError(f"{path} is no event device", "see: ls -l /dev/input/by-id") from error
    try:
        fcntl.ioctl(descriptor, _EVIOCGRAB, 1)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return
        raise HostError(f"{path} is grabbed by another program{_holders(path)}", "end that program first") from error
    fcntl.ioctl(descriptor, _EVIOCGRAB, 0)


def _holders(path: str) -> str:
    """Name those that have it open: one of them has grabbed it."""
    from qlaunch.host.holders import read_holders  # noqa: PLC0415 - only for the complaint
    from qlaunch.host.tree import Tree  # noqa: PLC0415 - same

    node = os.path.realpath(path)
    found = [holder for holder in read_holders(Tree()).found if holder.path == node and holder.pid != os.getpid()]
    names = ", ".join(f"{holder.name} (process {holder.pid})" for holder in found)
    return f"; {names} has it open" if len(found) == 1 else f"; they have it open: {names}" if found else ""
