"""A table of results, and what it looks like in Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Number = float | int | str | None

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A field of a table.

    Attributes:
        text: as people read it; MISSING where there is nothing to say.
        values: as programs read it, by the name of a CSV column.
        bold: the best, and what ties with it.
    """

    text: str = MISSING
    values: Mapping[str, Number] = field(default_factory=dict)
    bold: bool = False


@dataclass(frozen=True)
class TableRow:
    """Cells, as many as the table has headings. `outside`: not part of the ranking."""

    cells: Sequence[Cell]
    outside: bool = False


@dataclass(frozen=True)
class Table:
    """Rows in the order of their rank, those outside it last.

    Attributes:
        title: of the table.
        headings: the first is that of the rows' names.
        notes: sentences below it.
        facts: CSV columns that all rows share.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[TableRow]
    notes: Sequence[str] = ()
    facts: Mapping[str, Number] = field(default_factory=dict)


def to_markdown(tables: Sequence[Table]) -> str:
    """Tables one after another, each with its title and notes."""
    parts = []
    for table in tables:
        rows = [[_bold(cell, "**{}**", _in_markdown) for cell in row.cells] for row in table.rows]
        notes = "".join(f"- {_in_markdown(note)}\n" for note in table.notes)
        parts.append(
            f"## {table.title}\n\n{markdown(table.headings, rows)}\n" + (f"\n{notes}" if notes else "")
        )
    return "\n".join(parts)


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a Markdown table, numbers to the right of their columns."""
    marks = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, marks, *rows])


def to_csv(tables: Sequence[Table]) -> str:
    """One row an entry, one number a column, the tables one below the other; nothing where one is missing."""
    lines = [
        {**table.facts, **{key: value for cell in row.cells for key, value in cell.values.items()}}
        for table in tables
        for row in table.rows
    ]
    return csv_of(lines)


def csv_of(lines: Sequence[Mapping[str, Number]]) -> str:
    """Mappings as CSV, a column for every key."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def to_latex(tables: Sequence[Table]) -> str:
    """A table environment each, with booktabs' rules."""
    return "\n".join(map(_latex, tables))


def _latex(table: Table) -> str:
    lines = [" & ".join(_in_latex(heading) for heading in table.headings) + r" \\", r"\midrule"]
    for number, row in enumerate(table.rows):
        if row.outside and number and not table.rows[number - 1].outside:
            lines.append(r"\midrule")
        lines.append(" & ".join(_bold(cell, r"\textbf{{{}}}", _in_latex) for cell in row.cells) + r" \\")
    notes = "".join(f"\\par {_in_latex(note)}\n" for note in table.notes)
    rows = "\n".join(lines)
    return (
        "% needs \\usepackage{booktabs,graphicx}\n"
        f"\\begin{{table}}\n\\centering\n\\caption{{{_in_latex(table.title)}}}\n"
        f"\\resizebox{{\\textwidth}}{{!}}{{%\n\\begin{{tabular}}{{l{'r' * (len(table.headings) - 1)}}}\n"
        f"\\toprule\n{rows}\n\\bottomrule\n\\end{{tabular}}}}\n"
        f"\\par\\medskip\\raggedright\\footnotesize\n{notes}\\end{{table}}\n"
    )


def to_html(tables: Sequence[Table]) -> str:
    """Fragments of a page: a heading, a table and a list of notes each."""
    return "\n".join(map(_html, tables))


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in table.headings)
    rows = []
    for row in table.rows:
        cells = [_bold(cell, "<b>{}</b>", html.escape) for cell in row.cells]
        fields = f"<th>{cells[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in cells[1:])
        kind = "outside" if row.outside else "ranked"
        rows.append(f'<tr class="{kind}">{fields}</tr>')
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f"<h2>{html.escape(table.title)}</h2>\n"
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + f'\n</tbody></table></div>\n<ul class="notes">{notes}</ul>\n'
    )


FORMATS: dict[str, tuple[str, Callable[[Sequence[Table]], str]]] = {
    "md": ("md", to_markdown),
    "csv": ("csv", to_csv),
    "latex": ("tex", to_latex),
    "html": ("html", to_html),
}  # the name of a format -> the ending of its files, and what writes it


def _bold(cell: Cell, mark: str, escape: Callable[[str], str]) -> str:
    text = escape(cell.text)
    return mark.format(text) if cell.bold else text


def _in_markdown(text: str) -> str:
    return text.replace("|", "\\|")


IN_LATEX = {
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    MISSING: "--",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "‖": r"$\|$",
    "<": "$<$",
    ">": "$>$",
}


def _in_latex(text: str) -> str:
    return "".join(IN_LATEX.get(sign, sign) for sign in text)
