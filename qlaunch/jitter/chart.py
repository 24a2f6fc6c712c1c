"""Runs as a picture: how many gaps there were of each length, a panel a run, one above the other. Pure.

Both scales are logarithmic, as in the plots of cyclictest: nearly all gaps are the loop's own turns, and the few others
are what matters. Source: SVG 1.1 (Second Edition).
"""

import math
from collections.abc import Iterator, Sequence

import msgspec

from qlaunch.jitter.measure import Measured
from qlaunch.jitter.report import LIMITS_US
from qlaunch.jitter.table import duration
from qlaunch.svg import document, escape, text

_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 30, 56, 50
_WIDTH, _PANEL, _BETWEEN = 860, 130, 34
_BARS_A_DECADE = 20


class _Scale(msgspec.Struct, frozen=True):
    """Decades of microseconds across, and decades of gaps upwards; the same in all panels."""

    first: int
    last: int
    tallest: int

    def across(self, microseconds: float) -> float:
        share = (math.log10(microseconds) - self.first) / (self.last - self.first)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def upwards(self, count: float) -> float:
        """Give the height of a bar. One gap must be seen, so the scale begins at a half."""
        return _PANEL * math.log10(2 * count) / math.log10(2 * 10**self.tallest)


def draw(title: str, runs: Sequence[Measured]) -> str:
    """Give the picture as an SVG document. ``runs`` is not empty."""
    bars = [_bars(run) for run in runs]
    gaps = [place for run in bars for place in run] or [1.0]
    counts = [count for run in bars for count in run.values()] or [1]
    first = min(math.floor(math.log10(min(gaps))), 1)
    scale = _Scale(
        first,
        max(math.floor(math.log10(max(gaps))) + 1, 5),
        max(1, math.ceil(math.log10(max(counts)))),
    )
    height = _TOP + len(runs) * (_PANEL + _BETWEEN) + _BOTTOM - _BETWEEN
    parts = [text(_LEFT, 26, title, "title")]
    for number, (run, heights) in enumerate(zip(runs, bars, strict=True)):
        parts += _panel(_TOP + number * (_PANEL + _BETWEEN), run, heights, scale)
    parts += _axis(height - _BOTTOM, scale)
    return document(_WIDTH, height, parts)


def _bars(run: Measured) -> dict[float, int]:
    """Give the gaps by the left end of their bar, in microseconds."""
    bars: dict[float, int] = {}
    for length, count in run.gaps_us:
        if length > 0:
            left = 10 ** (math.floor(math.log10(length) * _BARS_A_DECADE) / _BARS_A_DECADE)
            bars[left] = bars.get(left, 0) + count
    return bars


def _panel(top: float, run: Measured, bars: dict[float, int], scale: _Scale) -> Iterator[str]:
    floor, right = top + _PANEL, _WIDTH - _RIGHT
    label = f"{run.name}: {run.stalls(1000)} stalls above 1 ms, the longest {duration(run.longest_us)}"
    yield text(_LEFT, top - 6, label, "label")
    for power in range(0, scale.tallest + 1, max(1, scale.tallest // 3)):
        line = floor - scale.upwards(10**power)
        yield f'<line class="grid" x1="{_LEFT}" y1="{line:.1f}" x2="{right}" y2="{line:.1f}"/>'
        yield text(_LEFT - 6, line + 4, f"{10**power:,}" if power < 5 else f"1e{power}", "tick", anchor="end")
    for limit in LIMITS_US:
        place = scale.across(limit)
        yield f'<line class="limit" x1="{place:.1f}" y1="{top}" x2="{place:.1f}" y2="{floor}"/>'
    for left, count in sorted(bars.items()):
        begin, tall = scale.across(left), scale.upwards(count)
        wide = scale.across(left * 10 ** (1 / _BARS_A_DECADE)) - begin
        colour = "stall" if left >= LIMITS_US[1] else "gap"
        yield (
            f'<rect class="{colour}" x="{begin:.1f}" y="{floor - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
            f"<title>{escape(f'{count:,} gaps of about {duration(left)}')}</title></rect>"
        )
    yield f'<line class="axis" x1="{_LEFT}" y1="{floor}" x2="{right}" y2="{floor}"/>'


def _axis(floor: float, scale: _Scale) -> Iterator[str]:
    for power in range(scale.first, scale.last + 1):
        yield text(scale.across(10.0**power), floor + 18, duration(10.0**power), "tick", anchor="middle")
    yield text(
        _WIDTH / 2,
        floor + 40,
        "length of a gap; upwards: how many of it; dashed: 50 us, 1 ms, 16 ms",
        "tick",
        anchor="middle",
    )
