"""The table of results: what stands in which column, and how it looks in each format."""

from __future__ import annotations

import csv
import io

import pytest

from fuxictr_qnn.reporting.comparison import compare_entries
from fuxictr_qnn.reporting.entries import entries_by_data
from fuxictr_qnn.reporting.results import results_table
from fuxictr_qnn.reporting.table import FORMATS, Cell, Table, TableRow, to_csv, to_html, to_markdown
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.runs.run import FailedRun
from tests.reporting.made_runs import make_entries, make_run


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    root = tmp_path_factory.mktemp("runs")
    make_entries(root, {"QNNalpha_shop": 0.9, "DCNv2_shop": 0.6, "DNN_shop": 0.5999})
    for seed in (1, 2, 3):
        make_run(root, "FM_shop", seed, 2.0, model="FM", metrics={"latency_ms_per_100_rows": 1.25})
    digest = make_run(root, "LR_shop", 1, 0.1, model="LR").parent.name.removeprefix("LR_shop-")
    failed = [FailedRun("LR_shop", digest, None, 2, "the loss is not finite at step 7")]
    ((_, entries),) = entries_by_data(find_runs([root]).runs, recipes=["FM_shop"], failed=failed).items()
    return results_table("shop", compare_entries(entries, repeats=100))


def column(table: Table, heading: str) -> dict[str, Cell]:
    """First column -> cell of a column."""
    exact = [i for i, name in enumerate(table.headings) if name == heading]
    (index,) = exact or [i for i, name in enumerate(table.headings) if name.startswith(heading)]
    return {row.cells[0].values["label"]: row.cells[index] for row in table.rows}


def test_the_columns(table):
    wanted = [
        *(
            "model",
            "seeds",
            "valid AUC",
            "test AUC",
            "test logloss",
            "AUC - comparator's [95 % over seeds]",
            "p",
        ),
        *(
            "[95 % over rows]",
            "is",
            "parameters",
            "s / epoch",
            "s to best epoch",
            "rows / s",
            "ms / 100 rows",
        ),
        *("peak MB", "calibration error", "predicted / observed clicks", "published AUC / logloss", "source"),
        "verdict",
    ]
    assert list(table.headings) == wanted
    assert all(len(row.cells) == len(wanted) for row in table.rows)


def test_rank_and_bold(table):
    assert [row.cells[0].values["label"] for row in table.rows] == [
        *("QNNalpha_shop", "DCNv2_shop", "DNN_shop", "LR_shop", "FM_shop")
    ]
    assert [label for label, cell in column(table, "test AUC").items() if cell.bold] == ["QNNalpha_shop"]
    assert [row.outside for row in table.rows] == [False] * 4 + [True]
    assert table.rows[-1].cells[0].text == "FM_shop (config as it stands)"


def test_numbers_as_text(table):
    assert column(table, "test AUC")["DNN_shop"].text.count(" ± ") == 1
    assert column(table, "test AUC")["LR_shop"].text.count("±") == 0  # one seed
    assert column(table, "AUC - ")["QNNalpha_shop"].text.startswith("+0.")
    assert column(table, "is")["DCNv2_shop"].text == "comparator"
    assert column(table, "is")["QNNalpha_shop"].text == "better"
    assert column(table, "rows / s")["DNN_shop"].text == "12,345"
    assert column(table, "seeds")["LR_shop"].text == "1, 2 failed"


def test_missing_values_are_shown_as_missing(table):
    missing = column(table, "ms / 100 rows")
    assert missing["DNN_shop"].text == "–" and missing["FM_shop"].text == "1.25"
    for heading in ("AUC - ", "p", "is", "[95"):
        cells = {
            label: cell for label, cell in column(table, heading).items() if label in ("LR_shop", "FM_shop")
        }
        assert all(cell.text == "–" for cell in cells.values())
    assert {cell.text for cell in column(table, "source").values()} == {"–"}


def test_notes(table):
    text = "\n".join(table.notes)
    assert "The comparator is DCNv2_shop." in text and "corrected by Holm for 2 tests" in text
    assert "The smallest difference in AUC that two models of 3 seeds each show" in text
    assert "Outside the tests, which need 3 seeds: LR_shop." in text
    assert "LR_shop, seed 2 has no result: the loss is not finite at step 7" in text
    assert "Rows marked 'config as it stands' stand outside ranking and tests." in text
    assert "Trained on cpu (1 threads)." in text


def test_the_note_on_small_differences_has_a_figure_for_each_number_of_seeds(tmp_path):
    for seed in range(1, 6):
        make_run(tmp_path, "QNNalpha_shop", seed, 0.9, model="QNNalpha")
        make_run(tmp_path, "DNN_shop", seed, 0.6)
    found = compare_entries(make_entries(tmp_path, {"LR_shop": 0.2}), repeats=20)
    (note,) = [note for note in results_table("shop", found).notes if "smallest difference" in note]
    assert "two models of 3 seeds each show with a chance of 80 %, at the common standard dev" in note
    assert note.endswith(f": {found.detectable[3]:.5f}; of 5 seeds each: {found.detectable[5]:.5f}.")


def test_notes_where_the_comparator_cannot_be_tested(tmp_path):
    make_entries(tmp_path, {"QNNalpha_shop": 0.9, "LR_shop": 0.2})
    for seed in (1, 2):
        make_run(tmp_path, "DNN_shop", seed)
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    notes = results_table("shop", compare_entries(entries, "DNN_shop")).notes
    assert notes[:2] == [
        "No test and no ranking: the comparator DNN_shop has only 2 seeds with a test AUC, and tests need 3; "
        "--seeds 3 gives every model the seeds 1 to 3.",
        "Outside the tests, which need 3 seeds: DNN_shop.",
    ]


def test_published_figures_and_other_metrics(tmp_path):
    metrics = {"test": {"AUC": 0.98, "logloss": 0.2, "gAUC": 0.7}}
    folder = make_run(
        tmp_path, "FinalMLP_frappe", 1, model="FinalMLP", dataset_id="frappe_x1", metrics=metrics
    )
    (folder / "test_scores.parquet").unlink()
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    table = results_table("frappe", compare_entries(entries), {"f" * 16})
    cells = {heading: cell.text for heading, cell in zip(table.headings, table.rows[0].cells, strict=True)}
    assert cells["published AUC / logloss"] == "0.986072 / 0.148415" and cells["source"] == "BARS, Frappe_x1"
    assert cells["verdict"] == "data differ" and cells["test gAUC"] == "0.70000"
    assert cells["calibration error"] == cells["predicted / observed clicks"] == "–"
    assert any(note.startswith("No test and no ranking") for note in table.notes)


def test_a_reproduced_figure(tmp_path):
    metrics = {"test": {"AUC": 0.9859, "logloss": 0.1320}}
    options = {"model": "QNNalpha", "dataset_id": "frappe_x1", "metrics": metrics}
    folder = make_run(tmp_path, "QNNalpha_frappe", 1, **options)
    (folder / "test_scores.parquet").unlink()
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    verdicts = [
        column(results_table("frappe", compare_entries(entries), known), "verdict")["QNNalpha_frappe"].text
        for known in ({"f" * 16}, ())
    ]
    assert verdicts == ["reproduced", "data differ"]


def test_seeds_in_a_row_are_shown_as_a_range(tmp_path):
    for seed in (1, 2, 3, 5, 6, 9):
        make_run(tmp_path, "DNN_shop", seed)
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    cell = column(results_table("shop", compare_entries(entries)), "seeds")["DNN_shop"]
    assert (cell.text, cell.values["seeds"]) == ("1-3, 5, 6, 9", "1 2 3 5 6 9")


def test_people_read_it_in_two_parts_without_empty_columns(table):
    first, second = table.parts()
    assert first.headings[0] == second.headings[0] == "model" and second.headings[1] == "parameters"
    left_out = {"published AUC / logloss", "source", "verdict"}
    assert [*first.headings, *second.headings[1:]] == [h for h in table.headings if h not in left_out]
    assert [row.outside for row in second.rows] == [row.outside for row in table.rows]
    assert second.rows[0].cells[1] is column(table, "parameters")["QNNalpha_shop"]


@pytest.mark.parametrize(
    "dataset_id, model, text",
    [
        ("ml_1m_x1", "DNN", "0.9030 / 0.3100"),  # all digits, as printed
        ("ipinyou_x1_parity", "FinalNet", "0.7813 / 0.005540"),
        ("criteo_x4", "LR", "0.7934 / –"),
        ("kkbox_x1", "ECN", "0.854016 / –"),
    ],
)
def test_published_figures_have_their_digits(tmp_path, dataset_id, model, text):
    make_run(tmp_path, "X", 1, model=model, dataset_id=dataset_id)
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    assert column(results_table("x", compare_entries(entries)), "published")["X"].text == text


class TestFormats:
    HARD = Table(
        "a_b & c",
        ["model", "test|AUC"],
        [
            TableRow([Cell("x|y <b>", {"label": "x|y"}), Cell("0.5 ± 0.1 %", {"auc": 0.5}, bold=True)]),
            TableRow(
                [Cell("a_b #1", {"label": "a, b"}, bold=True), Cell(values={"auc": None})], outside=True
            ),
        ],
        ["p < 0.05 & more"],
        {"dataset_id": "shop"},
    )

    def test_markdown(self):
        lines = to_markdown([self.HARD]).splitlines()
        assert lines[0] == "## a_b & c" and lines[3] == "| --- | ---: |"
        assert lines[4] == "| x\\|y <b> | **0.5 ± 0.1 %** |" and lines[5] == "| **a_b #1** | – |"
        assert lines[-1] == "- p < 0.05 & more"

    def test_csv(self, table):
        rows = list(csv.DictReader(io.StringIO(to_csv([self.HARD]))))
        assert rows == [
            {"dataset_id": "shop", "label": "x|y", "auc": "0.5"},
            {"dataset_id": "shop", "label": "a, b", "auc": ""},
        ]
        rows = list(csv.DictReader(io.StringIO(to_csv([table, table]))))
        assert len(rows) == 10 and rows[0]["against_comparator"] == "better" and rows[4]["recipe"] == "1"
        assert float(rows[0]["test_AUC"]) > 0.5 and rows[3]["p_holm"] == "" and rows[3]["failed_seeds"] == "2"
        assert (
            float(rows[0]["difference_low"])
            < float(rows[0]["difference"])
            < float(rows[0]["difference_high"])
        )

    def test_html(self):
        text = to_html([self.HARD])
        assert "<th>x|y &lt;b&gt;</th><td><b>0.5 ± 0.1 %</b></td>" in text
        assert '<tr class="outside"><th><b>a_b #1</b></th><td>–</td></tr>' in text
        assert "<li>p &lt; 0.05 &amp; more</li>" in text

    @pytest.mark.parametrize("name", FORMATS)
    def test_every_format_takes_every_cell(self, table, name):
        text = FORMATS[name][1]([table])
        assert "QNNalpha" in text and text.endswith("\n")
