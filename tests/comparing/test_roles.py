"""`report` on the folder of a comparison: the rows, marks and comparator that `compare` fixed."""

from __future__ import annotations

import json

import pytest
import yaml

from fuxictr_qnn.comparing import roles
from fuxictr_qnn.comparing.results import report_on
from fuxictr_qnn.comparing.roles import counted, role_of
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.report import sections_of
from fuxictr_qnn.reporting.results import results_table
from fuxictr_qnn.runs.finding import find_runs
from tests.reporting.made_runs import make_run


@pytest.fixture(autouse=True)
def unread():
    roles._roles.cache_clear()


def reported(*places, **options):
    found = find_runs(places)
    (section,) = sections_of(counted(found.runs)[0], failed=found.failed, role_of=role_of, **options)
    return section.comparison


def said(comparison) -> list[tuple]:
    rows = [(e.label, e.seeds, e.recipe, e.proposed, e.is_baseline) for e in comparison.entries]
    return [comparison.comparator.label, comparison.best, comparison.differences, comparison.detectable, rows]


def test_the_same_rows_marks_and_verdicts(bench):
    """A recipe of a tuned expid, an own model, more seeds for two: all of it as compare printed it."""
    done, _ = bench.do(recipes=("QNNalpha_clicks",), proposed=("LR_clicks",), more_seeds=5)
    section, *_ = report_on(done)
    found = reported(bench.folder.path)
    assert said(found) == said(section.comparison)
    assert "The comparator is DNN_clicks, as fixed before" in results_table("clicks", found).notes[0]
    assert [entry.label for entry in found.entries if entry.recipe] == ["QNNalpha_clicks recipe"]
    assert [entry.label for entry in found.entries if entry.proposed] == ["LR_clicks"]


def test_the_comparator_stays_that_of_chosen_yaml(bench):
    """Whatever validation says of it by now."""
    bench.do()
    file = bench.folder.path / "chosen.yaml"
    chosen = yaml.safe_load(file.read_text())
    assert chosen["comparator"] == "DNN_clicks"
    file.write_text(yaml.safe_dump(chosen | {"comparator": "LR_clicks"}))
    assert reported(bench.folder.path).comparator.label == "LR_clicks"
    assert reported(bench.folder.path, comparator="QNNalpha_clicks").comparator.label == "QNNalpha_clicks"


def test_beside_other_runs_the_comparator_is_chosen_anew(bench, tmp_path):
    bench.do()
    file = bench.folder.path / "chosen.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"comparator": "LR_clicks"}))
    run = find_runs([bench.folder.path]).runs[0]
    for seed in (1, 2, 3):
        make_run(
            *(tmp_path / "other", "FM_clicks", seed),
            dataset_id=run.record.dataset_id,
            fingerprint=run.record.data_fingerprint,
            valid=0.1,
        )
    found = reported(bench.folder.path, tmp_path / "other")
    assert found.comparator.label == "DNN_clicks" and len(found.entries) == 4
    assert "The comparator is DNN_clicks. p:" in results_table("clicks", found).notes[0]


def test_runs_that_the_comparison_does_not_count_are_named(bench):
    bench.do()
    runs = find_runs([bench.folder.path]).runs
    make_run(bench.folder.runs, "FM_clicks", 1)
    kept, left_out = counted(find_runs([bench.folder.path]).runs)
    assert [run.folder for run in kept] == [run.folder for run in runs]
    assert len(left_out) == 1 and "FM_clicks" in left_out[0] and "does not count" in left_out[0]


def test_a_ranked_row_is_no_recipe(bench):
    bench.do(recipes=("QNNalpha_clicks",))
    assert reported(bench.folder.path, recipes=["QNNalpha_clicks"]).comparator.label == "DNN_clicks"
    with pytest.raises(RequestError, match="--recipe DNN_clicks: the comparison in '.*' ranked it"):
        reported(bench.folder.path, recipes=["DNN_clicks"])


def test_before_anything_is_fixed_and_outside_of_comparisons_there_are_no_roles(bench, tmp_path):
    bench.do()
    (bench.folder.path / "chosen.yaml").unlink()
    run = find_runs([bench.folder.path]).runs[0]
    assert role_of(run) is None and counted([run]) == ([run], [])
    assert role_of(find_runs([make_run(tmp_path / "plain", "LR_shop", 1)]).runs[0]) is None


def test_damaged_files_are_named(bench):
    bench.do()
    (bench.folder.path / "chosen.yaml").write_text(json.dumps({"comparator": "x"}))
    with pytest.raises(RequestError, match="chosen.yaml: not as compare writes it"):
        counted(find_runs([bench.folder.path]).runs)
