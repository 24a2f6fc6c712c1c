"""Tap interfaces by the kernel's tun device: made to stay, and opened queue by queue.

Owns: the ioctls. Must not: know whose interface it is.

Source: the kernel's ``Documentation/networking/tuntap.rst``, ``include/uapi/linux/if_tun.h``; ``drivers/net/tun.c``: a
tap that was made for several queues can be opened for several alone (EINVAL), and ``drivers/net/tap.c`` for macvtap,
each open of whose node is a queue.
"""

import errno
import fcntl
import os
import struct

TUN = "/dev/net/tun"
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_TAP, _NO_PI, _MULTI_QUEUE, _VNET_HDR = 0x2, 0x1000, 0x100, 0x4000


def make_tap(name: str, *, many_queues: bool) -> None:
    """Make a tap that stays when nobody has it open. Raises OSError with the name, or the device, as its file name."""
    descriptor = open_tap(name, many_queues=many_queues)
    try:
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    finally:
        os.close(descriptor)


def open_tap(name: str, *, many_queues: bool) -> int:
    """Open one queue of a tap; where there is none of the name, the kernel makes it until the descriptor is closed."""
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    return _configured(descriptor, name, many_queues=many_queues)


def open_macvtap(name: str, node: str, *, many_queues: bool) -> int:
    """Open one queue of a macvtap by its node, such as ``/dev/tap7``."""
    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    return _configured(descriptor, name, many_queues=many_queues)


def _configured(descriptor: int, name: str, *, many_queues: bool) -> int:
    flags = _TAP | _NO_PI | _VNET_HDR | (_MULTI_QUEUE if many_queues else 0)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno or errno.EIO, os.strerror(error.errno or errno.EIO), name) from error
    return descriptor
