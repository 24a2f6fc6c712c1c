"""What a run came to, in microseconds: for each vCPU, and for several runs against each other. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from qlaunch.jitter.histogram import Histogram
from qlaunch.jitter.report import LIMITS_US, Report, Vcpu

PERCENTILES = {"p99": 0.99, "p99_9": 0.999, "p99_99": 0.9999}


class Calm(msgspec.Struct, frozen=True, kw_only=True):
    """How calm one vCPU was. ``stalls`` counts those longer than so many microseconds.

    ``of_time_us``: for 99 % of the time, no gap was longer; ``of_gaps_us``: 99 % of the gaps were no longer, most of
    which are the loop's own turns.
    """

    vcpu: int
    host_cpus: str  # where it was seen, in the kernel's list format
    seconds: float
    longest_us: float
    stalls: dict[str, int]
    of_time_us: dict[str, float]
    of_gaps_us: dict[str, float]
    lost_ms: float
    lost_percent: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run, under a name. ``gaps_us`` is the histogram of all vCPUs: gaps by the bucket's middle in microseconds."""

    name: str
    settings: str
    vcpus: list[Calm]
    gaps_us: list[tuple[float, int]]

    def stalls(self, limit_us: int) -> int:
        """Count the stalls of all vCPUs that were longer."""
        return sum(vcpu.stalls[str(limit_us)] for vcpu in self.vcpus)

    @property
    def longest_us(self) -> float:
        """The longest stall of any vCPU."""
        return max(vcpu.longest_us for vcpu in self.vcpus)


def measured(name: str, settings: str, report: Report, host_cpus: Mapping[int, str]) -> Measured:
    """Give a report in microseconds; ``host_cpus`` tells by vCPU where its thread was seen."""
    together = Histogram({})
    for vcpu in report.vcpus:
        together = together.merged(vcpu.gaps)
    rate = report.ticks_per_second
    # A bucket of the sum: its middle, weighed as `times` does, per gap.
    gaps = [(_us(ticks / together.counts[bucket], rate), together.counts[bucket]) for bucket, ticks in together.times()]
    vcpus = [_calm(number, vcpu, rate, host_cpus.get(number, "")) for number, vcpu in enumerate(report.vcpus)]
    return Measured(name=name, settings=settings, vcpus=vcpus, gaps_us=gaps)


def ratios(runs: Sequence[Measured], limit_us: int = LIMITS_US[1]) -> dict[str, float]:
    """Give how many times fewer stalls each run had than pins alone, or than the first where that is not among them.

    A run without any counts as one with a single stall, so that the factor is one that was at least reached.
    """
    against = next((run for run in runs if run.name == "pins"), runs[0]).stalls(limit_us)
    return {run.name: round(against / max(1, run.stalls(limit_us)), 2) for run in runs}


def _calm(number: int, vcpu: Vcpu, rate: int, host_cpus: str) -> Calm:
    return Calm(
        vcpu=number,
        host_cpus=host_cpus,
        seconds=round(vcpu.ran / rate, 3),
        longest_us=_us(vcpu.longest, rate),
        stalls={str(limit): count for limit, count in zip(LIMITS_US, vcpu.above, strict=True)},
        of_time_us={name: _us(vcpu.gaps.of_time(fraction), rate) for name, fraction in PERCENTILES.items()},
        of_gaps_us={name: _us(vcpu.gaps.of_gaps(fraction), rate) for name, fraction in PERCENTILES.items()},
        lost_ms=round(1000 * vcpu.lost / rate, 3),
        lost_percent=round(100 * vcpu.lost / vcpu.ran, 3) if vcpu.ran else 0.0,
    )


def _us(ticks: float, rate: int) -> float:
    return round(1_000_000 * ticks / rate, 3)
