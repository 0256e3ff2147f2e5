"""Tables in LaTeX: escaping, parts, and, where there is one, that a LaTeX takes them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from fuxictr_qnn.reporting.latex import ROOM, escape, to_latex
from fuxictr_qnn.reporting.table import Cell, Table, TableRow

HARD = Table(
    "a_b & c",
    ["model", "test|AUC"],
    [
        TableRow([Cell("x|y <b>"), Cell("0.5 ± 0.1 %", bold=True)]),
        TableRow([Cell("[a_b] #1", bold=True), Cell("-0.5")], outside=True),
    ],
    [r"p < 0.05 & more: {a} ~ b^2 \ $1"],
)


def wide(columns: int) -> Table:
    headings = ["model", *(f"a heading of column {i} [95 % over seeds]" for i in range(columns))]
    rows = [TableRow([Cell(f"M{k}"), *(Cell(f"{k + i / 7:.7f}") for i in range(columns))]) for k in range(2)]
    return Table("wide", headings, rows)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("50 % of a_b & #1 {x}", r"50 \% of a\_b \& \#1 \{x\}"),
        ("a|b ~ c^d \\ e", r"a\textbar{}b \textasciitilde{} c\textasciicircum{}d \textbackslash{} e"),
        ("$0.1 ± 0.2, – α", r"\$0.1 $\pm$ 0.2, -- $\alpha$"),
        ("[-0.5, +0.5], 1e-05, 1-3, T-1", "[$-$0.5, +0.5], 1e-05, 1-3, T-1"),
        ("p < 0.1", "p $<$ 0.1"),
    ],
)
def test_escaping(text, expected):
    assert escape(text) == expected


def test_rules_and_bold():
    lines = to_latex([HARD]).splitlines()
    assert [line for line in lines if "rule" in line] == [r"\toprule", *[r"\midrule"] * 2, r"\bottomrule"]
    assert lines[lines.index(r"\bottomrule") - 1] == r"\textbf{[a\_b] \#1} & $-$0.5 \\"
    assert r"x\textbar{}y $<$b$>$ & \textbf{0.5 $\pm$ 0.1 \%} \\" in lines


def test_more_columns_than_a_page_has_room_for_are_parts():
    """Each with the names of the rows; none wider than the page, no column lost."""
    tabulars = re.findall(r"toprule\n(.*?)\\bottomrule", to_latex([wide(12)]), re.DOTALL)
    assert len(tabulars) > 1 and all(part.count("\nM0 & ") == part.count("\nM1 & ") == 1 for part in tabulars)
    assert sum(part.count("shortstack") for part in tabulars) == 12
    for part in tabulars:
        assert max(len(line.rstrip(" \\")) for line in part.splitlines() if line.startswith("M")) <= ROOM


def test_long_headings_stand_in_two_lines():
    assert r"\shortstack[r]{a heading of column\\{}0 [95 \% over seeds]}" in to_latex([wide(1)])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX")
def test_a_latex_takes_it(tmp_path):
    head = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (tmp_path / "page.tex").write_text(f"{head}{to_latex([HARD, wide(12)])}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "page.pdf").exists(), done.stdout[-2000:]
    assert "Overfull" not in done.stdout
