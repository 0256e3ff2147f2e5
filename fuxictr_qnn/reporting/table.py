"""A table of results, and what it looks like in Markdown, CSV and HTML; latex.py has the fourth format."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fuxictr_qnn.reporting.latex import to_latex

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
class Part:
    """Some columns of a table, the rows' names first."""

    headings: Sequence[str]
    rows: Sequence[TableRow]

    def of(self, columns: Sequence[int]) -> Part:
        rows = [TableRow([row.cells[i] for i in columns], row.outside) for row in self.rows]
        return Part([self.headings[i] for i in columns], rows)


@dataclass(frozen=True)
class Table:
    """Rows in the order of their rank, those outside it last.

    Attributes:
        title: of the table.
        headings: the first is that of the rows' names.
        notes: sentences below it.
        facts: CSV columns that all rows share.
        breaks: headings at which a new part begins, where people read it: all columns are too many.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[TableRow]
    notes: Sequence[str] = ()
    facts: Mapping[str, Number] = field(default_factory=dict)
    breaks: Sequence[str] = ()

    def parts(self) -> list[Part]:
        """The table in parts, without columns that have nothing to say and parts that have none left."""
        columns: list[list[int]] = [[]]
        for i, heading in list(enumerate(self.headings))[1:]:
            if heading in self.breaks:
                columns.append([])
            if any(row.cells[i].text != MISSING for row in self.rows):
                columns[-1].append(i)
        whole = Part(self.headings, self.rows)
        return [whole.of([0, *chosen]) for chosen in columns if chosen] or [whole.of([0])]


def to_markdown(tables: Sequence[Table]) -> str:
    """Tables one after another, each with its title and notes."""
    texts = []
    for table in tables:
        parts = "\n\n".join(map(_markdown, table.parts()))
        notes = "".join(f"- {_in_markdown(note)}\n" for note in table.notes)
        texts.append(f"## {table.title}\n\n{parts}\n" + (f"\n{notes}" if notes else ""))
    return "\n".join(texts)


def _markdown(part: Part) -> str:
    rows = [[_bold(cell, "**{}**", _in_markdown) for cell in row.cells] for row in part.rows]
    return markdown(part.headings, rows)


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


def to_html(tables: Sequence[Table]) -> str:
    """Fragments of a page: a heading, a table and a list of notes each."""
    return "\n".join(map(_html, tables))


def _html(table: Table) -> str:
    parts = "\n".join(map(_html_part, table.parts()))
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return f'<h2>{html.escape(table.title)}</h2>\n{parts}\n<ul class="notes">{notes}</ul>\n'


def _html_part(part: Part) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in part.headings)
    rows = []
    for row in part.rows:
        cells = [_bold(cell, "<b>{}</b>", html.escape) for cell in row.cells]
        fields = f"<th>{cells[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in cells[1:])
        kind = "outside" if row.outside else "ranked"
        rows.append(f'<tr class="{kind}">{fields}</tr>')
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
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
