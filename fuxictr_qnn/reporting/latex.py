"""Tables of results in LaTeX, with booktabs' rules, in parts that a page has room for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuxictr_qnn.reporting.table import Part, Table

ROOM = 125  # letters in a row; what is wider than the page is made smaller
GAP = 2  # letters between two columns
FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"
SIGNS = {
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "‖": r"$\|$",
    "<": "$<$",
    ">": "$>$",
}


def to_latex(tables: Sequence[Table]) -> str:
    """A table environment each; its columns in as many parts, one below the other, as a page needs."""
    return "\n".join(map(_table, tables))


def _table(table: Table) -> str:
    parts = "\n\\par\\medskip\n".join(_tabular(part) for whole in table.parts() for part in _narrow(whole))
    notes = "".join(f"\\par {escape(note)}\n" for note in table.notes)
    return (
        "% needs \\usepackage{booktabs,graphicx}\n"
        f"\\begin{{table*}}\n\\centering\\footnotesize\n\\caption{{{escape(table.title)}}}\n"
        f"{parts}\n\\par\\medskip\\raggedright\n{notes}\\end{{table*}}\n"
    )


def _tabular(part: Part) -> str:
    headings = [_heading(name, _longest(part, i)) for i, name in enumerate(part.headings)]
    lines = [" & ".join(headings) + r" \\", r"\midrule"]
    for number, row in enumerate(part.rows):
        if row.outside and number and not part.rows[number - 1].outside:
            lines.append(r"\midrule")
        texts = (rf"\textbf{{{escape(cell.text)}}}" if cell.bold else escape(cell.text) for cell in row.cells)
        lines.append(" & ".join(texts) + r" \\")
    rows = "\n".join(lines)
    columns = "l" + "r" * (len(headings) - 1)
    return f"{FIT}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{rows}\n\\bottomrule\n\\end{{tabular}}}}"


def _narrow(part: Part) -> list[Part]:
    """The part, or several with the same first column, none wider than ROOM if that can be."""
    columns: list[list[int]] = [[]]
    first = _width(part, 0)
    used = first
    for i in range(1, len(part.headings)):
        width = _width(part, i) + GAP
        if columns[-1] and used + width > ROOM:
            columns.append([])
            used = first
        columns[-1].append(i)
        used += width
    return [part.of([0, *chosen]) for chosen in columns]


def _width(part: Part, column: int) -> int:
    longest = _longest(part, column)
    return max(longest, *map(len, _lines(part.headings[column], longest)))


def _longest(part: Part, column: int) -> int:
    return max((len(row.cells[column].text) for row in part.rows), default=0)


def _lines(heading: str, width: int) -> list[str]:
    """In two lines, of about one length, where a heading is wider than what stands below it."""
    spaces = [i for i, sign in enumerate(heading) if sign == " "]
    if len(heading) <= width or not spaces:
        return [heading]
    cut = min(spaces, key=lambda i: max(i, len(heading) - i))
    return [heading[:cut], heading[cut + 1 :]]


def _heading(heading: str, width: int) -> str:
    lines = [escape(line) for line in _lines(heading, width)]
    return lines[0] if len(lines) == 1 else rf"\shortstack[r]{{{lines[0]}\\{{}}{lines[1]}}}"


def escape(text: str) -> str:
    """Text as LaTeX prints it, with a minus before a number."""
    marked = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    return "".join({**SIGNS, "\N{MINUS SIGN}": "$-$"}.get(sign, sign) for sign in marked)
