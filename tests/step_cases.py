"""One host and one claim for each kind of change: what every kind is tried with in ``test_steps.py``.

A kind of its own file here would be forgotten; a kind without a case fails a test.
"""

from collections.abc import Callable

import msgspec

from qlaunch.steps.hook import Commands
from qlaunch.steps.own_file import file_claim, folder_claim
from qlaunch.steps.own_link import claim
from qlaunch.steps.vf import parsed
from qlaunch.values.access import Access
from qlaunch.values.cpus import CpuSet
from tests.fakes.cgroup import CgroupHost
from tests.fakes.host import FakeHost
from tests.fakes.partition import KEY, PartitionHost
from tests.fakes.pci import graphics_card
from tests.fakes.usb import desk


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """``second`` is what another machine may want of the same host at the same time; None if nothing."""

    host: Callable[[], FakeHost]
    claims: dict[str, str]
    second: dict[str, str] | None = None


def _files(**files: str) -> Callable[[], FakeHost]:
    return lambda: FakeHost({f"/{name}": text for name, text in files.items()})


def _links() -> FakeHost:
    host = FakeHost()
    host.netlink.states.update(eth0="down", eth1="up")
    for number in (0, 1):
        host.netlink.functions["eth0", number] = parsed("mac=00:00:00:00:00:00 vlan=0:0:802.1Q trust=off")
    return host


def _units() -> FakeHost:
    host = FakeHost({"/sys/devices/system/cpu/online": "0-7"})
    host.systemd.states["gdm.service"] = "active"
    host.systemd.limits.update({"system.slice": CpuSet(), "user.slice": CpuSet.parse("0-6")})
    return host


def _inputs() -> FakeHost:
    host = FakeHost()
    host.owners.update({f"/dev/input/event{number}": Access(0, 104, 0o660) for number in (3, 5, 6)})
    host.owners["/dev/input/event7"] = Access.parse("0:104 640 u:1001:rw-,g::rw-")  # of a session; the mask is r--
    return host


def _shared() -> FakeHost:
    """One of them is there already, from a run that was killed."""
    host = FakeHost()
    host.own_files.there["/dev/shm/looking-glass-ada"] = "4096 bytes of 0:0 600"  # noqa: S108 - the client's own name
    return host


def _modules() -> FakeHost:
    host = FakeHost()
    host.folders |= {"/sys/module/nvidia", "/sys/module/nvidia_drm"}

    def modprobe(argv: list[str]) -> str:
        path = f"/sys/module/{argv[-1]}"
        if argv[1] == "-r":
            host.folders.discard(path)
        else:
            host.folders.add(path)
        return ""

    host.programs["modprobe"] = modprobe
    return host


def _network() -> FakeHost:
    host = FakeHost()
    device = {"mac": "02:00:00:00:00:07", "mtu": "1500", "state": "up"}
    host.own_links.links.update(eth0=("device", device), br0=("bridge", device | {"address": "10.0.0.1/8"}))
    return host


def _daemons() -> FakeHost:
    host = FakeHost()

    def start(argv: list[str]) -> str:
        host.running[len(host.changes)] = argv
        return ""

    host.programs["dnsmasq"] = start
    return host


_QLBR0 = claim("bridge", "52:51:4c:00:00:01", "1500", address="192.168.77.1/24")


def boot_framebuffer() -> FakeHost:
    """As drivers/base/bus.c has it: binding makes a link in the driver's folder; what is bound already is refused."""
    host = FakeHost()
    driver, device = "/sys/bus/platform/drivers/efi-framebuffer", "efi-framebuffer.0"
    host.folders.add(f"/sys/bus/platform/devices/{device}")
    host.symlinks[f"{driver}/{device}"] = f"../../../../devices/platform/{device}"

    def bind(name: str) -> None:
        if f"{driver}/{name}" in host.symlinks or name != device:
            raise OSError(19, "No such device", f"{driver}/bind")
        host.symlinks[f"{driver}/{name}"] = f"../../../../devices/platform/{name}"

    def unbind(name: str) -> None:
        if host.symlinks.pop(f"{driver}/{name}", None) is None:
            raise OSError(19, "No such device", f"{driver}/unbind")

    host.reactions |= {f"{driver}/bind": bind, f"{driver}/unbind": unbind}
    return host


def _screen() -> FakeHost:
    host = FakeHost()
    host.symlinks["/screen"] = "own"

    def xrandr(argv: list[str]) -> str:
        host.symlinks["/screen"] = argv[1]
        return ""

    host.programs["xrandr"] = xrandr
    return host


def _kernel_threads() -> FakeHost:
    """kthreadd, one of its own kind, one of a node's, and one that belongs to its CPU."""
    allowed = {2: ("kthreadd", "0-7"), 11: ("oom_reaper", "0-7"), 12: ("kswapd1", "4-7"), 13: ("Bound", "0-7")}
    return FakeHost(
        {f"/proc/{pid}/status": f"Name:\t{name}\nCpus_allowed_list:\t{cpus}" for pid, (name, cpus) in allowed.items()}
    )


def _owned() -> FakeHost:
    host = FakeHost()
    host.symlinks["/sys/bus/pci/devices/0000:0b:00.0/iommu_group"] = "../../kernel/iommu_groups/14"
    paths = {"/state": 0o700, "/disk": 0o440, "/dev/vfio/14": 0o600, "/dev/kvm": 0o660, "/dev/iommu": 0o600}
    host.owners.update({path: Access(0, 6, mode) for path, mode in paths.items()})
    host.owners["/dev/kvmfr0"] = Access.parse("0:104 640 u:1001:rw-,g::rw-,g:44:r--")
    return host


_HOOK = Commands(start=["xrandr", "guest"], stop=["xrandr", "own"]).claim()

V1, V2 = "/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"


def _v1() -> FakeHost:
    return CgroupHost(V1, is_v2=False)


CASES: dict[str, Case] = {
    "cgroup": Case(
        host=_v1,
        claims={f"{V1}/qlaunch-ada of 30 on 0,4-5": "active"},
        second={f"{V1}/qlaunch-bob of 31 on 6-7": "active"},
    ),
    "cgroup-controller": Case(
        host=lambda: CgroupHost(V2, is_v2=True),
        claims={f"{V2}/cgroup.subtree_control": "cpuset"},
        second={f"{V2}/cgroup.subtree_control": "cpuset"},
    ),
    "cgroup-cpus": Case(
        host=_files(**{"openrc/cpuset.cpus": ""}),
        claims={"/openrc": "4-5 of 0-7"},
        second={"/openrc": "6-7 of 0-7"},
    ),
    "cgroup-shield": Case(host=_v1, claims={V1: "4-5 of 0-7"}, second={V1: "6 of 0-7"}),
    "hook": Case(host=_screen, claims={"hook 0 of ada": _HOOK}, second={"hook 0 of bob": _HOOK}),
    "process": Case(
        host=FakeHost,
        claims={"QLAUNCH_SIDECAR=/run/ada/swtpm": "running", "QLAUNCH_SIDECAR=/run/ada/passt": "running"},
        second={"QLAUNCH_SIDECAR=/run/bob/swtpm": "running"},
    ),
    "sysfs": Case(host=_files(a="0", b="N"), claims={"/a": "1", "/b": "Y"}, second={"/b": "Y"}),
    "governor": Case(
        host=_files(scaling_governor="powersave", scaling_available_governors="performance powersave"),
        claims={"/scaling_governor": "performance"},
        second={"/scaling_governor": "performance"},
    ),
    "vtconsole": Case(host=_files(bind="1"), claims={"/bind": "0"}, second={"/bind": "0"}),
    "framebuffer": Case(
        host=boot_framebuffer,
        claims={"efi-framebuffer/efi-framebuffer.0": "unbound"},
        second={"efi-framebuffer/efi-framebuffer.0": "unbound"},
    ),
    "hugepages": Case(host=_files(pool="10"), claims={"/pool": "5"}, second={"/pool": "7"}),
    "irq": Case(
        host=_files(one="0-7", default_smp_affinity="000000ff"),
        claims={"/one": "4-5", "/default_smp_affinity": "4-5"},
        second={"/one": "6-7", "/default_smp_affinity": "6-7"},
    ),
    "cpumask": Case(host=_files(cpumask="000000ff"), claims={"/cpumask": "4-5"}, second={"/cpumask": "5-6"}),
    "own-file": Case(
        host=_shared,
        claims={
            "/dev/shm/looking-glass-ada": file_claim(1 << 26, 1000, 100, 0o660),  # noqa: S108 - the client's own name
            "/state/display": folder_claim(1000, 100, 0o700),
        },
        second={"/dev/shm/looking-glass-bob": file_claim(1 << 25, 1001, 100, 0o600)},  # noqa: S108 - same
    ),
    "module": Case(host=_modules, claims={"nvidia_drm": "unloaded", "nvidia": "unloaded"}, second={"kvm": "loaded"}),
    "service": Case(host=_units, claims={"gdm.service": "inactive"}, second={"gdm.service": "inactive"}),
    "shield": Case(
        host=_units,
        claims={"system.slice": "4-5 of 0-7", "user.slice": "4-5 of 0-7"},
        second={"system.slice": "6-7 of 0-7"},
    ),
    "scope": Case(host=_units, claims={"a.scope of 12 on 4-5": "active"}, second={"b.scope of 13 on 6": "active"}),
    "cpus": Case(host=FakeHost, claims={"CPU 4": "shared"}, second={"CPU 4": "shared", "CPU 5": "own"}),
    "bridge": Case(host=_network, claims={"qlbr0": _QLBR0}, second={"qlbr0": _QLBR0}),
    "tap": Case(
        host=_network,
        claims={"ql0-ada": claim("tap", "fe:54:00:00:00:01", "1500", queues="many", bridge="br0")},
        second={"ql0-bob": claim("tap", "fe:54:00:00:00:02", "1400", queues="one", bridge="none")},
    ),
    "macvtap": Case(
        host=_network,
        claims={"ql0-ada": claim("macvtap", "52:54:00:00:00:01", "1500", over="eth0", mode="bridge")},
        second={"ql0-bob": claim("macvtap", "52:54:00:00:00:02", "1400", over="eth0", mode="bridge")},
    ),
    "nat": Case(
        host=FakeHost,
        claims={"qlaunch-qlbr0": "192.168.77.0/24 behind qlbr0"},
        second={"qlaunch-qlbr0": "192.168.77.0/24 behind qlbr0"},
    ),
    "daemon": Case(
        host=_daemons, claims={"dnsmasq --interface=a": "running"}, second={"dnsmasq --interface=a": "running"}
    ),
    "sriov": Case(host=_files(numvfs="0"), claims={"/numvfs": "2"}, second={"/numvfs": "1"}),
    "kthread": Case(
        host=_kernel_threads,
        claims=dict.fromkeys(("2 kthreadd", "12 kswapd1", "13 Bound"), "4-5 of 0-7"),
        second=dict.fromkeys(("2 kthreadd", "11 oom_reaper", "12 kswapd1"), "6 of 0-7"),
    ),
    "partition": Case(host=PartitionHost, claims={KEY: "isolated"}),
    "owner": Case(
        host=_owned,
        claims={
            "/state": "others may enter",
            "/disk": "1000 may open",
            "group of 0000:0b:00.0": "1000 may open",
            "/dev/kvm": "1000 is let in",
            "/dev/iommu": "1000 is let in",
            "/dev/kvmfr0": "1000 is let in",
        },
        second={
            "/state": "others may enter",
            "/disk": "1000 may open",
            "/dev/kvm": "1001 is let in",
            "/dev/iommu": "1001 is let in",
            "/dev/kvmfr0": "1001 is let in",
        },
    ),
    "pci-driver": Case(
        host=graphics_card,
        claims=dict.fromkeys(("0000:0b:00.1", "0000:0b:00.2", "0000:0b:00.0"), "vfio-pci"),
        second={"0000:0c:00.0": "vfio-pci"},
    ),
    "usb": Case(host=desk, claims={"1-2 1038:12ad": "guest"}, second={"3-4.1 46f4:0001": "guest"}),
    "input": Case(
        host=_inputs,
        claims={
            "/dev/input/event3": "1000",
            "/dev/input/event5": "as it is",
            "/dev/input/event7": "1000 is let in",
        },
        second={"/dev/input/event6": "1001 is let in"},
    ),
    "link": Case(host=_links, claims={"eth0": "up", "eth1": "up"}, second={"eth0": "up"}),
    "vf": Case(
        host=_links,
        claims={"eth0 vf 0": "mac=52:54:00:00:00:01 vlan=69:0:802.1Q"},
        second={"eth0 vf 1": "trust=on"},
    ),
}
