"""A cloud-like image: a root file system on a disk, with a guest agent in it that its start brings up.

Made of what the lab has (its kernel, its first RAM disk, its busybox) and of this machine's qemu-ga. A real cloud image
has its kernel on the disk; this one's lies beside it.
"""

import shutil
import subprocess
from pathlib import Path

from tests.lab import image

SIZE = "64M"
FOLDERS = ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "var", "etc")
# The RAM disk has mounted dev, proc and sys, and brings this up as the first process.
INIT = """#!/bin/busybox sh
export PATH=/bin:/sbin
/bin/busybox --install -s /bin
ln -s /run /var/run
mount -t tmpfs tmpfs /run
echo 'ID=cloudlike' > /etc/os-release
for port in /sys/class/virtio-ports/*; do
    if [ "$(cat $port/name)" = org.qemu.guest_agent.0 ]; then agent=/dev/${port##*/}; fi
done
echo 'cloudlike: up' > /dev/ttyS0
while :; do qemu-ga -m virtio-serial -p $agent -t /run > /dev/ttyS0 2>&1; done
"""
SHUTDOWN = "#!/bin/sh\nsync\npoweroff -f\n"  # what guest-shutdown runs
# On top of machines/headless.toml, whose copy is shipped.toml.
MACHINE = """
extends = "shipped.toml"
[firmware]
type = "bios"
[boot]
kernel = "vmlinuz"
initrd = "initrd"
cmdline = "console=ttyS0 quiet panic=-1"
[[network]]
type = "user"
"""


def make(folder: Path, agent: Path) -> None:
    """Write ``headless.qcow2``, its kernel and RAM disk, and ``headless.toml``, into a folder that has shipped.toml."""
    lab = image.ready()
    root = folder / "root"
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    _run("debugfs", "-R", f"dump /usr/bin/busybox {root}/bin/busybox", str(lab.disk))
    (root / "bin/sh").symlink_to("busybox")
    (root / "sbin/init").write_text(INIT)
    (root / "sbin/shutdown").write_text(SHUTDOWN)
    for library in _run("ldd", str(agent)).split():
        if library.startswith("/"):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
    shutil.copy(agent, root / "bin/qemu-ga")
    for program in ("bin/busybox", "sbin/init", "sbin/shutdown"):
        (root / program).chmod(0o755)
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(folder / "root.raw"), SIZE)
    _run("qemu-img", "convert", "-O", "qcow2", str(folder / "root.raw"), str(folder / "headless.qcow2"))
    (folder / "vmlinuz").symlink_to(lab.kernel)
    (folder / "initrd").symlink_to(lab.initrd)
    (folder / "headless.toml").write_text(MACHINE)


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
