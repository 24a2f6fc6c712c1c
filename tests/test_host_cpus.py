"""Topology, caches and classes of CPUs, on described hosts and on this one."""

import subprocess
from shutil import which

import msgspec
import pytest

from qlaunch.host.core_class import Strength, classify
from qlaunch.host.cpus import CpuFacts, read_cpus
from qlaunch.host.numa import read_memory
from qlaunch.host.tree import Tree
from qlaunch.values.cpus import CpuSet
from tests.hosts.build import load


def cpus(name: str) -> CpuFacts:
    return read_cpus(load(name).tree())


def classes(name: str) -> dict[str | None, str]:
    found: dict[str | None, set[int]] = {}
    for cpu in cpus(name).cpus:
        found.setdefault(cpu.kind, set()).add(cpu.cpu)
    return {kind: str(CpuSet(numbers)) for kind, numbers in found.items()}


def test_a_desktop_with_two_ccxs_has_two_l3_domains_and_siblings_eight_apart() -> None:
    facts = cpus("desktop-two-ccx")
    assert [(str(domain.cpus), domain.size) for domain in facts.l3_domains()] == [
        ("0-3,8-11", 16 << 20),
        ("4-7,12-15", 16 << 20),
    ]
    nine = facts.get(9)
    assert nine is not None
    assert (nine.core, nine.siblings, nine.l3, nine.node, nine.max_khz) == (1, (1, 9), 0, 0, 4426171)
    assert (nine.governor, nine.driver, facts.smt) == ("schedutil", "acpi-cpufreq", "on")


def test_core_numbers_that_repeat_in_each_package_are_told_apart() -> None:
    facts = cpus("server-two-nodes")
    assert len({cpu.core for cpu in facts.cpus}) == 48
    assert {(cpu.socket, cpu.node) for cpu in facts.cpus} == {(0, 0), (1, 1)}


def test_offline_cpus_are_there_with_nothing_known_of_them() -> None:
    facts = cpus("offline-and-holes")
    assert [cpu.cpu for cpu in facts.cpus if not cpu.online] == [6, 13, 14]
    assert {cpu.core for cpu in facts.cpus if not cpu.online} == {None}
    five = facts.get(5)
    assert five is not None
    assert five.siblings == (5,)


def test_a_container_has_no_cpus_and_no_traceback() -> None:
    assert cpus("container") == CpuFacts()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("desktop-two-ccx", {"P": "0-15"}),
        ("hybrid-p-e-lpe", {"P": "0-11", "E": "12-19", "LP-E": "20-21"}),
        ("x3d-two-ccds", {"X3D": "0-7,16-23", "P": "8-15,24-31"}),
        ("server-two-nodes", {"P": "0-95"}),
        ("offline-and-holes", {"P": "0-5,7-12,15", None: "6,13-14"}),
    ],
)
def test_cores_are_classed(name: str, expected: dict[str | None, str]) -> None:
    assert classes(name) == expected


def test_preferred_cores_of_one_kind_are_no_small_cores() -> None:
    ranked = [Strength(cpu=cpu, highest_perf=perf) for cpu, perf in enumerate(range(236, 136, -5))]
    assert set(classify(Tree.holding({}, {}), ranked).values()) == {"P"}


def test_without_the_kernels_lists_a_cliff_in_frequency_tells_small_cores() -> None:
    speeds = [5100000] * 4 + [4900000] * 4 + [3300000] * 8
    kinds = classify(Tree.holding({}, {}), [Strength(cpu=cpu, max_khz=khz) for cpu, khz in enumerate(speeds)])
    assert [kinds[cpu] for cpu in range(16)] == ["P"] * 8 + ["E"] * 8


def test_the_kernels_own_list_of_low_power_cores_counts() -> None:
    lists = {"core": "0-3", "atom": "4-7", "lowpower": "8-9"}
    tree = Tree.holding({f"/sys/devices/cpu_{name}/cpus": text for name, text in lists.items()}, {})
    kinds = classify(tree, [Strength(cpu=cpu, max_khz=3000000, l3_size=1) for cpu in range(10)])
    assert [kinds[cpu] for cpu in range(10)] == ["P"] * 4 + ["E"] * 4 + ["LP-E"] * 2


def test_small_cores_without_the_l3_of_the_others_are_low_power_ones() -> None:
    lists = {"core": "0-3", "atom": "4-7"}
    tree = Tree.holding({f"/sys/devices/cpu_{name}/cpus": text for name, text in lists.items()}, {})
    kinds = classify(tree, [Strength(cpu=cpu, max_khz=3700000, l3_size=1 if cpu < 4 else None) for cpu in range(8)])
    assert [kinds[cpu] for cpu in range(8)] == ["P"] * 4 + ["LP-E"] * 4


@pytest.mark.parametrize(
    ("files", "boost"), [({"intel_pstate/no_turbo": "0"}, True), ({"cpufreq/boost": "0"}, False), ({}, None)]
)
def test_boost_is_told_the_same_way_for_every_driver(files: dict[str, str], *, boost: bool | None) -> None:
    tree = Tree.holding({f"/sys/devices/system/cpu/{name}": text for name, text in files.items()}, {})
    assert read_cpus(tree).boost is boost


def test_the_json_of_a_cpu_has_the_documented_keys() -> None:
    keys = msgspec.json.decode(msgspec.json.encode(cpus("desktop-two-ccx").cpus[0]))
    assert {"cpu", "core", "socket", "die", "node", "l3", "siblings", "online", "max_khz", "class"} <= set(keys)


def test_what_a_node_has_cached_of_files_is_available() -> None:
    lines = ("MemFree: 1024 kB", "Active(file): 512 kB", "Inactive(file): 256 kB", "SReclaimable: 64 kB", "Shmem: 9 kB")
    files = {"/sys/devices/system/node/online": "0", "/sys/devices/system/node/node0/cpulist": "0-3"}
    files["/sys/devices/system/node/node0/meminfo"] = "\n".join(f"Node 0 {line}" for line in lines)
    node = read_memory(Tree.holding(files, {})).nodes[0]
    assert (node.memory_free, node.memory_available) == (1024 << 10, 1856 << 10)
    assert read_memory(Tree.holding({"/sys/devices/system/node/online": "0"}, {})).nodes[0].memory_available is None


def test_nodes_have_their_memory_and_pools() -> None:
    facts = read_memory(load("server-two-nodes").tree())
    assert [(node.node, str(node.cpus), node.distances) for node in facts.nodes] == [
        (0, "0-23,48-71", (10, 21)),
        (1, "24-47,72-95", (21, 10)),
    ]
    assert facts.total == 512 << 30
    assert facts.nodes[1].memory_total == 256 << 30
    pool = facts.nodes[0].hugepages[0]
    assert (pool.page_size, pool.total, pool.free, pool.reserved) == (2 << 20, 8, 4, None)
    assert facts.hugepages[0].reserved == 1
    assert facts.transparent_hugepages == "madvise"


@pytest.mark.skipif(which("lscpu") is None, reason="lscpu is not installed: this host's topology has no second opinion")
def test_this_host_is_as_lscpu_sees_it() -> None:
    done = subprocess.run(["lscpu", "-e", "-J"], capture_output=True, check=True, timeout=20)
    rows = [row for row in msgspec.json.decode(done.stdout)["cpus"] if row["online"]]
    facts = read_cpus(Tree())
    assert [row["cpu"] for row in rows] == sorted(facts.online)
    ours = {cpu.cpu: cpu for cpu in facts.cpus}
    assert [(row.get("core"), row.get("socket"), row.get("node")) for row in rows] == [
        (ours[row["cpu"]].core, ours[row["cpu"]].socket, ours[row["cpu"]].node) for row in rows
    ]
    caches = next((key for key in rows[0] if key.endswith(":l3")), None)
    if caches:
        theirs = {(row[caches].split(":")[-1], ours[row["cpu"]].l3) for row in rows}
        assert len(theirs) == len({name for name, _ in theirs}) == len({l3 for _, l3 in theirs})
