"""What reading a large host costs, counted and not timed: `contrib/bench facts` times it."""

from tests.hosts.build import expand
from tests.hosts.large import large
from tests.test_host_tree import everything


def reads(cpus: int, devices: int) -> int:
    tree = expand(large(cpus, devices)).tree(record=True)
    everything(tree)
    assert tree.record is not None
    return len(tree.record.files) + len(tree.record.links) + len(tree.record.folders)


def test_reads_grow_with_cpus_and_devices_and_no_faster() -> None:
    base = reads(64, 100)
    assert reads(64, 400) - base <= 3 * (base - reads(64, 0)) + 10
    assert reads(256, 100) - base <= 3 * base
