"""What the calm probe printed on the serial console, read back. Pure, and strict: half a report is none.

The source of the words is ``contrib/probe-guest/jitter.c``.
"""

import re

import msgspec

from qlaunch.errors import QemuError
from qlaunch.jitter.histogram import BUCKETS, Histogram, bounds, bucket_of

BEGIN = "qlaunch jitter: version 1"
END = "qlaunch jitter: end of report"
READY = re.compile(r"qlaunch jitter: ready ([0-9]+) of ([0-9]+)\n")
# In microseconds: what a stall is, what is heard in sound, and a frame at 60 Hz.
LIMITS_US = (50, 1000, 16000)
_HEAD = re.compile(
    r"processors: (?P<count>[0-9]{1,5})\n"
    r"ticks-per-second: (?P<rate>[0-9]{1,12})\n"
    r"qlaunch jitter: ready (?P=count) of (?P=count)\n"
    r"qlaunch jitter: runs for (?P<seconds>[0-9]{1,4})\n"
)
_VCPU = re.compile(r"vcpu: ([0-9]+) ran ([0-9]+) longest ([0-9]+) lost ([0-9]+) above ([0-9]+) ([0-9]+) ([0-9]+)")
_GAPS = re.compile(r"gaps: ([0-9]+)((?: [0-9]{1,4}:[0-9]{1,20})+)")


class Vcpu(msgspec.Struct, frozen=True, kw_only=True):
    """What one vCPU saw, in ticks; ``above`` counts the gaps longer than each of ``LIMITS_US``."""

    ran: int
    longest: int
    lost: int  # in gaps longer than the first limit
    above: tuple[int, int, int]
    gaps: Histogram


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report: the vCPUs in their order, and the ticks of a second."""

    ticks_per_second: int
    seconds: int
    vcpus: tuple[Vcpu, ...]


def parse_report(text: str) -> Report:
    """Read the last report of a serial log. Raises QemuError when there is no whole and sound one."""
    lines = text.replace("\r\n", "\n")
    begin = lines.rfind(BEGIN + "\n")
    if begin < 0:
        raise _unsound("it did not begin")
    end = lines.find(END + "\n", begin)
    if end < 0:
        raise _unsound("it did not end")
    body = lines[begin + len(BEGIN) + 1 : end]
    head = _HEAD.match(body)
    if not head:
        raise _unsound(f"it begins with {body[:80]!r}")
    if not int(head["rate"]) or not int(head["count"]):
        raise _unsound("its clock stands still, or it has no processor")
    vcpus = _vcpus(body[head.end() :].splitlines())
    if len(vcpus) != int(head["count"]):
        raise _unsound(f"it tells of {len(vcpus)} processors out of {head['count']}")
    return Report(ticks_per_second=int(head["rate"]), seconds=int(head["seconds"]), vcpus=tuple(vcpus))


def _vcpus(lines: list[str]) -> list[Vcpu]:
    vcpus: list[Vcpu] = []
    for line in lines:
        if match := _VCPU.fullmatch(line):
            number, ran, longest, lost, *above = map(int, match.groups())
            if number != len(vcpus):
                raise _unsound(f"vCPU {number} comes where {len(vcpus)} is expected")
            fifty, one, frame = above
            gaps = Histogram({})
            vcpus.append(Vcpu(ran=ran, longest=longest, lost=lost, above=(fifty, one, frame), gaps=gaps))
        elif (match := _GAPS.fullmatch(line)) and int(match[1]) == len(vcpus) - 1:
            vcpus[-1] = _with_gaps(vcpus[-1], match[2].split())
        else:
            raise _unsound(f"it has a line {line[:80]!r}")
    for number, vcpu in enumerate(vcpus):
        _check(number, vcpu)
    return vcpus


def _with_gaps(vcpu: Vcpu, pairs: list[str]) -> Vcpu:
    counts = dict(vcpu.gaps.counts)
    for pair in pairs:
        bucket, count = map(int, pair.split(":"))
        if bucket >= BUCKETS or bucket in counts or not count:
            raise _unsound(f"{pair!r} is no new bucket of a histogram")
        counts[bucket] = count
    return msgspec.structs.replace(vcpu, gaps=Histogram(counts))


def _check(number: int, vcpu: Vcpu) -> None:
    """Hold the numbers of a vCPU against each other. Raises QemuError."""
    counts = vcpu.gaps.counts
    if not counts:
        raise _unsound(f"vCPU {number} has no histogram")
    if bucket_of(vcpu.longest) != max(counts):
        raise _unsound(f"the longest gap of vCPU {number} is in no bucket of its histogram")
    if sum(bounds(bucket)[0] * count for bucket, count in counts.items()) > vcpu.ran:
        raise _unsound(f"the gaps of vCPU {number} are longer than its run")
    if not vcpu.gaps.total >= vcpu.above[0] >= vcpu.above[1] >= vcpu.above[2] or vcpu.lost > vcpu.ran:
        raise _unsound(f"the stalls of vCPU {number} contradict each other")


def _unsound(why: str) -> QemuError:
    return QemuError(f"the report of the calm probe is not sound: {why}", "run it again")
