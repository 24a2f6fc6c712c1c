"""Of which pools huge pages are wanted: the host's, a node's, or each cell's own."""

import pytest

from qlaunch.host.facts import HostFacts
from qlaunch.host.tree import Tree
from qlaunch.preparation import memory
from qlaunch.preparation.wish import Wish
from tests.sites import machine

POOLS = "/sys/kernel/mm/hugepages"
NODE = "/sys/devices/system/node/node{}"
POOL = "/hugepages-2048kB/nr_hugepages"


def wish(**wanted: object) -> Wish:
    files = {"/sys/devices/system/node/online": "0-1", "/proc/meminfo": "MemAvailable: 2097152 kB\n"}
    for folder in (POOLS, *(f"{NODE.format(number)}/hugepages" for number in (0, 1))):
        files |= {f"{folder}/hugepages-2048kB/{name}": "0" for name in ("nr_hugepages", "free_hugepages")}
    for number in (0, 1):
        lines = ["MemTotal: 2097152 kB", "MemFree: 1048576 kB"]
        files[f"{NODE.format(number)}/meminfo"] = "".join(f"Node {number} {line}\n" for line in lines)
    made = machine(memory={"hugepages": "2M", **wanted})
    return Wish(name="ada", uuid="", machine=made, facts=HostFacts(Tree.holding(files, {})), runtime="/run/qlaunch/ada")


CELLS = [{"size": "128M", "cpus": "0", "node": 0}, {"size": "384M", "cpus": "1", "node": 1}]


@pytest.mark.parametrize(
    ("made", "claims"),
    [
        (wish(size="512M"), {POOLS + POOL: "256"}),
        (wish(size="512M", node=1), {NODE.format(1) + "/hugepages" + POOL: "256"}),
        (
            wish(size="512M", cell=CELLS),
            {NODE.format(0) + "/hugepages" + POOL: "64", NODE.format(1) + "/hugepages" + POOL: "192"},
        ),
        (wish(size="512M", node=1, cell=[{"size": "512M"}]), {NODE.format(1) + "/hugepages" + POOL: "256"}),
        (wish(size="512M", nodes="0-1"), {POOLS + POOL: "256"}),
    ],
    ids=["host", "node", "cells", "cells-of-a-node", "several-nodes"],
)
def test_pages_come_from_where_they_are_wanted(made: Wish, claims: dict[str, str]) -> None:
    assert [step.claims for step in memory.steps(made)] == [claims]
    assert not list(memory.refusals(made))


def test_a_cell_whose_node_has_too_little_is_refused_with_that_node() -> None:
    made = wish(size="3G", cell=[{"size": "256M", "node": 0}, {"size": "2816M", "node": 1}])
    assert [problem.message for problem in memory.refusals(made)] == [
        "2816 MiB of huge pages are missing, and node 1 has 1024 MiB free"
    ]
