"""Start and stop of a machine with 2 vCPUs, 512 MiB and OVMF; then 1, 10 and 50 small ones at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from qlaunch.run.detach import at_once
from tests.bench.by_hand import ByHand
from tests.bench.libvirt import virsh
from tests.bench.row import Row, compared, take_turns, timed
from tests.bench.scratch import NAME, Scratch

START = {"QEMU by hand": 3.0, "virsh start": 0.5}
STOP = {"virsh destroy": 0.2}
MANY = {"QEMU by hand": 1.3}
# A disk whose boot sector halts: such a guest takes the time of its BIOS and no more.
TINY = """
[machine]
accel = "{accel}"
[firmware]
type = "bios"
[memory]
size = "64M"
[[disk]]
path = "halt.img"
read_only = true
boot_index = 0
"""
HALTS = b"\xfa\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"  # cli; hlt; jmp


def start(scratch: Scratch) -> Iterator[Row]:
    """Yield start, until the pinned guest runs, and stop, until all is as it was."""
    argv = scratch.argv()

    def ours() -> tuple[float, float]:
        return scratch.start(), scratch.timed("down", "--force", NAME)

    def by_hand() -> tuple[float, float]:
        return _by_hand([argv], (0, 1))

    with virsh(scratch) as libvirt:
        candidates: dict[str, Callable[[], tuple[float, float]]] = {"qlaunch": ours, "QEMU by hand": by_hand}
        if libvirt:
            candidates["virsh"] = libvirt.start_and_stop
        pairs = take_turns(candidates, scratch.rounds)
    starts = {name.replace("virsh", "virsh start"): [pair[0] for pair in measured] for name, measured in pairs.items()}
    stops = {name.replace("virsh", "virsh destroy"): [pair[1] for pair in measured] for name, measured in pairs.items()}
    yield from compared("start: `up`, until the pinned guest runs", starts, START)
    yield from compared("stop: `down --force`, until all is as it was", stops, STOP)


def many(scratch: Scratch) -> Iterator[Row]:
    """Yield up and down of several headless machines at once."""
    for count in (1, 10, 50):
        names = [f"tiny{number}" for number in range(count)]
        write_tiny(scratch, names)
        argvs = [scratch.argv(name) for name in names]

        def ours(names: Sequence[str] = names) -> tuple[float, float]:
            return scratch.timed("up", "--detach", *names), scratch.timed("down", "--force", *names)

        def by_hand(argvs: Sequence[Sequence[str]] = argvs) -> tuple[float, float]:
            return _by_hand(argvs, ())

        pairs = take_turns({"qlaunch": ours, "QEMU by hand": by_hand}, max(3, scratch.rounds // count))
        sums = {name: [sum(pair) for pair in measured] for name, measured in pairs.items()}
        for part, number in (("up", 0), ("down", 1)):
            times = {name: [pair[number] for pair in measured] for name, measured in pairs.items()}
            yield from compared(f"{count} headless at once: {part}", times, {})
        yield from compared(f"{count} headless at once: up and down", sums, MANY if count == 50 else {})


def write_tiny(scratch: Scratch, names: Sequence[str]) -> None:
    """Make machines that do nothing."""
    (scratch.folder / "machines" / "halt.img").write_bytes(HALTS)
    for name in names:
        scratch.write(name, TINY)


def _by_hand(argvs: Sequence[Sequence[str]], cpus: Sequence[int]) -> tuple[float, float]:
    """Start as many at a time as `up` does, each guest runs once it can; end all at once. Milliseconds up and down."""
    with ExitStack() as ends:
        started: list[ByHand] = []

        def up_one(argv: Sequence[str]) -> None:
            one = ends.enter_context(ByHand(argv, cpus=cpus))
            one.bring_up()
            started.append(one)

        def up() -> None:
            if len(argvs) == 1:
                up_one(argvs[0])
                return
            with ThreadPoolExecutor(at_once()) as pool:
                list(pool.map(up_one, argvs))

        def down() -> None:
            for one in started:
                one.ask_to_quit()
            for one in started:
                one.wait()

        return timed(up), timed(down)
