"""One write to a file of the kernel, by this process or by one that can be given up.

Owns: the system calls. Must not: know what a path means.

Source: the kernel's ``include/uapi/linux/usbdevice_fs.h``, ``drivers/usb/core/devio.c`` (proc_ioctl).
"""

import errno
import os
import select
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from qlaunch.steps.waits import KERNEL, note

_ANSWER = struct.Struct("idd")  # an error number or 0, and when the write began and ended
_USBDEVFS_IOCTL, _USBDEVFS_DISCONNECT, _USBDEVFS_CONNECT = 0xC0105512, 0x5516, 0x5517


def write_once(path: str, text: str) -> None:
    """Write a text by one system call. Raises OSError."""
    # Without O_CREAT and O_TRUNC: where nothing is mounted no plain file must be made, and one write is one action.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode(errors="surrogateescape") or b"\n")
    finally:
        os.close(descriptor)


def write_in_child(path: str, text: str, deadline_s: float) -> None:
    """Write in a process that can be given up. Raises OSError, and TimeoutError when the write may still happen."""
    in_child(lambda: write_once(path, text), path, deadline_s)


def set_usb_driver(node: str, interface: int, *, attached: bool) -> None:
    """Let the kernel's driver have an interface of a USB device, or take it from it. Raises OSError."""
    import fcntl  # noqa: PLC0415 - few machines have USB devices

    descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        request = _USBDEVFS_CONNECT if attached else _USBDEVFS_DISCONNECT
        fcntl.ioctl(descriptor, _USBDEVFS_IOCTL, struct.pack("@iiP", interface, request, 0))
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EBUSY):  # it is so already
            raise
    finally:
        os.close(descriptor)


def in_child(act: Callable[[], None], path: str, deadline_s: float) -> None:
    """Act in a process of its own, which also keeps the machine's lock for as long as the kernel keeps it waiting.

    Raises OSError, and TimeoutError when it may still happen.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        code, began = 255, time.monotonic()
        try:
            act()
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            with suppress(OSError):
                os.write(writing, _ANSWER.pack(code, began, time.monotonic()))
            os._exit(0)
    os.close(writing)
    try:
        ready = select.select([reading], [], [], deadline_s)[0]
        answer = os.read(reading, _ANSWER.size) if ready else b""
    finally:
        os.close(reading)
    if not answer:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        if ready:
            os.waitpid(child, 0)
        raise TimeoutError(f"the kernel has kept a write to {path} for {deadline_s:g} s")
    os.waitpid(child, 0)
    code, began, ended = _ANSWER.unpack(answer)
    note(KERNEL, began, ended)
    if code:
        raise OSError(code, os.strerror(code), path)
