"""A small Linux as the inner guest: it gets devices, runs one shell script, says what the script said, powers off.

It is Debian's kernel with a busybox and a few drivers (initramfs.py, recipe.GUEST_MODULES), on a machine of qlaunch's,
under the emulated host's KVM: a second judge of what a guest was given, which can use it and not only list it.
"""

import base64

from tests.lab.channel import Job
from tests.lab.host import PATIENCE_S, LabHost

# The kernel takes no longer command line. Source: arch/x86/include/asm/setup.h (COMMAND_LINE_SIZE).
LONGEST_CMDLINE = 2047
MACHINE = """
[machine]
accel = "kvm"
[firmware]
type = "bios"
[boot]
kernel = "/boot/vmlinuz"
initrd = "{initrd}"
cmdline = "{cmdline}"
[cpu]
vcpus = 1
[memory]
size = "256M"
[shutdown]
resend_s = 1
"""
NAME = "linux"
INITRD = "/boot/guest-initrd"
# Later than the others by their names, and in the order in which they need each other.
MORE_DRIVERS = """
set -e
folder=$(mktemp -d)
mkdir $folder/modules
number=100
for path in $(for module in MODULES; do modprobe --show-depends $module; done | sed -n 's/^insmod //p'); do
    cp $path $folder/modules/x$number-$(basename $path)
    number=$((number + 1))
done
(cd $folder && find . | busybox cpio -o -H newc 2>/dev/null) > $folder.cpio
cat /boot/guest-initrd $folder.cpio > $folder.initrd
rm -r $folder $folder.cpio
echo $folder.initrd
"""


def machine(sections: str, script: str, initrd: str = INITRD) -> str:
    """The guest's machine file, with more sections such as ``[[pci]]``."""
    packed = base64.b64encode(script.encode()).decode()
    cmdline = f"console=ttyS0 quiet panic=-1 lab.script={packed}"
    assert len(cmdline) <= LONGEST_CMDLINE, "the script does not fit on a kernel's command line"
    return MACHINE.format(cmdline=cmdline, initrd=initrd) + sections


def with_drivers(host: LabHost, *modules: str) -> str:
    """Make the guest's RAM disk with drivers beyond recipe.GUEST_MODULES, and give its path.

    The kernel unpacks several archives that follow each other into one tree. Source: Documentation/driver-api/
    early-userspace/buffer-format.rst.
    """
    return host.shell(MORE_DRIVERS.replace("MODULES", " ".join(modules))).strip()


def start(host: LabHost, sections: str, script: str, initrd: str = INITRD) -> Job:
    """Boot the guest, and do not wait for it."""
    host.machine(NAME, machine(sections, script, initrd))
    return host.channel.start(["qlaunch", "run", NAME], cwd="/root")


def finish(job: Job) -> str:
    """What the script has said, once the guest has powered itself off and the host has its devices back."""
    ended = job.wait(PATIENCE_S)
    said = ended.out.replace("\r\n", "\n")
    assert ended.status == 0, f"status {ended.status}\n{said}\n{ended.err}"
    assert "guest: status 0" in said, f"{said}\n{ended.err}"
    return said


def run(host: LabHost, sections: str, script: str, initrd: str = INITRD) -> str:
    """Boot the guest, run a script in it to its end, and hand back what it said."""
    return finish(start(host, sections, script, initrd))
