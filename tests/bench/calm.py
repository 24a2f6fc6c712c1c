"""`qlaunch jitter --compare` of a machine with one vCPU, against three busy tasks."""

from collections.abc import Iterator

import msgspec

from qlaunch.jitter.measure import Measured
from tests.bench.row import Row
from tests.bench.scratch import Scratch

MACHINE = """
[machine]
accel = "{accel}"
[cpu]
vcpus = 1
pin = "1"
emulator = "0"
[boot]
app = "probe"
[memory]
size = "256M"
[host]
shield = true
"""
_FEWER = 0.1  # stalls above 1 ms, of those with pins alone


class _Told(msgspec.Struct):
    runs: list[Measured]


def calm(scratch: Scratch) -> Iterator[Row]:
    """Yield the stalls above 1 ms with all settings, against fewer of them."""
    scratch.write("calm", MACHINE)
    told = scratch.qlaunch("jitter", "calm", "--compare", "--load", "3", "--json")
    stalls = {run.name: run.stalls(1000) for run in msgspec.json.decode(told, type=_Told).runs}
    for name, target in (("nothing", None), ("pins", _FEWER)):
        yield Row(
            what="jitter: stalls above 1 ms with all settings, 3 busy tasks",
            qlaunch=str(stalls["all"]),
            against=f"{'no pins' if name == 'nothing' else 'pins alone'}, {stalls[name]}",
            value=stalls["all"] / max(1, stalls[name]),
            target=target,
        )
