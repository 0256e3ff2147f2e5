"""Colours that are legible on light and on dark ground, and pictures that follow the reader's choice.

Pictures are drawn in the light colours; in an SVG each of these becomes a CSS variable, so that one file
serves both grounds. Text is drawn as paths and needs no font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUND = ("#ffffff", "#12161c")
INK = {  # name -> on light, on dark ground
    "ink": ("#1d2329", "#e7ebef"),
    "soft": ("#5d6773", "#9aa5b1"),
    "faint": ("#d9dfe5", "#333c46"),
}
SERIES = {
    "s1": ("#0b69b3", "#58b0f2"),
    "s2": ("#c9520b", "#ff9a57"),
    "s3": ("#0d8565", "#3bcf9f"),
    "s4": ("#a93a84", "#ee8fcb"),
    "s5": ("#8a6a00", "#dfb92e"),
    "s6": ("#4b4fc4", "#a5a9ff"),
    "s7": ("#b3282d", "#ff8086"),
    "s8": ("#2d7d85", "#66cbd3"),
}
ALL = INK | SERIES
MARKERS = "osD^vPX*"


def light(name: str) -> str:
    return ALL[name][0]


def css_variables(dark: bool) -> str:
    """`--ink: #...;` and so on, with the ground."""
    pairs = {"ground": GROUND, **ALL}
    return " ".join(f"--{name}: {colours[dark]};" for name, colours in pairs.items())


@contextmanager
def themed() -> Iterator[None]:
    """matplotlib as these pictures want it."""
    import matplotlib

    ink, soft, faint = (light(name) for name in INK)
    style = {
        "font.size": 9,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": soft,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "axes.formatter.useoffset": False,
        "figure.facecolor": "none",
        "grid.color": faint,
        "grid.linewidth": 0.7,
        "xtick.color": soft,
        "ytick.color": soft,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.linewidth": 1.3,
        "svg.fonttype": "path",
        "svg.hashsalt": "fuxictr-qnn",
    }
    with matplotlib.rc_context(style):
        yield


def as_svg(figure: Figure, name: str, title: str) -> str:
    """The picture as an SVG element whose colours are CSS variables; `name` keeps its ids apart."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    for variable, (colour, _) in ALL.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def alone(svg: str) -> str:
    """An SVG element as a file that brings its colours along, for both grounds."""
    dark = f"@media (prefers-color-scheme: dark) {{ svg {{ {css_variables(dark=True)} }} }}"
    style = f"<style>svg {{ {css_variables(dark=False)} background: var(--ground); }} {dark}</style>"
    start = svg.index(">") + 1
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg[:start]}\n{style}{svg[start:]}\n'


def as_png(figure: Figure) -> bytes:
    """The picture on light ground."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, facecolor=GROUND[0])
    return file.getvalue()
