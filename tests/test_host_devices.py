"""PCI, IOMMU, USB, input, pictures, disks, networks, groups, kernel, programs and holders, on described hosts."""

import gzip
from pathlib import Path

import pytest

from qlaunch.host.block import BlockFacts, read_blocks
from qlaunch.host.cgroup import read_cgroups
from qlaunch.host.facts import HostFacts
from qlaunch.host.holders import device_addresses
from qlaunch.host.iommu import read_iommu
from qlaunch.host.kernel import find_module
from qlaunch.host.pci_ids import PciNames
from qlaunch.host.tree import Tree
from qlaunch.values.pci import PciAddress
from tests.hosts.build import expand, load

GPU = "0000:0b:00.0"
NVME = "0000:01:00.0"


@pytest.fixture
def desktop() -> HostFacts:
    return HostFacts(load("desktop-two-ccx").tree())


def test_a_graphics_card_is_identified(desktop: HostFacts) -> None:
    card = desktop.pci.get(GPU)
    assert card is not None
    assert (card.id, card.subsystem, card.kind) == ("1002:73bf", "1eae:6905", "030000")
    assert (card.driver, card.group, card.node, card.upstream) == ("amdgpu", 27, None, "0000:00:03.1")
    assert card.boot_vga
    assert card.resettable
    assert card.display
    assert [one.address for one in desktop.pci.slot(GPU)] == [GPU, "0000:0b:00.1"]


def test_a_device_without_modalias_is_identified_by_its_single_files() -> None:
    home = "/sys/bus/pci/devices/0000:02:00.0"
    parts = {"vendor": "0x1002", "device": "0x73bf", "class": "0x030000", "subsystem_vendor": "0x0"}
    facts = HostFacts(Tree.holding({f"{home}/{name}": text for name, text in parts.items()}, {}))
    assert [(one.id, one.kind, one.subsystem) for one in facts.pci.devices] == [("1002:73bf", "030000", "")]


def test_the_settings_of_a_card_hold_bars_with_the_sizes_they_may_have(desktop: HostFacts) -> None:
    settings = desktop.pci_settings(GPU)
    first = settings.bars[0]
    assert (first.size, first.prefetchable, first.wide) == (256 << 20, True, True)
    assert (first.sizes[0], first.sizes[-1]) == (256 << 20, 16 << 30)
    assert [(bar.index, bar.kind) for bar in settings.bars] == [(0, "memory"), (2, "memory"), (4, "io"), (5, "memory")]
    assert (settings.rom_size, settings.msi_vectors) == (128 << 10, (83,))
    assert settings.reset_methods == ("device_specific", "bus")
    assert settings.driver_override is None
    assert settings.d3cold_allowed is True


def test_virtual_functions_know_their_physical_one_and_the_other_way_round() -> None:
    pf = {"at": "0000:05:00.0", "id": "8086:1521", "class": "020000", "extra": {"sriov_totalvfs": 7, "sriov_numvfs": 2}}
    vfs = [{"at": f"0000:05:10.{number}", "id": "8086:1520", "class": "020000"} for number in (0, 4)]
    files = expand({"pci": [pf, *vfs]})
    for number, one in enumerate(vfs):
        files.links[f"/sys/devices/pci0000:05/0000:05:00.0/virtfn{number}"] = f"../{one['at']}"
        files.links[f"/sys/devices/pci0000:05/{one['at']}/physfn"] = "../0000:05:00.0"
    facts = HostFacts(files.tree())
    sriov = facts.pci_settings("0000:05:00.0").sriov
    assert sriov is not None
    assert (sriov.total, sriov.in_use, sriov.functions) == (7, 2, ("0000:05:10.0", "0000:05:10.4"))
    assert facts.pci_settings("0000:05:10.4").physical_function == "0000:05:00.0"


def test_names_come_from_pci_ids_and_need_no_exact_match(desktop: HostFacts) -> None:
    names = desktop.pci_names
    assert names.vendor("1022") == "Advanced Micro Devices, Inc. [AMD]"
    assert names.device("1002", "ab28") == "Navi 21/23 HDMI/DP Audio Controller"
    # 149c is of the vendor after: a search must not run on into it.
    assert names.device("1002", "149c") is None
    assert names.full("1002", "0001") == "Advanced Micro Devices, Inc. [AMD/ATI] [1002:0001]"
    assert names.full("ffff", "0001") is None
    assert names.subsystem("1002", "73bf", "1eae:6905") == "RX-68XTALFD9 [Merc 319]"
    assert names.subsystem("1002", "ab28", "1eae:6905") is None
    assert names.kind("030000") == "VGA compatible controller"


def test_names_come_from_a_packed_file_too(tmp_path: Path) -> None:
    folder = tmp_path / "usr/share/hwdata"
    folder.mkdir(parents=True)
    (folder / "pci.ids.gz").write_bytes(gzip.compress(b"1002  AMD\n\t73bf  Navi\n"))
    assert PciNames(Tree(str(tmp_path))).full("1002", "73bf") == "AMD Navi"
    (folder / "pci.ids.gz").write_bytes(b"broken")
    assert PciNames(Tree(str(tmp_path))).full("1002", "73bf") is None
    assert PciNames(Tree(str(tmp_path))).kind("010802") == "Non-Volatile memory controller"


def test_groups_hold_their_devices(desktop: HostFacts) -> None:
    assert desktop.iommu.enabled
    assert desktop.iommu.absence is None
    group = next(group for group in desktop.iommu.groups if group.id == 27)
    assert (group.type, group.devices) == ("DMA-FQ", (GPU,))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("no-iommu", {}, "Intel's IOMMU (DMAR), and the kernel does not use it"),
        ("no-iommu", {"/proc/cmdline": "quiet intel_iommu=off"}, "switches the IOMMU off (intel_iommu=off)"),
        ("no-iommu", {"/proc/cmdline": "iommu=pt,off intel_iommu=on"}, "switches the IOMMU off (iommu=pt,off)"),
        ("offline-and-holes", {}, "built without IOMMU support"),
        ("offline-and-holes", {"/sys/kernel/iommu_groups/x": "", "/sys/firmware/acpi/tables/FACP": ""}, "no IOMMU ("),
        ("container", {}, "this is a container"),
    ],
)
def test_the_absence_of_groups_is_explained(name: str, changes: dict[str, str], words: str) -> None:
    files = load(name)
    files.texts |= changes
    assert words in (read_iommu(files.tree()).absence or "")


def test_vfios_stand_in_groups_are_no_iommu() -> None:
    files = load("no-iommu")
    files.texts |= {"/sys/kernel/iommu_groups/0/name": "vfio-noiommu", "/sys/kernel/iommu_groups/0/devices/x": ""}
    facts = read_iommu(files.tree())
    assert facts.groups[0].no_iommu
    assert not facts.enabled


def test_usb_devices_hang_below_their_controller(desktop: HostFacts) -> None:
    assert [(one.port, one.id, one.controller, one.drivers) for one in desktop.usb] == [
        ("3-1", "046d:c547", "0000:0d:00.3", ("usbhid",)),
        ("3-2", "04d9:0295", "0000:0d:00.3", ("usbhid",)),
    ]


def test_event_devices_have_lasting_names(desktop: HostFacts) -> None:
    keyboard = next(one for one in desktop.inputs if one.kind == "keyboard")
    assert keyboard.by_id == ("/dev/input/by-id/usb-Holtek_USB_Keyboard-event-kbd",)
    assert (keyboard.event, keyboard.name, keyboard.usb_port) == ("/dev/input/event6", "USB Keyboard", "3-2")


def test_the_boot_framebuffer_is_seen_on_the_cards_bar(desktop: HostFacts) -> None:
    holders = [(one.address, one.holder, one.boot) for one in desktop.framebuffers.holders]
    assert holders == [
        (GPU, "BOOTFB", True),
        (GPU, "amdgpu", False),
        ("0000:0b:00.1", "ICH HD audio", False),
    ]
    assert desktop.framebuffers.cards[0].connected == ("DP-1",)
    assert [(one.number, one.bound) for one in desktop.framebuffers.consoles] == [(0, False), (1, True)]


def test_holders_of_bars_are_seen_where_the_kernel_hides_addresses() -> None:
    lines = ["00000000-00000000 : PCI Bus 0000:00", f"  00000000-00000000 : {GPU}", "    00000000-00000000 : efifb"]
    lines += ["  00000000-00000000 : PCI MMCONFIG 0000"]
    facts = HostFacts(Tree.holding({"/proc/iomem": "\n".join(lines)}, {}))
    assert [(one.address, one.boot) for one in facts.framebuffers.holders] == [(GPU, True)]


def uses(facts: BlockFacts, name: str) -> set[str]:
    device = facts.get(name)
    assert device is not None
    return {use.kind for use in device.uses}


def test_the_hosts_own_disk_is_known_through_volumes_and_partitions(desktop: HostFacts) -> None:
    assert uses(desktop.blocks, "nvme0n1") == {"root", "boot", "swap", "lvm"}
    assert uses(desktop.blocks, "nvme0n1p2") == {"swap"}
    assert {one.name for one in desktop.blocks.on(NVME)} == {"nvme0n1", "nvme0n1p1", "nvme0n1p2", "nvme0n1p3"}


def test_a_disk_of_a_zfs_pool_is_known_by_what_udev_found() -> None:
    controller = {"at": NVME, "id": "144d:a808", "class": "010802"}
    disk = {"name": "nvme0n1", "below": NVME, "parts": [["nvme0n1p1", "zfs_member", ""]]}
    mounts = ["30 1 0:30 / / rw - zfs rpool/ROOT/debian rw"]
    facts = read_blocks(expand({"pci": [controller], "disk": [disk], "mounts": mounts}).tree())
    assert uses(facts, "nvme0n1") == {"zfs", "root"}


@pytest.mark.parametrize(("files", "in_use"), [({}, False), ({"/proc/spl/kstat/zfs/tank/state": "ONLINE"}, True)])
def test_a_disk_of_a_pool_that_is_imported_and_not_mounted_is_in_use(files: dict[str, str], *, in_use: bool) -> None:
    controller = {"at": NVME, "id": "144d:a808", "class": "010802"}
    disk = {"name": "sda", "below": NVME, "parts": [["sda1", "zfs_member", ""]]}
    facts = read_blocks(expand({"pci": [controller], "disk": [disk], "files": files}).tree())
    assert [use.in_use for use in facts.on(NVME)[0].uses] == [in_use]


def test_btrfs_and_links_are_found_by_the_name_of_their_source() -> None:
    controller = {"at": NVME, "id": "144d:a808", "class": "010802"}
    disk = {"name": "sda", "below": NVME, "parts": [["sda1", "btrfs", ""], ["sda2", "ext4", ""], ["sda3", "ext4", ""]]}
    mounts = [
        "30 1 0:30 /@ / rw - btrfs /dev/sda1 rw",
        "31 1 0:31 / /mnt/with\\040blank rw - btrfs /dev/disk/by-uuid/ab rw",
    ]
    files = expand({"pci": [controller], "disk": [disk], "mounts": mounts})
    files.links["/dev/disk/by-uuid/ab"] = "../../sda2"
    facts = read_blocks(files.tree())
    assert uses(facts, "sda1") == {"root"}
    assert {use.detail for one in facts.devices if one.name == "sda2" for use in one.uses} == {"/mnt/with blank"}
    assert uses(facts, "sda3") == set()


def test_an_nvme_namespace_below_a_virtual_subsystem_hangs_on_all_its_controllers() -> None:
    virtual = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    files = {f"{virtual}/nvme0n1/dev": "259:0", f"{virtual}/nvme0/x": "", f"{virtual}/nvme0n1/size": "8"}
    links = {
        "/sys/class/block/nvme0n1": "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1",
        "/sys/class/nvme-subsystem/nvme-subsys0": "../../devices/virtual/nvme-subsystem/nvme-subsys0",
        "/sys/class/nvme/nvme0": f"../../devices/pci0000:00/{NVME}/nvme/nvme0",
    }
    facts = read_blocks(Tree.holding(files, links))
    assert facts.devices[0].controllers == (NVME,)


def test_the_default_route_is_followed_through_a_bridge_to_the_hardware(desktop: HostFacts) -> None:
    assert desktop.network.default_routes == ("br0",)
    assert [(link.name, link.default_route, link.driver) for link in desktop.network.on("0000:07:00.0")] == [
        ("enp7s0", True, "igb")
    ]


def test_a_default_route_of_ipv6_alone_counts_and_a_rejecting_one_does_not() -> None:
    zeros = "0" * 32
    rows = [
        f"{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth1",
        f"{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo",
        f"{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00000201     eth2",
    ]
    facts = HostFacts(Tree.holding({"/proc/net/ipv6_route": "\n".join(rows)}, {}))
    assert facts.network.default_routes == ("eth1",)


@pytest.mark.parametrize(
    ("mounts", "layout"),
    [
        (["29 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"], "v2"),
        (["31 1 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"], "v1"),
        (
            [
                "31 1 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset",
                "32 1 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            ],
            "hybrid",
        ),
        # Mullvad mounts net_cls beside v2.
        (
            [
                "29 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
                "40 1 0:50 / /sys/fs/cgroup/net_cls rw - cgroup none rw,net_cls",
            ],
            "v2",
        ),
        ([], "none"),
    ],
)
def test_the_layout_of_control_groups_is_told(mounts: list[str], layout: str) -> None:
    facts = read_cgroups(Tree.holding({"/proc/self/mountinfo": "\n".join(mounts)}, {}))
    assert (facts.layout, facts.systemd) == (layout, False)


def test_the_kernel_is_told(desktop: HostFacts) -> None:
    kernel = desktop.kernel
    assert (kernel.version, kernel.option("iommu"), kernel.option("nosmt")) == ((6, 1), "pt", None)
    assert (kernel.processor.virtualization, kernel.processor.vendor) == ("AMD-V", "AuthenticAMD")
    assert kernel.modules["vfio"].users == ("vfio_pci",)
    assert kernel.parameters["kvm"] == {"ignore_msrs": "N"}
    assert (kernel.kvm, kernel.vfio) == (True, False)


def test_a_module_may_be_loaded_built_in_or_on_the_disk() -> None:
    files = {
        "/sys/module/vfio_pci/refcnt": "0",
        "/lib/modules/6.1/modules.builtin": "kernel/drivers/vfio/vfio.ko",
        "/lib/modules/6.1/modules.dep": "kernel/arch/x86/kvm/kvm-amd.ko.xz: kernel/arch/x86/kvm/kvm.ko.xz",
    }
    tree = Tree.holding(files, {})
    states = [find_module(tree, name, "6.1") for name in ("vfio-pci", "vfio", "kvm_amd", "kvm_intel")]
    assert states == ["loaded", "built in", "available", None]


def test_programs_off_path_are_found(desktop: HostFacts) -> None:
    assert desktop.software.programs == {"virtiofsd": "/usr/libexec/virtiofsd", "swtpm": "/usr/bin/swtpm"}


def test_processes_that_hold_a_card_or_its_sound_are_named(desktop: HostFacts) -> None:
    holders = desktop.holders
    assert [(one.pid, one.name, one.path) for one in holders.of(GPU)] == [(1200, "Xorg", "/dev/dri/card0")]
    assert [one.path for one in holders.of("0000:0b:00.1")] == ["/dev/snd/controlC0"]
    assert [one.path for one in holders.of("0000:0d:00.3")] == ["/dev/input/event6"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/dev/nvidia0", ["0000:01:00.0"]),
        ("/dev/nvidia1", ["0000:41:00.0"]),
        ("/dev/nvidiactl", ["0000:01:00.0", "0000:41:00.0"]),
        ("/dev/vfio/27", ["0000:0b:00.0"]),
        ("/dev/vfio/vfio", []),
        ("/dev/bus/usb/003/004", ["0000:0d:00.3"]),
        ("/dev/null", []),
        ("/dev/sr0 (deleted)", []),
    ],
)
def test_every_kind_of_node_leads_to_its_device(path: str, expected: list[str]) -> None:
    files = load("desktop-two-ccx")
    for minor, card in enumerate(("0000:01:00.0", "0000:41:00.0")):
        files.texts[f"/proc/driver/nvidia/gpus/{card}/information"] = f"Model: x\nDevice Minor: \t {minor}"
    assert list(device_addresses(files.tree(), path)) == [PciAddress(address) for address in expected]
