"""`--timings` of `up` and `down`: what took how long, as a table and, with a file's name, as a drawing.

The drawing has a row for each part and the time from left to right, in the manner of ``systemd-analyze plot``; parts of
one colour are of one lane, and follow each other.

Source: SVG 1.1.
"""

import sys
from collections.abc import Sequence
from html import escape

from qlaunch.cli.new_file import write_new
from qlaunch.run.timings import QEMU, Part, read_timings

# All lengths are pixels.
_ROW, _LEFT, _TOP, _WIDTH, _RIGHT = 20, 16, 34, 900, 460
_TICKS = 10
_FILLS = ("#0072b2", "#b87900", "#00785a", "#b04a00", "#a4487c", "#8a8200", "#5b6770", "#6a51a3", "#3a9fd0")


def show_timings(name: str, state: str, target: str, since: float = 0) -> None:
    """Print the parts of a machine's last run on stderr, and draw them into a new file if there is a name for it.

    ``since``, a time of the monotonic clock, leaves out what began before. Raises UsageError, HostError.
    """
    parts = [part for part in read_timings(state) if part.began >= since]
    if target:
        write_new(target, drawing(name, parts).encode())
    print("\n".join(table(parts)), file=sys.stderr)


def table(parts: Sequence[Part]) -> list[str]:
    """Give a line for each part: when it began after the first one, how long it took, its lane, what it was.

    In brackets, how long of that it waited, as far as it was noted: for D-Bus, for drivers, for netlink.
    """
    if not parts:
        return ["no timings were kept"]
    first = min(part.began for part in parts)
    lines = [f"{'at ms':>9} {'took ms':>9}  {'lane':<12} part (of which it waited for others, ms)"]
    for part in parts:
        began, took = (part.began - first) * 1000, (part.ended - part.began) * 1000
        lines.append(f"{began:>9.1f} {took:>9.1f}  {part.lane:<12} {part.summary}{_waits(part)}")
    return lines


def _waits(part: Part) -> str:
    whose: dict[str, float] = {}
    for wait in part.waits:
        whose[wait.whose] = whose.get(wait.whose, 0.0) + wait.ended - wait.began
    words = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in whose.items())
    return f" ({words})" if words else ""


def drawing(name: str, parts: Sequence[Part]) -> str:
    """Draw the parts as an SVG document."""
    first = min((part.began for part in parts), default=0.0)
    whole = max((part.ended for part in parts), default=first) - first or 1.0
    height = _TOP + _ROW * len(parts) + _ROW
    lanes = list(dict.fromkeys([QEMU, *(_trunk(part) for part in parts)]))
    body = [f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(name)}: {whole * 1000:.0f} ms</text>']
    body += _legend(lanes)
    for milliseconds in _ticks(whole * 1000):
        x = _LEFT + _WIDTH * milliseconds / (whole * 1000)
        body.append(f'<line x1="{x:g}" y1="{_TOP}" x2="{x:g}" y2="{height - _ROW}" stroke="#ddd"/>')
        body.append(f'<text x="{x:g}" y="{height - 4}" fill="#777">{milliseconds:g}</text>')
    for row, part in enumerate(parts):
        x, y = _LEFT + _WIDTH * (part.began - first) / whole, _TOP + _ROW * row
        width = max(1.0, _WIDTH * (part.ended - part.began) / whole)
        fill = _FILLS[lanes.index(_trunk(part)) % len(_FILLS)]
        body.append(f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 6}" rx="2" fill="{fill}"/>')
        words = f"{part.summary} ({(part.ended - part.began) * 1000:.1f} ms)"
        body.append(f'<text x="{x + width + 4:.1f}" y="{y + 14}">{escape(_printable(words))}</text>')
    size = f'width="{_LEFT + _WIDTH + _RIGHT}" height="{height}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(body) + "\n</svg>\n"


def _trunk(part: Part) -> str:
    """Give its lane without the branch, which has the lane's colour."""
    return part.lane.partition("/")[0]


def _legend(lanes: Sequence[str]) -> list[str]:
    """Say which colour is which lane, at the right of the name."""
    body, x = [], _LEFT + _WIDTH / 3
    for number, lane in enumerate(lanes):
        fill = _FILLS[number % len(_FILLS)]
        body.append(f'<circle cx="{x:g}" cy="16" r="5" fill="{fill}"/>')
        body.append(f'<text x="{x + 9:g}" y="20">{escape(_printable(lane))}</text>')
        x += 100
    return body


def _ticks(whole_ms: float) -> list[float]:
    """Give round times: ten of them at most, 1, 2 or 5 times a power of ten apart."""
    step = 0.001
    while step * _TICKS < whole_ms:
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    return [round(step * number, 3) for number in range(int(whole_ms / step) + 1)]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
