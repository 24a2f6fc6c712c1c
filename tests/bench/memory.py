"""How long QEMU takes until it has all of a guest's memory: with all host CPUs of the machine, and without.

The machine has one vCPU and its emulator on another host CPU. Without the options that qlaunch adds, QEMU preallocates
by as many threads as there are vCPUs; started on one CPU, as with a pinned emulator, it does so there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.bench.by_hand import ByHand
from tests.bench.row import Row, compared, take_turns, timed
from tests.bench.scratch import Scratch

MACHINE = """
[machine]
accel = "{accel}"
[cpu]
vcpus = 1
pin = "1"
emulator = "0"
[firmware]
type = "bios"
[memory]
size = "SIZEG"
prealloc = true
hugepages = PAGES
[[network]]
boot_index = 0
"""
SIZES_GIB = (1, 4, 12)
_POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
_LEFT_GIB = 3  # what the rest of this computer needs
_ROUNDS = 3
_FEWER_ROUNDS = 2  # of what takes a quarter of a minute


def memory(scratch: Scratch) -> Iterator[Row]:
    """Yield a row for each size and each page that this computer has the memory for."""
    for gib in SIZES_GIB:
        if _available_gib() < gib + _LEFT_GIB:
            continue
        # Shared, since the host makes transparent huge pages of what is not.
        yield from _rows(scratch, gib, "4 KiB", "false\nshared = true")
        with _huge_pages(gib * 512) as there:
            if there:
                yield from _rows(scratch, gib, "2 MiB", '"2M"')


def _rows(scratch: Scratch, gib: int, pages: str, key: str) -> Iterator[Row]:
    scratch.write("big", MACHINE.replace("SIZE", str(gib)).replace("PAGES", key))
    argv = scratch.argv("big")
    without = without_threads(argv)
    candidates: dict[str, Callable[[], float]] = {
        "qlaunch": lambda: _filled(argv),
        "without its threads": lambda: _filled(without),
        "on one CPU": lambda: _filled(without, ("taskset", "-c", "0")),
    }
    times = take_turns(candidates, _ROUNDS if gib < SIZES_GIB[-1] else _FEWER_ROUNDS)
    yield from compared(f"QEMU has {gib} GiB of {pages} pages", times, {})


def without_threads(argv: Sequence[str]) -> list[str]:
    """Give the argv without the thread context and the number of threads."""
    words = list(argv)
    for number, word in enumerate(words):
        if not word.startswith('{"qom-type":'):
            continue
        value = msgspec.json.decode(word, type=dict[str, object])
        if value["qom-type"] == "thread-context":
            words[number - 1 : number + 1] = []
            return without_threads(words)
        if value.pop("prealloc-threads", None) or value.pop("prealloc-context", None):
            value.pop("prealloc-context", None)
            words[number] = msgspec.json.encode(value).decode()
    return words


def _filled(argv: Sequence[str], prefix: Sequence[str] = ()) -> float:
    """Give how long QEMU takes until it answers, which is when it has its memory."""
    with ByHand(argv, prefix=prefix) as qemu:
        took = timed(qemu.greeted)
        qemu.ask_to_quit()
        qemu.wait()
    return took


@contextmanager
def _huge_pages(count: int) -> Iterator[bool]:
    """Have so many more huge pages for a while; False where that cannot be."""
    try:
        before = int(_POOL.read_text())
        _POOL.write_text(str(before + count))
    except OSError:
        yield False
        return
    try:
        yield int(_POOL.read_text()) >= before + count
    finally:
        _POOL.write_text(str(before))


def _available_gib() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) >> 20
