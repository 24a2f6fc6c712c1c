"""Runs as a table for people. Pure."""

from collections.abc import Iterator, Sequence

from qlaunch.jitter.measure import PERCENTILES, Measured, ratios
from qlaunch.jitter.report import LIMITS_US

_HEADS = ("vCPU", "ran on", "longest", *(f"> {text}" for text in ("50 us", "1 ms", "16 ms")), "p99", "p99.9", "p99.99")


def lines(runs: Sequence[Measured]) -> Iterator[str]:
    """Yield one table a run, and the ratios where there are several."""
    for run in runs:
        yield f"{run.name}: {run.settings}"
        yield "  " + _row(_HEADS) + f"{'lost':>18}"
        for vcpu in run.vcpus:
            cells = (
                str(vcpu.vcpu),
                vcpu.host_cpus or "?",
                duration(vcpu.longest_us),
                *(str(vcpu.stalls[str(limit)]) for limit in LIMITS_US),
                *(duration(vcpu.of_time_us[name]) for name in PERCENTILES),
            )
            lost = f"{duration(1000 * vcpu.lost_ms)} ({vcpu.lost_percent:.1f} %)"
            yield "  " + _row(cells) + f"{lost:>18}"
        yield ""
    yield "p99: for 99 % of the time, no gap was longer. lost: in stalls above 50 us."
    if len(runs) > 1:
        yield from _comparison(runs)


def duration(microseconds: float) -> str:
    """Print a time with the unit that suits it."""
    if microseconds < 1000:
        return f"{microseconds:.3g} us" if microseconds < 100 else f"{microseconds:.0f} us"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms" if microseconds < 100_000 else f"{microseconds / 1000:.0f} ms"
    return f"{microseconds / 1_000_000:.3g} s"


def _comparison(runs: Sequence[Measured]) -> Iterator[str]:
    factors = ratios(runs)
    against = "pins alone" if "pins" in factors else runs[0].name
    yield ""
    yield f"{'':<16}{'stalls > 1 ms':>14}   fewer than {against} by a factor of"
    for run in runs:
        at_least = "at least " if not run.stalls(LIMITS_US[1]) and factors[run.name] else ""
        yield f"{run.name:<16}{run.stalls(LIMITS_US[1]):>14}   {at_least}{factors[run.name]:g}"


def _row(cells: Sequence[str]) -> str:
    widths = (4, 8, *[9] * 7)
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
