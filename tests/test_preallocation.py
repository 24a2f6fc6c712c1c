"""Who fills a guest's memory before it starts: every host CPU of the machine, each cell by those of its vCPUs."""

from typing import Any

import msgspec
import pytest

from qlaunch.argv import build_args
from qlaunch.plan import place
from tests.bench.memory import without_threads
from tests.sites import found, machine

CELLS = [{"size": "512M", "cpus": "0-1"}, {"size": "512M", "cpus": "2-3"}]


def words(version: tuple[int, int] = (10, 0), cpu: dict[str, Any] | None = None, **memory: Any) -> list[str]:
    pinned = {"pin": "4-7", "emulator": "0-1"} if cpu is None else cpu
    made = machine(cpu=pinned, memory={"size": "1G", "prealloc": True, **memory})
    return [word for arg in build_args(made, place("test", made, found(made, version=version))) for word in arg.words()]


def objects(argv: list[str]) -> dict[str, dict[str, Any]]:
    decoded = [msgspec.json.decode(word) for word in argv if word.startswith('{"qom-type":')]
    return {one["id"]: one for one in decoded}


def test_all_host_cpus_of_a_machine_fill_its_memory() -> None:
    made = objects(words())
    assert made["tc-ram"]["cpu-affinity"] == [0, 1, 4, 5, 6, 7]
    assert (made["ram0"]["prealloc-threads"], made["ram0"]["prealloc-context"]) == (6, "tc-ram")


def test_a_number_of_threads_in_the_file_stands() -> None:
    assert objects(words(prealloc_threads=2))["ram0"]["prealloc-threads"] == 2


def test_cells_are_filled_at_the_same_time_each_by_the_cpus_of_its_own() -> None:
    made = objects(words(cell=CELLS))
    assert [made[f"tc-ram{cell}"]["cpu-affinity"] for cell in (0, 1)] == [[4, 5], [6, 7]]
    assert [made[f"ram{cell}"]["prealloc-context"] for cell in (0, 1)] == ["tc-ram0", "tc-ram1"]
    assert [made[f"ram{cell}"]["prealloc-threads"] for cell in (0, 1)] == [2, 2]


@pytest.mark.parametrize(
    ("version", "cells"),
    [((8, 2), CELLS), ((10, 0), [CELLS[0] | {"cpus": "0-3"}, {"size": "512M"}])],
    ids=["QEMU fills one after the other", "a cell without CPUs"],
)
def test_all_cpus_fill_each_cell_otherwise(version: tuple[int, int], cells: list[dict[str, Any]]) -> None:
    made = objects(words(version, cell=cells))
    assert made["tc-ram"]["cpu-affinity"] == [0, 1, 4, 5, 6, 7]
    assert [made[f"ram{cell}"]["prealloc-context"] for cell in (0, 1)] == ["tc-ram", "tc-ram"]


@pytest.mark.parametrize("without", [{"cpu": {"vcpus": 2}}, {"prealloc": False}], ids=["no pins", "no preallocation"])
def test_nothing_is_said_about_threads_otherwise(without: dict[str, Any]) -> None:
    made = objects(words(**without))
    assert not [name for name in made if name.startswith("tc-")]
    assert not {"prealloc-threads", "prealloc-context"} & made["ram0"].keys()


def test_the_bench_leaves_out_these_options_and_no_others() -> None:
    argv = words(cell=CELLS)
    bare = without_threads(argv)
    assert len(argv) - len(bare) == 4
    assert not [word for word in bare if "thread-context" in word or "prealloc-" in word]
    assert objects(bare)["ram0"]["prealloc"] is True
