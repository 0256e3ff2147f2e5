"""The benchmarks that are quick enough to be run here."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from benchmarks import decision_surfaces, histories, latency, paper, qin, redraw, schedules
from benchmarks.neuron_formats import PAPER, PUBLISHED, sign_test
from benchmarks.reference import QNNalphaReference
from benchmarks.sides import Times, terms
from benchmarks.workloads import LABEL, Workload
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.metrics import auc, gauc
from fuxictr_qnn.training.step import TrainStep


def test_decision_surfaces_draws_its_picture_and_its_table(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    decision_surfaces.main(["--seeds", "2", "--epochs", "3", "--folder", str(tmp_path)])
    assert (tmp_path / "decision_surfaces.png").read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / "decision_surfaces.md").read_text()
    rows = [line for line in written.splitlines() if line.startswith("| T19 |")]
    cells = [cell.strip() for cell in rows[0].split("|")[2:-1]]
    assert len(rows) == 1 and (cells[0], cells[3]) == ("0.9233", "0.9933")
    assert rows[0] in capsys.readouterr().out
    for drawn, mean in (cells[1:3], cells[4:6]):
        assert 0 <= float(drawn) <= 1 and " ± " in mean


def test_a_quadratic_network_separates_the_circles_and_a_linear_one_cannot():
    toy = decision_surfaces.TOYS["circles"]
    assert decision_surfaces.train("T9", toy, toy.epochs, seed=0).accuracy > 0.95
    assert decision_surfaces.train("MLP without activation", toy, toy.epochs, seed=0).accuracy < 0.6


def test_histories_compare_models_on_the_same_users():
    """One that equals the baseline does not differ from it; one that knows nothing is behind."""
    rng = np.random.default_rng(0)
    users, labels = np.r_[np.arange(12), rng.integers(12, size=188)], rng.integers(2, size=200).astype(float)
    baseline = Scores(np.round(rng.normal(size=200) + labels, 1), labels, users)
    other = Scores(rng.permutation(baseline.y_pred), labels, users)
    means = histories.resampled({"QIN": [baseline], "same": [baseline], "other": [other]}, repeats=100)
    for of_metric, metric in ((means["auc"], auc), (means["gauc"], lambda y, p: gauc(y, p, users))):
        assert of_metric["QIN"][0] == pytest.approx(metric(labels, baseline.y_pred))
        assert histories.gap(of_metric, "QIN") == "" and histories.gap(of_metric, "same") == "+0 [+0, +0]"
        value, low, high = (float(part.strip("[],")) for part in histories.gap(of_metric, "other").split())
        assert low < value < high < 0


def test_the_papers_count_of_formats_better_without_post_activation():
    text = sign_test([PUBLISHED[name] for name in PAPER], "Criteo")
    assert "of 25 formats 16 are better without post-activation, 7 worse, 2 equal" in text
    assert "p = 0.093" in text


@pytest.mark.parametrize(
    "expid, settings, fields",
    [("QNNalpha_ml1m", (), 6), ("QNNalpha_ml1m", (), None), ("QNNalpha_frappe", ("num_row=3",), 6)],
)
def test_the_reference_computes_what_our_step_computes(expid, settings, fields):
    """Without dropout: the loss, and the weights after a step; ML-1M with its sequence, too."""
    workload = Workload("", expid, (*settings, "net_dropout=0", "learning_rate=0.01"), fields=fields)
    assert bool(workload.sequences) == (fields is None)
    model = workload.model()
    reference = QNNalphaReference(workload.vocabularies, workload.params, workload.sequences)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for table in model.embedding_layer.embedding_layer.embedding_layers.values():
        table.weight.data[0] = 0  # the padding
    reference.load_from(model)
    batch = workload.batch(300, torch.device("cpu"))
    ids = workload.ids(batch)
    model.train()
    loss = TrainStep(model, workload.experiment.fit)([batch])
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01)
    assert reference.step(optimizer, ids, batch[LABEL][:, None]) == pytest.approx(loss.item(), rel=1e-5)
    model.eval(), reference.eval()
    with torch.no_grad():
        torch.testing.assert_close(reference(ids), model(batch)["y_pred"], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(model.scorer()(batch), model(batch)["y_pred"], rtol=1e-4, atol=1e-6)


def test_the_reference_scores_a_ready_matrix_as_it_does_columns():
    workload = Workload("", "QNNalpha_ml1m", (), fields=6)
    columns, matrix = (latency.reference(workload, 30, stacked=stacked)() for stacked in (False, True))
    assert columns.shape == (30, 1) and torch.equal(columns, matrix)


def test_times_tell_of_how_many_calls_they_are():
    assert Times([0.5]).shown(2) == "0.50 (one call)"
    assert Times([0.5]).p50_p99() == ["500.000 (one call)", "–"]
    assert Times([3.0, 1.0]).shown(1, 1e3) == "2000.0"  # of an even number the mean of the middle two
    assert Times([1.0] * 99).p50_p99() == ["1000.000", "–"]
    p50, p99 = Times([i / 1000 for i in range(101)]).p50_p99()
    assert (p50, p99) == ("50.000", "99.000")
    assert terms("One line.\n\nMore.\n\nOnly ours\nis warm.\n") == "Only ours\nis warm."


def test_the_reference_of_qin_computes_what_our_model_computes():
    model = qin.qin(8, items=50).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for layer in model.embedding_layer.embedding_layer.embedding_layers.values():
        if isinstance(layer, torch.nn.Embedding):
            layer.weight.data[0] = 0
    reference, batch = qin.QINReference(model).eval(), qin.rows(30, items=50)
    with torch.no_grad():
        expected = reference(batch)
        assert expected.std() > 1e-3
        torch.testing.assert_close(model(batch)["y_pred"], expected, rtol=1e-5, atol=1e-7)


def test_the_schedules_differ_in_their_schedule_only(tmp_path):
    todo = schedules.jobs("ml1m", Places(), tmp_path)
    assert len({(job.experiment.digest, job.seed) for job in todo.values()}) == len(todo) == 27
    for model in schedules.MODELS:
        same = [todo[model, name, 2024].experiment for name in schedules.SCHEDULES]
        assert len({one.model_copy(update={"fit": same[0].fit}).digest for one in same}) == 1


def test_the_papers_tables_stand_beside_its_figures(tmp_path):
    """Every row of ablation and compatibility has its own; of the curve over M, Frappe's rows do."""
    shown = {}
    for dataset in ("ml1m", "frappe"):
        rows = paper.rows(dataset, Places(), tmp_path)
        assert len({row.job.experiment.digest for row in rows if row.table == "ablation"}) == 5
        told = {(row.table, row.name): paper.published(row) for row in rows}
        assert all(figure for (table, _), figure in told.items() if table != "rows")
        shown[dataset] = paper.table([row for row in rows if row.table == "rows"])
    assert told["ablation", "w/o KRP"].values == {"logloss": 0.1630, "AUC": 0.9851}
    assert told["compatibility", "DCNv2 + SE"].values == {"logloss": 0.1449, "AUC": 0.9856}
    curve = [told["rows", f"M = {count}"].values["AUC"] for count in (1, 3, 5, 10, 20)]
    assert curve == [0.9749, 0.9838, 0.9846, 0.9847, 0.9853]  # not 0.9862, which is of M = 13
    assert "| M = 3 | – | – | – |  | ≈ 0.9838 | ≈ 0.14 | – | – |" in shown["frappe"]
    assert "≈" not in shown["ml1m"] and "0.9" not in shown["ml1m"]


def test_what_a_schedule_moves_is_told_from_what_a_model_moves():
    aucs = {"fuxictr": [0.70, 0.71, 0.72], "patient": [0.80, 0.81, 0.82], "averaged": [0.70, 0.71, 0.72]}
    found = {
        (model, name): SimpleNamespace(
            values=lambda split, metric, add=i, name=name: [x + add for x in aucs[name]]
        )
        for i, model in enumerate(schedules.MODELS)
        for name in aucs
    }
    lines = schedules.gaps_table(found).splitlines()
    assert next(line for line in lines if "| DNN | patient - fuxictr |" in line).count(
        "+1000.0 [+773.3, +1226.7]"
    )
    assert next(line for line in lines if "| patient | QNNalpha - DCNv2 |" in line).count(
        "+10000.0 [+9773.3, "
    )
    assert next(line for line in lines if "| DCNv2 | averaged - fuxictr |" in line).count(
        "+0.0 [-226.7, +226.7]"
    )
    reach = schedules.summary(found)
    assert reach[-2].endswith("0.10000, 0.10000, 0.10000") and reach[-1].endswith("2.00000, 2.00000, 2.00000")
    assert (
        schedules.gap(found | {("DNN", "fuxictr"): found["DNN", "patient"]}, ("LR", "a"), ("DNN", "patient"))
        == "–"
    )


def test_redrawn_negatives_are_items_that_the_user_never_used():
    rng = np.random.default_rng(0)
    columns = {
        "label": rng.integers(2, size=600),
        "user": rng.integers(9, size=600),
        "item": rng.integers(40, size=600),
    }
    rows = pl.DataFrame(columns).with_columns(context=pl.int_range(600))
    train, test = rows[:500], rows[500:]
    after, again = (redraw.redrawn(train, [test], seed=1) for _ in range(2))
    assert after.equals(again) and not after.equals(redraw.redrawn(train, [test], seed=2))
    assert after.drop("item").equals(train.drop("item"))
    assert after.filter(pl.col("label") == 1).equals(train.filter(pl.col("label") == 1))
    uses = set(rows.filter(pl.col("label") == 1).select("user", "item").iter_rows())
    drawn = set(after.filter(pl.col("label") == 0).select("user", "item").iter_rows())
    assert not uses & drawn
    for user in range(9):  # and any of them
        never = {item for item in range(40) if (user, item) not in uses}
        assert len({item for name, item in drawn if name == user}) > 0.4 * len(never)
