"""All facts of described hosts with 128 CPUs and 100 to 5,000 PCI devices, read once, with warm caches."""

import statistics
from collections.abc import Iterator

from qlaunch.host.tree import Tree
from tests.bench.row import Row, milliseconds, take_turns, timed
from tests.bench.scratch import Scratch
from tests.hosts.build import expand
from tests.hosts.large import large
from tests.test_host_tree import everything


def facts(scratch: Scratch) -> Iterator[Row]:
    """Yield each number of devices, against a hundred."""
    folders = {count: expand(large(128, count)).write(scratch.folder / str(count)) for count in (100, 300, 1000, 5000)}
    candidates = {
        str(count): lambda root=str(root): timed(lambda: everything(Tree(root))) for count, root in folders.items()
    }
    times = take_turns(candidates, 5)
    base = times.pop("100")
    against = f"100 devices, {milliseconds(statistics.median(base))}"
    for count, measured in times.items():
        ratio = statistics.median(more / less for more, less in zip(measured, base, strict=True))
        figure = milliseconds(statistics.median(measured))
        yield Row(what=f"facts, {int(count):,} PCI devices", qlaunch=figure, against=against, value=ratio)
