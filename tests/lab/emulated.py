"""The emulated host as QEMU options: what a passthrough host has, part by part, and profiles that lack or change one.

Pure: it names files of the lab's folder and starts nothing. Which part sits behind which port is in PORTS; a test
finds it there whatever numbers the firmware gave out. Source: tried on QEMU 10.0 with Linux 6.12; QEMU,
docs/system/i386/, hw/net/igb.c, hw/pci-bridge/pcie_root_port.c.
"""

from typing import NamedTuple

CPUS = 8
MEMORY_MIB = 6144

# The device number on the root bus of each root port.
PORTS = {
    "root": 0x2,
    "agent": 0x3,
    "gpu": 0x8,
    "nic": 0x9,
    "nvme": 0xA,
    "usb": 0xB,
    "dirty": 0xC,
    "display": 0xD,
    "twin0": 0xE,
    "twin1": 0xF,
    "spare0": 0x10,
    "spare1": 0x11,
}
TWIN_MAC = "52:54:00:00:00:2"
CPUFREQ_SERIAL = 0x220  # an ISA serial port for nothing but its scratch register, which remembers the wanted frequency
SCRATCH_REGISTER = 7

# EPYC-Rome without what TCG cannot emulate, named so that QEMU prints no warning of it. topoext is outside TCG's own
# list of features and must be forced: without it no guest kernel sees cores with two threads and an L3 of their own.
AMD = (
    "EPYC-Rome,x-force-features=on,-fxsr-opt,-misalignsse,-osvw,-nrip-save,-xsavec,-perfctr-core,-wbnoinvd,"
    "-svme-addr-chk,-clzero,-ibpb,-amd-stibp,-xsaves,+topoext,+invtsc,+x2apic"
)
# TCG emulates no VMX, so this one has no KVM.
INTEL = (
    "Skylake-Client,-hle,-rtm,-pcid,-invpcid,-tsc-deadline,-spec-ctrl,-xsavec,-xsaves,-fma,-f16c,-avx2,-avx,"
    "-bmi1,-bmi2,-ds,-ss,-tm,-pbe,-dtes64,-monitor,-ds-cpl,-vmx,-est,-tm2,-xtpr,-pdcm,-arat,+invtsc,+x2apic"
)

# What an emulated CPU needs so as not to lose itself on a busy machine: no calibration against the clock, no check that
# a timer interrupt came in time. A panic ends the emulator, which is how it is noticed.
KERNEL_WORDS = (
    *("console=ttyS0", "root=/dev/vda", "rw", "quiet", "loglevel=4", "systemd.show_status=0", "panic=-1"),
    *("tsc=reliable", "no_timer_check", "lpj=10384464", "rcupdate.rcu_cpu_stall_suppress=1", "random.trust_cpu=on"),
    *("mitigations=off", "nokaslr", "audit=0", "apparmor=0", "selinux=0"),
)


class Profile(NamedTuple):
    """One variant of the emulated host."""

    meaning: str
    cpu: str = AMD
    iommu: bool = True
    kernel: tuple[str, ...] = ("iommu=pt",)


PROFILES = {
    "full": Profile("an AMD host with everything"),
    "no-iommu": Profile("the IOMMU is switched off in the firmware's setup", iommu=False, kernel=()),
    "no-kvm": Profile("virtualization is switched off in the firmware's setup", cpu=f"{AMD},-svm"),
    "no-hugepages": Profile(
        "the CPU has no large pages, so the kernel has no pool of any size", cpu=f"{AMD},-pse,-pdpe1gb"
    ),
    "intel": Profile("an Intel host; emulation gives it no VMX, hence no KVM", cpu=INTEL),
}


class Files(NamedTuple):
    """What the host is made of, by path. Sockets and logs are relative: the emulator runs in the lab's own folder."""

    kernel: str
    initrd: str
    firmware_code: str
    disk: str


def options(profile: Profile, files: Files) -> list[str]:
    """QEMU's options for a profile, without the program."""
    return [*_board(profile, files), *_control(), *_gpu(), *_nic(), *_nvme_port(), *_usb(), *_dirty_group(), *_others()]


def nvme_device() -> dict[str, str]:
    """device_add arguments of the NVMe disk.

    It is plugged into a running host, since it would block the host's snapshot.
    """
    return {"driver": "nvme", "id": "nvme0", "bus": "port-nvme", "serial": "LABNVME0", "drive": "nvme"}


def twin_device(number: int) -> dict[str, str]:
    """device_add arguments of one of the two equal cards."""
    network = {"netdev": f"hub{2 + number}", "mac": f"{TWIN_MAC}{number}", "romfile": ""}
    return {"driver": "e1000e", "id": f"twin{number}", "bus": f"port-twin{number}", **network}


def _board(profile: Profile, files: Files) -> list[str]:
    half = MEMORY_MIB // 2
    words = [*KERNEL_WORDS, *profile.kernel]
    argv = ["-name", "lab", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-rtc", "base=utc"]
    argv += ["-machine", "q35,smm=off,hpet=off,kernel-irqchip=off", "-accel", "tcg,thread=multi,tb-size=1024"]
    argv += ["-cpu", profile.cpu, "-smp", f"{CPUS},sockets=1,dies=2,cores=2,threads=2", "-m", str(MEMORY_MIB)]
    for node, cpus in enumerate(("0-3", "4-7")):
        argv += [
            "-object",
            f"memory-backend-ram,id=ram{node},size={half}M",
            "-numa",
            f"node,nodeid={node},memdev=ram{node},cpus={cpus}",
        ]
    argv += ["-numa", "dist,src=0,dst=1,val=20"]
    if profile.iommu:
        argv += ["-device", "intel-iommu,intremap=on,eim=on"]
        words.append("intel_iommu=on")
    argv += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={files.firmware_code}"]
    argv += ["-drive", "if=pflash,format=raw,unit=1,file=vars.fd"]
    argv += ["-kernel", files.kernel, "-initrd", files.initrd, "-append", " ".join(words)]
    argv += ["-drive", f"if=none,id=root,format=qcow2,cache=unsafe,file={files.disk}"]
    argv += ["-device", f"virtio-blk-pci,drive=root,bus=pcie.0,addr={PORTS['root']:#x},serial=LABROOT"]
    argv += ["-acpitable", "file=cpufreq.aml", "-chardev", "null,id=nowhere"]
    return [*argv, "-device", f"isa-serial,chardev=nowhere,index=3,iobase={CPUFREQ_SERIAL:#x},irq=5"]


def _control() -> list[str]:
    argv = ["-chardev", "file,id=console,path=console.log", "-device", "isa-serial,chardev=console,index=0"]
    argv += ["-qmp", "unix:qmp.sock,server=on,wait=off", "-audiodev", "none,id=silence"]
    argv += ["-device", f"virtio-serial-pci,bus=pcie.0,addr={PORTS['agent']:#x}"]
    argv += ["-chardev", "socket,id=agent,path=agent.sock,server=on,wait=off"]
    return [*argv, "-device", "virtserialport,chardev=agent,name=lab.agent"]


def _port(name: str, more: str = "") -> list[str]:
    number = PORTS[name]
    return [
        "-device",
        f"pcie-root-port,id=port-{name},bus=pcie.0,addr={number:#x},chassis={number},slot={number}{more}",
    ]


def _gpu() -> list[str]:
    """A graphics card as they are sold today.

    Display, sound and USB in one slot, and something plugged into its USB.
    """
    argv = ["-vga", "none", *_port("gpu")]
    argv += ["-device", "VGA,id=gpu,bus=port-gpu,addr=0.0,multifunction=on,edid=on,xres=1280,yres=1024"]
    argv += ["-device", "ich9-intel-hda,id=gpu-sound,bus=port-gpu,addr=0.1,multifunction=on"]
    argv += ["-device", "hda-output,bus=gpu-sound.0,audiodev=silence"]
    argv += ["-device", "qemu-xhci,id=gpu-usb,bus=port-gpu,addr=0.2,multifunction=on"]
    return [*argv, "-device", "usb-tablet,id=gpu-tablet,bus=gpu-usb.0,serial=GPUTABLET"]


def _nic() -> list[str]:
    """An Intel 82576 with seven virtual functions; its wire is a pair of sockets and a capture file."""
    argv = _port("nic", ",pref32-reserve=64M")
    argv += [
        "-netdev",
        "dgram,id=wire,local.type=unix,local.path=wire-near.sock,remote.type=unix,remote.path=wire-far.sock",
    ]
    argv += ["-object", "filter-dump,id=capture,netdev=wire,file=wire.pcap"]
    return [*argv, "-device", "igb,id=nic,bus=port-nic,netdev=wire,mac=52:54:00:00:00:01,romfile="]


def _nvme_port() -> list[str]:
    return [*_port("nvme"), "-drive", "if=none,id=nvme,file=nvme.raw,format=raw"]


def _usb() -> list[str]:
    argv = [*_port("usb"), "-device", "qemu-xhci,id=usb,bus=port-usb"]
    for device in (
        "usb-kbd,id=keyboard,serial=KEYS0",
        "usb-mouse,id=mouse,serial=MOUSE0",
        "usb-tablet,id=tablet,serial=TABLET0",
    ):
        argv += ["-device", f"{device},bus=usb.0"]
    argv += ["-drive", "if=none,id=stick,file=stick.raw,format=raw"]
    return [*argv, "-device", "usb-storage,id=stick,bus=usb.0,drive=stick,serial=LABSTICK,removable=on"]


def _dirty_group() -> list[str]:
    """A network card, a sound card and a USB controller behind one conventional bridge: one group, three strangers."""
    argv = [
        *_port("dirty"),
        "-device",
        "pcie-pci-bridge,id=bridge,bus=port-dirty",
        "-netdev",
        "hubport,id=hub1,hubid=1",
    ]
    argv += ["-device", "e1000,id=dirty-nic,bus=bridge,addr=1,netdev=hub1,mac=52:54:00:00:00:11,romfile="]
    argv += ["-device", "AC97,id=dirty-sound,bus=bridge,addr=2,audiodev=silence"]
    return [*argv, "-device", "nec-usb-xhci,id=dirty-usb,bus=bridge,addr=3"]


def _others() -> list[str]:
    """The display that the host keeps, which has the IDs of the one that it gives away.

    Two equal cards; two free slots.
    """
    argv = [*_port("display"), "-device", "secondary-vga,id=display,bus=port-display"]
    for number in (0, 1):
        argv += [*_port(f"twin{number}"), "-netdev", f"hubport,id=hub{2 + number},hubid={2 + number}"]
        argv += ["-device", ",".join(f"{key}={value}" for key, value in twin_device(number).items())]
    return [*argv, *_port("spare0"), *_port("spare1")]
