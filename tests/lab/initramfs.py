"""Initial RAM disks: busybox, a few modules, one script. One starts the emulated host, one is a whole small guest.

It writes the archive itself, so that no cpio program is needed.
Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst (the newc format).
"""

from collections.abc import Mapping

START = b"""#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in /modules/*; do insmod $module; done
"""
# Finds the root file system and starts it.
HOST = (
    START
    + b"""tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
mount -t ext4 -o rw,noatime /dev/vda /new || poweroff -f
for place in dev proc sys; do mount --move /$place /new/$place; done
exec switch_root /new /sbin/init
"""
)
# Runs the script of the kernel's command line, shows on the serial port what it says, and powers itself off.
GUEST = (
    START
    + b"""sed -n 's/.*lab.script=\\([^ ]*\\).*/\\1/p' /proc/cmdline | base64 -d > /script
sh /script > /dev/ttyS0 2>&1
echo "guest: status $?" > /dev/ttyS0
poweroff -f
"""
)
FOLDERS = ("bin", "dev", "proc", "sys", "new", "modules")
DIRECTORY, REGULAR, LINK = 0o040755, 0o100755, 0o120777


def archive(init: bytes, busybox: bytes, modules: Mapping[str, bytes]) -> bytes:
    """The RAM disk; the modules are loaded in the order in which they are given."""
    parts = [_entry(name, DIRECTORY, b"") for name in FOLDERS]
    parts += [
        _entry("init", REGULAR, init),
        _entry("bin/busybox", REGULAR, busybox),
        _entry("bin/sh", LINK, b"busybox"),
    ]
    parts += [_entry(f"modules/{place:02}-{name}", REGULAR, data) for place, (name, data) in enumerate(modules.items())]
    return b"".join(parts) + _entry("TRAILER!!!", 0, b"")


def _entry(name: str, mode: int, data: bytes) -> bytes:
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
