"""The histogram of gaps that the calm probe keeps: which bucket a gap is in, sums, and percentiles.

A gap of less than 32 ticks has a bucket of its own; above, each power of two has 32 buckets, so that a bucket is at
most 3.2 % wide. The same rule is in ``contrib/probe-guest/jitter.c``.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import msgspec

_SUB_BITS = 5
_SUB = 1 << _SUB_BITS
BUCKETS = _SUB * 60  # a gap has 64 bits


def bucket_of(gap: int) -> int:
    """Give the number of the bucket that a gap of so many ticks is counted in."""
    if gap < _SUB:
        return gap
    shift = gap.bit_length() - 1 - _SUB_BITS
    return shift * _SUB + (gap >> shift)


def bounds(bucket: int) -> tuple[int, int]:
    """Give the shortest and the longest gap of a bucket, in ticks."""
    if bucket < _SUB:
        return bucket, bucket
    shift = bucket // _SUB - 1
    low = (_SUB + bucket % _SUB) << shift
    return low, low + (1 << shift) - 1


class Histogram(msgspec.Struct, frozen=True):
    """How many gaps there were, by bucket; buckets without any are left out."""

    counts: dict[int, int]

    @classmethod
    def of(cls, gaps: Iterable[int]) -> "Histogram":
        """Count gaps, in ticks."""
        counts: dict[int, int] = {}
        for gap in gaps:
            bucket = bucket_of(gap)
            counts[bucket] = counts.get(bucket, 0) + 1
        return cls(counts)

    def merged(self, other: "Histogram") -> "Histogram":
        """Give the histogram of both sets of gaps."""
        return Histogram(
            {key: self.counts.get(key, 0) + other.counts.get(key, 0) for key in self.counts | other.counts}
        )

    @property
    def total(self) -> int:
        """The number of gaps."""
        return sum(self.counts.values())

    def of_gaps(self, fraction: float) -> int:
        """Give the length in ticks that this fraction of the gaps does not exceed: the longest of its bucket."""
        return _reached(
            ((bucket, count) for bucket, count in sorted(self.counts.items())), _exactly(fraction) * self.total
        )

    def of_time(self, fraction: float) -> int:
        """Give the length in ticks that the gaps did not exceed for this fraction of the time."""
        return _reached(self.times(), _exactly(fraction) * sum(time for _, time in self.times()))

    def times(self) -> Iterator[tuple[int, int]]:
        """Yield the buckets with the ticks that passed in their gaps, each taken as the middle one of its bucket."""
        for bucket, count in sorted(self.counts.items()):
            yield bucket, count * sum(bounds(bucket)) // 2


def _exactly(fraction: float) -> Fraction:
    return Fraction(str(fraction))  # 0.9 as it is written: the float itself is a little more than nine tenths


def _reached(weights: Iterable[tuple[int, int]], wanted: Fraction) -> int:
    so_far, longest = 0, 0
    for bucket, weight in weights:
        so_far += weight
        longest = bounds(bucket)[1]
        if so_far >= wanted:
            break
    return longest
