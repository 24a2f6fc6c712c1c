"""Trees of hosts, expanded from the short descriptions beside this file: ``NAME.toml`` says what differs between hosts.

[[cores]] first="0-3" second="8-11", socket, die, node, l3 (one cache for the row, or for ``l3_cpus``), max_khz,
          perf, and ``list``: the kernel's list of a hybrid host that they are in
[[pci]]   at, id, class, driver, group, node, subsystem, below, bars=[[start, size, flags]], resize, extra={file=text}
[[usb]]   port, below, id, name, by_id, event
[[disk]]  name, below, parts=[[name, content, mount point]], swap
[[net]]   name, below, driver, default
[files], [links]  anything else, by path
"""

from pathlib import Path
from typing import Any

import tomli

from qlaunch.host.tree import Tree
from qlaunch.values.cpus import CpuSet, parse_cpu_list

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.toml"))
CPU = "/sys/devices/system/cpu"


class Files:
    """Texts and links by path."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.links: dict[str, str] = {}

    def tree(self, *, record: bool = False) -> Tree:
        return Tree.holding(self.texts, self.links, record=record)

    def write(self, folder: Path) -> Path:
        """Write the tree into a folder, for ``--host-root``."""
        for path, text in self.texts.items():
            place = folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text + "\n")
        for path, target in self.links.items():
            place = folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
        return folder

    def put(self, folder: str, **texts: object) -> None:
        self.texts |= {f"{folder}/{name}": str(text) for name, text in texts.items() if text is not None}

    def link_class(self, path: str, real: str) -> None:
        """Link ``/sys/…/name`` to a folder of /sys/devices, as the kernel does."""
        up = "../" * (path.count("/") - 2)
        self.links[path] = up + real.removeprefix("/sys/")


def load(name: str) -> Files:
    """Expand one of the hosts beside this file."""
    return expand(tomli.loads((HERE / f"{name}.toml").read_text()))


def expand(host: dict[str, Any]) -> Files:
    """Expand a description."""
    files = Files()
    if "cores" in host:
        _cpus(files, host)
        _nodes(files, host)
    homes = {device["at"]: _home(device, host["pci"]) for device in host.get("pci", ())}
    for device in host.get("pci", ()):
        _pci(files, device, homes)
    for number, device in enumerate(host.get("usb", ())):
        _usb(files, device, number, homes)
    mounts, swaps = _disks(files, host, homes)
    _net(files, host, homes)
    files.texts["/proc/self/mountinfo"] = "\n".join([*mounts, *host.get("mounts", ())])
    files.texts["/proc/swaps"] = "\n".join(["Filename Type Size Used Priority", *swaps])
    files.texts |= host.get("files", {})
    files.links |= host.get("links", {})
    return files


def _cpus(files: Files, host: dict[str, Any]) -> None:
    offline = CpuSet.parse(host.get("offline", ""))
    numbers: list[int] = []
    lists: dict[str, list[int]] = {}
    for row in host["cores"]:
        threads = [parse_cpu_list(row[key]) for key in ("first", "second") if key in row]
        everyone = [cpu for cpus in threads for cpu in cpus]
        numbers += everyone
        lists.setdefault(row.get("list", ""), []).extend(everyone)
        shared = (CpuSet.parse(row["l3_cpus"]) if "l3_cpus" in row else CpuSet(everyone)) - offline
        for place, siblings in enumerate(zip(*threads, strict=True)):
            running = CpuSet(siblings) - offline
            core_id = row.get("core_id", 0) + place
            for cpu in running:
                _cpu(files, cpu, row, core_id=core_id, core=CpuSet(running), shared=CpuSet(shared))
    online = CpuSet(set(numbers) - offline)
    present = CpuSet(numbers)
    files.put(CPU, online=online, present=present, possible=present, offline=CpuSet(offline))
    files.put(CPU, isolated=host.get("isolated", ""), nohz_full="(null)")
    files.put(f"{CPU}/smt", control="on" if any("second" in row for row in host["cores"]) else "notsupported")
    for name, cpus in lists.items():
        if name:
            files.put(f"/sys/devices/{name}", cpus=CpuSet(cpus))


def _cpu(files: Files, cpu: int, row: dict[str, Any], *, core_id: int, core: CpuSet, shared: CpuSet) -> None:
    folder = f"{CPU}/cpu{cpu}"
    siblings = {"core_cpus_list": core, "thread_siblings_list": core}
    places = {"core_id": core_id, "physical_package_id": row.get("socket", 0), "die_id": row.get("die", 0)}
    files.put(f"{folder}/topology", **siblings, **places)
    caches = [(1, "Data", "32K", core), (1, "Instruction", "32K", core), (2, "Unified", "512K", core)]
    if "l3" in row:
        caches.append((3, "Unified", row["l3"], shared))
    for index, (level, kind, size, cpus) in enumerate(caches):
        files.put(f"{folder}/cache/index{index}", level=level, type=kind, size=size, shared_cpu_list=cpus)
    if "max_khz" in row:
        policy = f"{CPU}/cpufreq/policy{cpu}"
        files.links[f"{folder}/cpufreq"] = f"../cpufreq/policy{cpu}"
        files.put(policy, scaling_driver=row.get("cpufreq", "acpi-cpufreq"), cpuinfo_max_freq=row["max_khz"])
        files.put(policy, scaling_governor="schedutil", cpuinfo_min_freq=800000)
        files.put(policy, scaling_available_governors="performance schedutil", affected_cpus=cpu)
    if "perf" in row:
        files.put(f"{folder}/acpi_cppc", highest_perf=row["perf"], nominal_perf=row["perf"] * 2 // 3)


def _nodes(files: Files, host: dict[str, Any]) -> None:
    folder = "/sys/devices/system/node"
    offline = CpuSet.parse(host.get("offline", ""))
    nodes: dict[int, set[int]] = {}
    for row in host["cores"]:
        cpus = {cpu for key in ("first", "second") if key in row for cpu in parse_cpu_list(row[key])}
        nodes.setdefault(row.get("node", 0), set()).update(cpus - offline)
    files.put(folder, online=CpuSet(nodes))
    kib = host.get("memory_kib", 16777216)
    for number, cpus in nodes.items():
        own = kib // len(nodes)
        files.put(f"{folder}/node{number}", cpulist=CpuSet(cpus))
        files.put(f"{folder}/node{number}", distance=" ".join("10" if one == number else "21" for one in nodes))
        files.put(
            f"{folder}/node{number}",
            meminfo=f"Node {number} MemTotal:       {own} kB\nNode {number} MemFree:        {own // 2} kB",
        )
        files.put(f"{folder}/node{number}/hugepages/hugepages-2048kB", nr_hugepages=8, free_hugepages=4)
    files.texts["/proc/meminfo"] = f"MemTotal:       {kib} kB\nMemFree:  {kib // 4} kB\nMemAvailable:   {kib // 2} kB"
    pool = {"nr_hugepages": 8 * len(nodes), "free_hugepages": 4 * len(nodes), "resv_hugepages": 1}
    files.put("/sys/kernel/mm/hugepages/hugepages-2048kB", **pool)
    files.put("/sys/kernel/mm/transparent_hugepage", enabled="always [madvise] never")


def _home(device: dict[str, Any], devices: list[dict[str, Any]]) -> str:
    above = next((other for other in devices if other["at"] == device.get("below")), None)
    root = _home(above, devices) if above else f"/sys/devices/pci{device['at'][:7]}"
    return f"{root}/{device['at']}"


def _pci(files: Files, device: dict[str, Any], homes: dict[str, str]) -> None:
    at, home = device["at"], homes[device["at"]]
    up = "../" * (home.count("/") - 1)
    vendor, product = device["id"].split(":")
    card_vendor, card = device.get("subsystem", "0000:0000").split(":")
    kind = device["class"].upper()
    alias = f"pci:v0000{vendor}d0000{product}sv0000{card_vendor}sd0000{card}".upper().replace("PCI:V", "pci:v", 1)
    alias = alias.replace("D0000", "d0000", 1).replace("SV", "sv", 1).replace("SD", "sd", 1)
    files.put(home, modalias=f"{alias}bc{kind[:2]}sc{kind[2:4]}i{kind[4:]}", numa_node=device.get("node", -1))
    files.put(home, driver_override="(null)", power_state="D0", irq=16, revision="0xc1", d3cold_allowed=1)
    lines = [
        f"0x{start:016x} 0x{start + size - 1:016x} 0x{flags:016x}" for start, size, flags in device.get("bars", ())
    ]
    empty = " ".join([f"0x{0:016x}"] * 3)
    files.put(home, resource="\n".join([*lines, *[empty] * (13 - len(lines))]))
    files.put(f"{home}/power", control="auto")
    if device.get("reset"):
        files.put(home, reset="", reset_method=device["reset"])
    files.put(home, **device.get("extra", {}))
    if device.get("driver"):
        files.links[f"{home}/driver"] = f"{up}bus/pci/drivers/{device['driver']}"
    if "group" in device:
        files.links[f"{home}/iommu_group"] = f"{up}kernel/iommu_groups/{device['group']}"
        files.put(f"/sys/kernel/iommu_groups/{device['group']}", type="DMA-FQ")
        files.links[f"/sys/kernel/iommu_groups/{device['group']}/devices/{at}"] = "../../../.." + home.removeprefix(
            "/sys"
        )
    files.link_class(f"/sys/bus/pci/devices/{at}", home)


def _usb(files: Files, device: dict[str, Any], number: int, homes: dict[str, str]) -> None:
    port = device["port"]
    bus = port.split("-")[0]
    home = f"{homes[device['below']]}/usb{bus}/{port}"
    vendor, product = device["id"].split(":")
    files.put(home, idVendor=vendor, idProduct=product, product=device["name"], busnum=bus, devnum=number + 2)
    files.put(home, speed=device.get("speed", "12"), bDeviceClass="00")
    files.link_class(f"/sys/bus/usb/devices/{port}", home)
    files.link_class(f"/sys/bus/usb/devices/usb{bus}", home.rpartition("/")[0])
    if event := device.get("event"):
        inner = f"{home}/{port}:1.0/0003:{vendor}:{product}.0001/input/input{number}"
        files.put(inner, name=device["name"])
        files.links[f"{inner}/{event}/device"] = f"../../input{number}"
        files.put(f"{inner}/{event}", dev=f"13:{64 + number}")
        files.link_class(f"/sys/class/input/{event}", f"{inner}/{event}")
        files.links[f"{home}/{port}:1.0/driver"] = "../../../../../../bus/usb/drivers/usbhid"
        files.link_class(f"/sys/bus/usb/devices/{port}:1.0", f"{home}/{port}:1.0")
        files.links[f"/dev/input/by-id/{device['by_id']}"] = f"../{event}"


def _disks(files: Files, host: dict[str, Any], homes: dict[str, str]) -> tuple[list[str], list[str]]:
    mounts, swaps = [], []
    for number, disk in enumerate(host.get("disk", ())):
        name = disk["name"]
        home = f"{homes[disk['below']]}/block/{name}"
        files.put(home, dev=f"8:{number * 16}", size=1 << 30, removable=0)
        files.link_class(f"/sys/class/block/{name}", home)
        for place, (part, content, mount) in enumerate(disk.get("parts", ()), start=1):
            device = f"8:{number * 16 + place}"
            files.put(f"{home}/{part}", dev=device, size=1 << 20, partition=place)
            files.link_class(f"/sys/class/block/{part}", f"{home}/{part}")
            files.texts[f"/run/udev/data/b{device}"] = f"E:ID_SERIAL=SECRET\nE:ID_FS_TYPE={content}"
            if mount == "swap":
                swaps.append(f"/dev/{part} partition 1048576 0 -2")
            elif mount:
                mounts.append(f"{30 + place} 1 {device} / {mount} rw,relatime shared:1 - {content} /dev/{part} rw")
    return mounts, swaps


def _net(files: Files, host: dict[str, Any], homes: dict[str, str]) -> None:
    rows = ["Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"]
    for link in host.get("net", ()):
        name = link["name"]
        home = f"{homes[link['below']]}/net/{name}" if "below" in link else f"/sys/devices/virtual/net/{name}"
        files.put(home, operstate="up", address="02:00:00:00:00:01")
        files.link_class(f"/sys/class/net/{name}", home)
        if "below" in link:
            files.links[f"{home}/device"] = "../.."
        for lower in link.get("over", ()):
            files.links[f"{home}/lower_{lower}"] = f"../{lower}"
        if link.get("bridge"):
            files.put(f"{home}/bridge", stp_state=0)
        if link.get("default"):
            rows.append(f"{name}\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0")
    files.texts["/proc/net/route"] = "\n".join(rows)
