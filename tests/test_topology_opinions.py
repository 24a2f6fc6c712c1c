"""The topology of recorded hosts against programs that read the same files: lscpu of util-linux, lstopo of hwloc."""

import subprocess
from pathlib import Path
from shutil import which
from xml.etree.ElementTree import Element, fromstring

import pytest

from qlaunch.host.cpus import CpuFacts, read_cpus
from qlaunch.values.cpus import CpuSet
from tests.hosts import build
from tests.hosts.build import CPU, Files

HOSTS = [name for name in build.NAMES if name != "container"]
LSTOPO = which("lstopo-no-graphics") or which("lstopo")


def mask(cpus: CpuSet) -> str:
    """A set as the kernel's older files have it: words of 32 bits, the highest first."""
    number = sum(1 << cpu for cpu in cpus)
    words = [f"{number >> shift & 0xFFFFFFFF:08x}" for shift in range(0, max(number.bit_length(), 1), 32)]
    return ",".join(reversed(words))


def with_masks(name: str) -> Files:
    """A host with the files beside ours that those programs read: the same sets as masks, and /proc/cpuinfo."""
    files = build.load(name)
    packages: dict[str, set[int]] = {}
    for path, text in list(files.texts.items()):
        folder, _, file = path.rpartition("/")
        if file == "core_cpus_list":
            files.texts |= {f"{folder}/core_cpus": mask(CpuSet.parse(text))}
            files.texts |= {f"{folder}/thread_siblings": mask(CpuSet.parse(text))}
            cpu = int(path.removeprefix(f"{CPU}/cpu").partition("/")[0])
            packages.setdefault(files.texts[f"{folder}/physical_package_id"], set()).add(cpu)
        elif file == "shared_cpu_list":
            files.texts |= {f"{folder}/shared_cpu_map": mask(CpuSet.parse(text))}
        elif file == "cpulist" and "/node/" in path:
            files.texts |= {f"{folder}/cpumap": mask(CpuSet.parse(text))}
    for members in packages.values():
        for cpu in members:
            folder = f"{CPU}/cpu{cpu}/topology"
            files.put(folder, core_siblings=mask(CpuSet(members)), package_cpus=mask(CpuSet(members)))
    online = CpuSet.parse(files.texts[f"{CPU}/online"])
    files.texts["/proc/cpuinfo"] = "\n\n".join(
        f"processor\t: {cpu}\nvendor_id\t: GenuineIntel" for cpu in sorted(online)
    )
    return files


def partition(facts: CpuFacts, what: str) -> set[CpuSet]:
    """The online CPUs in groups of the same core, socket, node or l3."""
    groups: dict[object, set[int]] = {}
    for cpu in facts.cpus:
        if cpu.online and getattr(cpu, what) is not None:
            groups.setdefault(getattr(cpu, what), set()).add(cpu.cpu)
    return {CpuSet(group) for group in groups.values()}


@pytest.mark.skipif(which("lscpu") is None, reason="lscpu is not installed: recorded hosts have no second opinion")
@pytest.mark.parametrize("name", HOSTS)
def test_a_recorded_host_is_as_lscpu_sees_it(name: str, tmp_path: Path) -> None:
    files = with_masks(name)
    words = ["lscpu", "--sysroot", str(files.write(tmp_path)), "-p=CPU,CORE,SOCKET,NODE,CACHE"]
    done = subprocess.run(words, capture_output=True, check=True, timeout=60, text=True)
    lines = done.stdout.splitlines()
    heads = next(line for line in reversed(lines) if line.startswith("# CPU")).removeprefix("# ").split(",")
    rows = [dict(zip(heads, line.split(","), strict=False)) for line in lines if line and not line.startswith("#")]
    facts = read_cpus(files.tree())
    ours = {cpu.cpu: cpu for cpu in facts.cpus}
    theirs = [[int(row[key] or 0) for key in ("CPU", "Core", "Socket", "Node")] for row in rows]
    assert theirs == [[cpu, ours[cpu].core, ours[cpu].socket, ours[cpu].node] for cpu in sorted(facts.online)]
    domains: dict[str, set[int]] = {}
    for row in rows:
        if number := row.get("L3"):
            domains.setdefault(number, set()).add(int(row["CPU"]))
    assert {CpuSet(domain) for domain in domains.values()} == partition(facts, "l3")


@pytest.mark.skipif(LSTOPO is None, reason="lstopo is not installed: recorded hosts lack the opinion of hwloc")
@pytest.mark.parametrize("name", HOSTS)
def test_a_recorded_host_is_as_lstopo_sees_it(name: str, tmp_path: Path) -> None:
    files = with_masks(name)
    words = [str(LSTOPO), "--input-format", "fsroot", "-i", str(files.write(tmp_path)), "--of", "xml", "-"]
    done = subprocess.run(words, capture_output=True, check=True, timeout=60, text=True)
    root = fromstring(done.stdout.partition("<!DOCTYPE")[2].partition(">")[2])  # noqa: S314 - a program of this host
    facts = read_cpus(files.tree())
    for kind, what in (("Core", "core"), ("Package", "socket"), ("L3Cache", "l3"), ("NUMANode", "node")):
        theirs = {one for one in sets_of(root, kind) if one}
        assert theirs == partition(facts, what), kind


def sets_of(root: Element, kind: str) -> set[CpuSet]:
    found = (element.attrib["cpuset"] for element in root.iter("object") if element.attrib["type"] == kind)
    return {unmasked(text) for text in found}


def unmasked(text: str) -> CpuSet:
    """Read hwloc's ``0x00000001,0x00000003``; a word that is left out is 0."""
    number = 0
    for word in text.split(","):
        number = number << 32 | int(word or "0", 16)
    return CpuSet(bit for bit in range(number.bit_length()) if number >> bit & 1)
