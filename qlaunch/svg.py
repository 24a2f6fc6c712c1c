"""Pieces of SVG that the pictures share: a document with one style, and text in it. Pure. Source: SVG 1.1."""

from collections.abc import Iterable

_STYLE = """\
text { font-family: sans-serif; fill: #222 }
.title { font-size: 16px; font-weight: bold } .label { font-size: 13px; font-weight: bold } .tick { font-size: 11px }
.grid { stroke: #e4e4e4 } .axis { stroke: #222 } .limit { stroke: #888; stroke-dasharray: 4 3 }
.gap { fill: #4878a8 } .stall { fill: #c8402f } .wait { fill: #d9d9d9 } .phase { fill: #7f9f5f }"""


def document(width: float, height: float, parts: Iterable[str]) -> str:
    """Give a whole document on white."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">\n<style>{_STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, style: str, *, anchor: str = "start") -> str:
    """Give one line of text; ``y`` is its base line."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def escape(words: str) -> str:
    """Write what XML gives a meaning as an entity; what it forbids becomes a question mark."""
    allowed = "".join(letter if letter.isprintable() else "?" for letter in words)
    return allowed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
