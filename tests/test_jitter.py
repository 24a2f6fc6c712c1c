"""How calm a guest's CPUs are: the histogram, the report, the numbers, and what is drawn and printed of them."""

import xml.etree.ElementTree as ET
from contextlib import suppress
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from qlaunch.devices.cpu import Topology
from qlaunch.errors import QemuError
from qlaunch.jitter.chart import draw
from qlaunch.jitter.histogram import BUCKETS, Histogram, bounds, bucket_of
from qlaunch.jitter.machine import COMPARED, probe_machine
from qlaunch.jitter.measure import Measured, measured, ratios
from qlaunch.jitter.report import parse_report
from qlaunch.jitter.table import duration, lines
from qlaunch.machine.load import Loaded
from qlaunch.machine.model import Machine

gaps = st.integers(0, (1 << 40) - 1)
many = st.lists(gaps, min_size=1, max_size=60)
RATE = 2_600_000_000  # ticks of a second


def printed(seen: list[list[int]], rate: int = RATE) -> str:
    """Print what the probe prints of gaps, a list a vCPU."""
    count = len(seen)
    text = "BdsDxe: starting Boot0001\r\n\r\nqlaunch jitter: version 1\r\n"
    text += f"processors: {count}\r\nticks-per-second: {rate}\r\n"
    text += f"qlaunch jitter: ready {count} of {count}\r\nqlaunch jitter: runs for 2\r\n"
    for number, own in enumerate(seen):
        limits = [rate // 1_000_000 * limit for limit in (50, 1000, 16000)]
        above = " ".join(str(sum(gap > limit for gap in own)) for limit in limits)
        lost = sum(gap for gap in own if gap > limits[0])
        text += f"vcpu: {number} ran {sum(own)} longest {max(own)} lost {lost} above {above}"
        for place, (bucket, times) in enumerate(sorted(Histogram.of(own).counts.items())):
            text += f"{f'{chr(13)}{chr(10)}gaps: {number}' if place % 12 == 0 else ''} {bucket}:{times}"
        text += "\r\n"
    return text + "qlaunch jitter: end of report\r\n"


@given(st.integers(0, (1 << 64) - 1))
def test_a_gap_is_in_a_bucket_that_is_narrow(gap: int) -> None:
    low, high = bounds(bucket_of(gap))
    assert low <= gap <= high
    assert 32 * (high - low) <= low
    assert bucket_of(gap) < BUCKETS


@given(st.integers(0, BUCKETS - 2))
def test_buckets_follow_each_other_without_a_hole(bucket: int) -> None:
    assert bounds(bucket)[1] + 1 == bounds(bucket + 1)[0]
    assert [bucket_of(end) for end in bounds(bucket)] == [bucket, bucket]


@given(many, many, many)
def test_histograms_are_merged_as_their_gaps_are(a: list[int], b: list[int], c: list[int]) -> None:
    whole = Histogram.of(a + b + c)
    assert Histogram.of(a).merged(Histogram.of(b)).merged(Histogram.of(c)) == whole
    assert Histogram.of(c).merged(Histogram.of(b).merged(Histogram.of(a))) == whole
    assert whole.merged(Histogram({})) == whole
    assert whole.total == len(a + b + c)


@example([0] * 18 + [1, 1], 0.9)
@example([0] * 63 + [1] * 7, 0.9)
@given(many, st.sampled_from([0.5, 0.9, 0.99, 0.999, 0.9999, 1.0]))
def test_a_percentile_is_the_one_of_the_sorted_gaps_to_the_width_of_a_bucket(own: list[int], fraction: float) -> None:
    rank = -(-Fraction(str(fraction)) * len(own) // 1)  # the smallest number of gaps that is at least the fraction
    exact = sorted(own)[int(rank) - 1]
    assert Histogram.of(own).of_gaps(fraction) == bounds(bucket_of(exact))[1]


@given(many, st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_for_a_share_of_the_time_no_gap_was_longer(own: list[int], fraction: float) -> None:
    histogram = Histogram.of(own)
    limit = histogram.of_time(fraction)
    middle = {gap: sum(bounds(bucket_of(gap))) // 2 for gap in own}  # a bucket has one length, to half its width
    within = sum(middle[gap] for gap in own if gap <= limit)
    assert within >= 0.99 * fraction * sum(middle.values())
    assert limit <= bounds(bucket_of(max(own)))[1]
    assert limit >= histogram.of_gaps(0.0)


@given(st.lists(many.filter(any), min_size=1, max_size=3))
def test_what_the_probe_prints_is_read_back(seen: list[list[int]]) -> None:
    report = parse_report("noise\r\n" + printed(seen) + "BdsDxe: noise\r\n")
    assert [vcpu.gaps for vcpu in report.vcpus] == [Histogram.of(own) for own in seen]
    assert [vcpu.longest for vcpu in report.vcpus] == [max(own) for own in seen]
    assert (report.ticks_per_second, report.seconds) == (RATE, 2)


SOUND = printed([[100, 200, 3_000_000, 50_000_000], [7, 90]])


@given(st.integers(0, len(SOUND) - len("qlaunch jitter: end of report\r\n")))
def test_half_a_report_is_a_sentence(length: int) -> None:
    with pytest.raises(QemuError, match="not sound"):
        parse_report(SOUND[:length])


@given(st.text())
def test_garbage_is_a_sentence(text: str) -> None:
    with pytest.raises(QemuError, match="not sound"):
        parse_report(text)


@given(st.integers(0, len(SOUND) - 1), st.characters())
def test_a_damaged_letter_is_a_sentence_or_another_sound_report(place: int, letter: str) -> None:
    with suppress(QemuError):  # anything else fails this test
        parse_report(SOUND[:place] + letter + SOUND[place + 1 :])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("vcpu: 1 ", "vcpu: 2 ", "vCPU 2 comes where 1 is expected"),
        ("processors: 2", "processors: 3", "begins with"),
        ("ticks-per-second: 2600000000", "ticks-per-second: 0", "stands still"),
        ("longest 50000000", "longest 70000000", "in no bucket"),
        ("ran 53000300", "ran 10", "longer than its run"),
        ("above 2 2 1", "above 1 2 1", "contradict"),
        ("gaps: 1 ", "!!!! X64 Exception Type\r\ngaps: 1 ", "X64 Exception"),
        ("gaps: 1 ", "gaps: 0 ", "it has a line 'gaps: 0"),
        (" 7:1 ", " 7:0 ", "'7:0' is no new bucket"),
        (" 7:1 ", " 7:1 7:1 ", "'7:1' is no new bucket"),
        (" 7:1 ", " 1920:1 ", "'1920:1' is no new bucket"),
    ],
)
def test_a_report_that_contradicts_itself_is_a_sentence(old: str, new: str, why: str) -> None:
    assert old in SOUND
    with pytest.raises(QemuError) as raised:
        parse_report(SOUND.replace(old, new))
    assert why in raised.value.message


def run_of(name: str, stalls: int, vcpus: int = 1) -> Measured:
    """Measure vCPUs with so many stalls of 3 ms among short gaps."""
    own = [300] * 5000 + [RATE * 3 // 1000] * stalls
    return measured(name, f"as {name}", parse_report(printed([own] * vcpus)), {0: "1"})


def test_ticks_become_microseconds() -> None:
    (calm,) = run_of("own", 4).vcpus
    assert calm.longest_us == 3000
    assert calm.stalls == {"50": 4, "1000": 4, "16000": 0}
    assert calm.lost_ms == 12
    assert calm.of_gaps_us["p99"] == pytest.approx(0.115, rel=0.04)  # 300 ticks
    assert calm.of_time_us["p99"] == pytest.approx(3000, rel=0.04)
    assert calm.host_cpus == "1"


def test_the_factor_is_the_one_against_pins_alone() -> None:
    runs = [run_of("nothing", 30), run_of("pins", 40), run_of("pins+shield", 4), run_of("all", 0)]
    assert ratios(runs) == {"nothing": 1.33, "pins": 1.0, "pins+shield": 10.0, "all": 40.0}
    assert ratios(runs[:1]) == {"nothing": 1.0}


def test_the_table_tells_each_run_and_the_factors() -> None:
    text = "\n".join(lines([run_of("pins", 40, vcpus=2), run_of("pins+shield", 4), run_of("all", 0)]))
    assert "pins+shield: as pins+shield" in text
    assert text.count("    3 ms") == 3  # the longest of each vCPU that had a stall
    assert [line.split()[-1] for line in text.splitlines()[-3:]] == ["1", "20", "80"]
    assert "at least 80" in text
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0.04, "0.04 us"), (312, "312 us"), (4200, "4.2 ms"), (150_000, "150 ms"), (2_500_000, "2.5 s")],
)
def test_durations_have_the_unit_that_suits_them(microseconds: float, text: str) -> None:
    assert duration(microseconds) == text


def test_the_picture_has_a_panel_a_run_and_a_bar_a_length() -> None:
    picture = ET.fromstring(draw('a <"gaming"> & more', [run_of("pins", 40), run_of("all", 0)]))  # noqa: S314 - ours
    space = "{http://www.w3.org/2000/svg}"
    words = [text.text or "" for text in picture.iter(f"{space}text")]
    assert words[0] == 'a <"gaming"> & more'
    assert [word for word in words if "stalls above 1 ms" in word] == [
        "pins: 40 stalls above 1 ms, the longest 3 ms",
        "all: 0 stalls above 1 ms, the longest 0.115 us",
    ]
    bars = [bar for bar in picture.iter(f"{space}rect") if bar.get("class") in ("gap", "stall")]
    assert [bar.get("class") for bar in bars] == ["gap", "stall", "gap"]
    width, height = float(picture.get("width") or 0), float(picture.get("height") or 0)
    for bar in bars:
        x, y, wide, tall = (float(bar.get(key) or "nan") for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + wide <= width
        assert 0 <= y <= y + tall <= height
        assert tall > 1


@given(st.lists(many.filter(any), min_size=1, max_size=3))
def test_any_run_can_be_drawn_and_printed(seen: list[list[int]]) -> None:
    run = measured("own", "its own", parse_report(printed(seen)), {})
    ET.fromstring(draw("a machine", [run, run]))  # noqa: S314 - ours
    assert len(list(lines([run]))) == len(seen) + 4


MACHINE = msgspec.convert(
    {
        "memory": {"size": "16G", "hugepages": "2M"},
        "cpu": {"pin": [2, 3], "emulator": [0], "scheduler": "fifo:1"},
        "host": {"governor": "performance", "shield": True, "irq": True, "vtconsoles": "unbind", "user": "games"},
        "boot": {"kernel": "vmlinuz"},
        "serial": {"enabled": False},
        "qemu": {"extra": ["-global", "x"]},
    },
    Machine,
    dec_hook=lambda kind, value: kind(value) if not isinstance(value, str) else kind.parse(value),
)


def test_the_stand_in_has_the_cpus_and_the_pages_and_none_of_the_rest() -> None:
    own = probe_machine(Loaded("gaming", "gaming.toml", MACHINE), "own")
    machine = own.machine
    assert own.name == "gaming.jitter"
    assert machine.cpu == MACHINE.cpu
    assert (int(machine.memory.size), machine.memory.hugepages) == (256 << 20, "2M")
    assert (machine.host.governor, machine.host.shield, machine.host.irq) == ("performance", True, True)
    assert (machine.host.vtconsoles, machine.host.user) == ("keep", None)
    assert (machine.boot.kernel, machine.boot.app) == (None, "jitter")
    assert machine.serial.enabled
    assert machine.machine.ephemeral
    assert not machine.qemu.extra


def test_each_variant_has_what_its_name_says() -> None:
    machines = {v: probe_machine(Loaded("gaming", "gaming.toml", MACHINE), v).machine for v in COMPARED}
    assert {name: bool(machine.cpu.pin) for name, machine in machines.items()} == {
        "nothing": False,
        "pins": True,
        "pins+shield": True,
        "all": True,
    }
    assert [name for name, machine in machines.items() if machine.host.shield] == ["pins+shield", "all"]
    assert [name for name, machine in machines.items() if machine.cpu.scheduler] == ["all"]
    assert {machine.cpu.shape().vcpus for machine in machines.values()} == {2}


def test_a_topology_keeps_its_number_of_vcpus_without_pins() -> None:
    cpu = msgspec.structs.replace(MACHINE.cpu, topology=Topology(cores=1, threads=2))
    loaded = Loaded("g", "g.toml", msgspec.structs.replace(MACHINE, cpu=cpu))
    assert probe_machine(loaded, "nothing").machine.cpu.shape() == Topology(cores=1, threads=2)


def test_a_page_of_a_gigabyte_is_taken_whole() -> None:
    memory = msgspec.structs.replace(MACHINE.memory, hugepages="1G")
    loaded = Loaded("g", "g.toml", msgspec.structs.replace(MACHINE, memory=memory))
    assert int(probe_machine(loaded, "own").machine.memory.size) == 1 << 30


def test_a_long_name_leaves_room_for_the_stand_ins() -> None:
    assert len(probe_machine(Loaded("n" * 64, "n.toml", MACHINE), "own").name) == 64
