"""One HTML page that stands alone: tables and pictures, no script, nothing from a network."""

from __future__ import annotations

import html
from collections.abc import Sequence

from fuxictr_qnn.reporting.plots import Picture
from fuxictr_qnn.reporting.table import Table, to_html
from fuxictr_qnn.reporting.theme import as_svg, css_variables

STYLE = """
:root { color-scheme: light dark; LIGHT }
@media (prefers-color-scheme: dark) { :root { DARK } }
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
       max-width: 1400px; padding: 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 0; }
.wide { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.45rem; text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; border-bottom: 1px solid var(--soft);
           color: var(--soft); font-weight: 600; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--ground); }
tbody th { font-weight: normal; white-space: normal; min-width: 13rem; } b { font-weight: 700; }
tbody tr { border-bottom: 1px solid var(--faint); }
tr.outside { color: var(--soft); font-style: italic; }
tr.ranked + tr.outside { border-top: 2px solid var(--soft); }
.notes, figcaption { color: var(--soft); font-size: 0.85rem; } .notes { padding-left: 1.2rem; }
.pictures { columns: 36rem; column-gap: 2rem; }
figure { margin: 0 0 1.5rem; break-inside: avoid; } figcaption { margin: 0.2rem 0 0.5rem; }
figure svg { max-width: 100%; height: auto; }
"""


def page(
    title: str,
    sections: Sequence[tuple[Table, Sequence[Picture]]],
    left_out: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> str:
    """The whole page.

    Args:
        sections: a table and its pictures each.
        left_out: a sentence about each run folder that is in no table.
        remarks: sentences below the title.
    """
    style = STYLE.replace("LIGHT", css_variables(dark=False)).replace("DARK", css_variables(dark=True))
    parts = [f"<h1>{html.escape(title)}</h1>", _list(remarks)]
    for number, (table, pictures) in enumerate(sections, start=1):
        drawn = "\n".join(_picture(picture, f"t{number}-{picture.name}") for picture in pictures)
        parts += [to_html([table]), f'<div class="pictures">\n{drawn}\n</div>' if drawn else ""]
    if left_out:
        parts += ["<h2>Left out</h2>", _list(left_out)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _picture(picture: Picture, name: str) -> str:
    return (
        f"<figure>\n<h3>{html.escape(picture.title)}</h3>\n"
        f"<figcaption>{html.escape(picture.caption)}</figcaption>\n"
        f"{as_svg(picture.figure, name, picture.title)}\n</figure>"
    )


def _list(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f'<ul class="notes">{items}</ul>' if items else ""
