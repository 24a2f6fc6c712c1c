"""What goes into the lab's image. A change here, or in any file that makes the image, makes another image.

Source: Debian 13 (trixie), the newest stable at the time of writing: kernel 6.12, QEMU 10.0, systemd 257, Python 3.13.
"""

import hashlib
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent

SUITE = "trixie"
OLD_SUITE = "bookworm"  # its QEMU 7.2 lies beside, for the same tests on the oldest version that qlaunch supports
PYTHON = "3.13"  # the suite's

PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "util-linux", "procps", "psmisc", "busybox-static"),
    *("iproute2", "nftables", "dnsmasq-base", "pciutils", "usbutils", "acl", "irqbalance", "strace", "zstd", "python3"),
    *("qemu-system-x86", "qemu-utils", "seabios", "ipxe-qemu", "ovmf", "swtpm", "swtpm-tools", "virtiofsd", "passt"),
)

# Beside what qlaunch needs by pyproject.toml: what helps when somebody looks around inside.
EXTRA_WHEELS = ("pytest", "hypothesis")

# The modules of the kernel that the emulated host may load; the others stay out, to keep image and boot small.
MODULES = (
    *(
        "virtio_blk",
        "virtio_net",
        "virtio_gpu",
        "virtio-rng",
        "virtio_console",
        "virtio_scsi",
        "virtio_input",
        "virtiofs",
    ),
    *(
        "ext4",
        "crc32c_generic",
        "vfat",
        "nls_cp437",
        "nls_ascii",
        "nls_iso8859-1",
        "isofs",
        "overlay",
        "fuse",
        "loop",
        "zram",
    ),
    *("9p", "9pnet_virtio", "autofs4", "efivarfs", "configfs", "dm-mod", "squashfs"),
    *("kvm-amd", "kvm-intel", "vfio-pci", "vfio_iommu_type1", "msr", "cpuid"),
    *("bochs", "snd-hda-intel", "snd-hda-codec-generic", "snd-intel8x0", "xhci-pci", "usbhid", "hid-generic"),
    *("usb-storage", "uas", "sd_mod", "sg", "evdev", "uinput", "mousedev", "joydev", "psmouse", "button"),
    *("igb", "igbvf", "e1000", "e1000e", "nvme", "ahci", "i2c-i801"),
    *("acpi-cpufreq", "cpufreq_powersave", "cpufreq_userspace", "cpufreq_ondemand", "cpufreq_conservative"),
    *("tun", "tap", "bridge", "veth", "macvtap", "macvlan", "dummy", "8021q", "vhost_net", "vhost_vsock", "af_packet"),
    *("nf_tables", "nft_chain_nat", "nft_ct", "nft_masq", "nft_compat", "nf_conntrack"),
)

# What the initial RAM disk needs to find the root file system.
EARLY_MODULES = ("virtio_blk", "ext4", "crc32c_generic")

# What the small Linux guest (guest.py) has drivers for: what a test may give it.
GUEST_MODULES = ("af_packet", "virtio_net", "virtio_blk", "igbvf", "igb", "e1000e", "nvme", "xhci-pci", "usb-storage")

# Units that cost an emulated CPU time and give a test nothing, or that change the host behind a test's back.
MASKED_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "systemd-tmpfiles-clean.timer", "systemd-timesyncd.service", "getty@tty1.service"),
    *(
        "serial-getty@ttyS0.service",
        "systemd-update-utmp.service",
        "systemd-pstore.service",
        "modprobe@efi_pstore.service",
    ),
    *(
        "ldconfig.service",
        "systemd-firstboot.service",
        "systemd-machine-id-commit.service",
        "systemd-hwdb-update.service",
    ),
    *("systemd-update-done.service", "systemd-random-seed.service", "systemd-journal-flush.service"),
    *("systemd-binfmt.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-fsck-root.service"),
    *("systemd-networkd-wait-online.service", "systemd-journal-catalog-update.service"),
)

# Units that a test starts when it wants them; by themselves they would change the host behind its back.
DISABLED_UNITS = ("irqbalance.service",)

MAKERS = ("recipe.py", "debian.py", "image.py", "initramfs.py", "agent.py")


def wheels() -> list[str]:
    """The Python packages that go into the image: what qlaunch needs, by its own pyproject.toml, and the extra ones."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        needed: list[str] = tomllib.load(file)["project"]["dependencies"]
    return [*needed, *EXTRA_WHEELS]


def key() -> str:
    """Names the image that this recipe makes: another name as soon as one of its inputs is another."""
    digest = hashlib.sha256(repr(wheels()).encode())
    for path in [
        *(HERE / name for name in MAKERS),
        *sorted(path for path in (HERE / "root").rglob("*") if path.is_file()),
    ]:
        digest.update(f"{path.relative_to(HERE)} {path.stat().st_mode & 0o111}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
