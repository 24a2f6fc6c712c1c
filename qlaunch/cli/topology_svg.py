"""The drawing of `qlaunch topology --svg`: packages around L3 domains around cores around CPUs, coloured by machine.

Every word in it comes from a host or a machine file, so every word is escaped. It stands alone: no fonts, scripts or
styles from elsewhere.

Source: SVG 1.1; XML 1.0, section 2.2 (which characters may be in it at all); the palette is Okabe and Ito's, which
people tell apart who see colours differently.
"""

from collections.abc import Sequence

import msgspec

from qlaunch.cli.topology_layout import Core, Domain, Package, node_line, offline_cpus, packages, uses
from qlaunch.duty import Pins
from qlaunch.host.cpus import Cpu, CpuFacts
from qlaunch.host.numa import Node

# All lengths are pixels.
_CELL_WIDTH, _CELL_HEIGHT = 66, 50
_GAP, _PAD, _LINE = 8, 12, 18
_HEADING = 26
_CORES_IN_A_ROW = 6
_WIDEST = 1240
_SMALL = 10
# A letter of the font below is so wide, at most, as a part of its size.
_LETTER = 0.62
_FILLS = ("#a6cee8", "#f4d58a", "#8fd3bd", "#f2b8a0", "#dcb9d0", "#f3ec9c")
_STROKES = ("#0072b2", "#b87900", "#00785a", "#b04a00", "#a4487c", "#8a8200")
_MOST_USES = 2
_BOLD, _CENTRED = ' font-weight="bold"', ' text-anchor="middle"'


class _Box(msgspec.Struct):
    """A part of the drawing, at 0,0 until it is placed."""

    width: float
    height: float
    parts: list[str]

    def at(self, x: float, y: float) -> str:
        return f'<g transform="translate({x:g} {y:g})">{"".join(self.parts)}</g>'


def drawing(facts: CpuFacts, nodes: Sequence[Node], pins: dict[str, Pins]) -> str:
    """Draw a host and the pins of machines, as an SVG document."""
    boxes = [_package(package, pins) for package in packages(facts)]
    legend = _legend(pins)
    lines = [node_line(node) for node in nodes]
    lines += [f"offline: CPU {offline}"] if (offline := offline_cpus(facts)) else []
    width = max([*(box.width for box in boxes), legend.width, *(_text_width(line, 12) for line in lines)], default=0)
    parts: list[str] = []
    y = float(_PAD)
    for box in (*([legend] if pins else []), *boxes):
        parts.append(box.at(_PAD, y))
        y += box.height + _PAD
    for line in lines:
        y += _LINE
        parts.append(_text(_PAD, y - 5, line, 12))
    return _document(width + 2 * _PAD, y + _PAD, parts)


def _document(width: float, height: float, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="DejaVu Sans, Verdana, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{chr(10).join(parts)}\n</svg>\n'
    )


def _package(package: Package, pins: dict[str, Pins]) -> _Box:
    inner = _flow([_domain(domain, pins) for domain in package.domains], _WIDEST - 2 * _PAD, _PAD)
    width = max(inner.width, _text_width(package.title, 15)) + 2 * _PAD
    height = inner.height + _HEADING + 2 * _PAD
    frame = _rect(width, height, ("#f4f5f7", "#5b6470"), 8)
    title = _text(_PAD, _PAD + 14, package.title, 15, _BOLD)
    return _Box(width, height, [frame, title, inner.at(_PAD, _PAD + _HEADING)])


def _domain(domain: Domain, pins: dict[str, Pins]) -> _Box:
    widest = max(len(core.cpus) for core in domain.cores)
    row = _CORES_IN_A_ROW * (max(widest, 2) * (_CELL_WIDTH + 2) + _GAP * 2)
    inner = _flow([_core(core, pins) for core in domain.cores], row, _GAP)
    width = max(inner.width, _text_width(domain.title, 12)) + 2 * _PAD
    height = inner.height + _HEADING + 2 * _PAD - 4
    frame = _rect(width, height, ("#ffffff", "#9aa4b1"), 6)
    return _Box(width, height, [frame, _text(_PAD, _PAD + 11, domain.title, 12), inner.at(_PAD, _PAD + _HEADING - 4)])


def _core(core: Core, pins: dict[str, Pins]) -> _Box:
    cells = _flow([_cell(cpu, pins) for cpu in core.cpus], _WIDEST, 2)
    width, height = cells.width + _GAP, cells.height + _LINE + _GAP / 2
    title = f"core {'?' if core.number is None else core.number} {core.marks}".rstrip()
    frame = _rect(width, height, ("#e9ecf0", "#6b7480" if core.isolated else "none"), 4, "4 3" if core.isolated else "")
    return _Box(width, height, [frame, _text(_GAP / 2 + 1, 13, title, _SMALL), cells.at(_GAP / 2, _LINE)])


def _cell(cpu: Cpu, pins: dict[str, Pins]) -> _Box:
    users = [(number, name, [*uses(pin, {cpu.cpu})]) for number, (name, pin) in enumerate(pins.items())]
    users = [user for user in users if user[2]]
    fill, stroke = "#ffffff", "#c3cad3"
    if users:
        first, _, what = users[0]
        # vCPUs are what a machine is about; its other threads only have the colour around them.
        has_vcpu = any(use.startswith("vCPU") for use in what)
        fill = _FILLS[first % len(_FILLS)] if has_vcpu else "#ffffff"
        stroke = _STROKES[first % len(_STROKES)]
    said = [use.removeprefix("iothread ") for _, _, what in users for use in what]
    if len(said) > _MOST_USES:
        said = [*said[: _MOST_USES - 1], f"+{len(said) - _MOST_USES + 1} more"]
    whole = "; ".join([f"CPU {cpu.cpu}", *(f"{name}: {', '.join(what)}" for _, name, what in users)])
    parts = [f"<title>{_escaped(whole)}</title>", _rect(_CELL_WIDTH, _CELL_HEIGHT, (fill, stroke), 3)]
    parts.append(_text(_CELL_WIDTH / 2, 16, str(cpu.cpu), 13, _BOLD + _CENTRED))
    for row, text in enumerate(said):
        parts.append(_text(_CELL_WIDTH / 2, 30 + row * 13, _cut(text), _SMALL, _CENTRED))
    return _Box(_CELL_WIDTH, _CELL_HEIGHT, parts)


def _legend(pins: dict[str, Pins]) -> _Box:
    """Name the machines by their colours."""
    parts: list[str] = []
    x = 0.0
    for number, name in enumerate(pins):
        square = _rect(14, 14, (_FILLS[number % len(_FILLS)], _STROKES[number % len(_STROKES)]), 3)
        parts += [f'<g transform="translate({x:g} 0)">{square}</g>', _text(x + 20, 12, name, 12, _BOLD)]
        x += 20 + _text_width(name, 12) + 2 * _PAD
    if pins:
        note = "filled: a vCPU; outlined: emulator and iothreads"
        parts.append(_text(x, 12, note, _SMALL))
        x += _text_width(note, _SMALL) + _PAD
    return _Box(x, 14, parts)


def _flow(boxes: Sequence[_Box], widest: float, gap: float) -> _Box:
    """Place boxes beside each other, and in further rows when they are too many."""
    parts: list[str] = []
    x = y = tallest = width = 0.0
    for box in boxes:
        if x and x + box.width > widest:
            x, y, tallest = 0.0, y + tallest + gap, 0.0
        parts.append(box.at(x, y))
        width, tallest = max(width, x + box.width), max(tallest, box.height)
        x += box.width + gap
    return _Box(width, y + tallest, parts)


def _rect(width: float, height: float, colours: tuple[str, str], radius: int, dash: str = "") -> str:
    """Draw a box; the colours are those of its inside and its edge."""
    fill, stroke = colours
    dash = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<rect width="{width:g}" height="{height:g}" rx="{radius}" fill="{fill}" stroke="{stroke}"{dash}/>'


def _text(x: float, y: float, text: str, size: int, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="#1d232b"{style}>{_escaped(text)}</text>'


def _text_width(text: str, size: int) -> float:
    return len(text) * size * _LETTER


def _cut(text: str) -> str:
    most = int(_CELL_WIDTH / (_SMALL * _LETTER))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _escaped(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
