"""`report` on the folder of a comparison: the rows, marks and comparator that `compare` fixed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.results import report_on
from fuxictr_qnn.comparing.roles import Roles
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.report import sections_of
from fuxictr_qnn.reporting.results import results_table
from fuxictr_qnn.runs.finding import find_runs
from tests.comparing.made_pool import MadePool
from tests.reporting.made_runs import make_run


def reported(*places, **options):
    found, roles = find_runs(places), Roles()
    runs, _ = roles.counted(found.runs)
    (section,) = sections_of(runs, failed=found.failed, role_of=roles.of, **options)
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
    kept, left_out = Roles().counted(find_runs([bench.folder.path]).runs)
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
    assert Roles().of(run) is None and Roles().counted([run]) == ([run], [])
    plain = find_runs([make_run(tmp_path / "plain", "LR_shop", 1)]).runs[0]
    assert Roles().of(plain) is None
    assert Roles().of(replace(plain, folder=Path("/LR_shop-12345678/seed1"))) is None  # a disk of its own


def test_somebodys_own_comparison_yaml_means_nothing(tmp_path):
    make_run(tmp_path / "runs", "LR_shop", 1)
    (tmp_path / "comparison.yaml").write_text("models: [LR]")
    assert Roles().of(find_runs([tmp_path]).runs[0]) is None


def test_a_seed_that_the_comparison_does_not_count(bench):
    """Such as the one that trials had."""
    bench.do(more_seeds=5)
    folder = next(bench.folder.runs.glob("LR_clicks-*/seed3"))
    for seed in (4, 99):
        shutil.copytree(folder, other := folder.with_name(f"seed{seed}"))
        for name in ("metrics.json", "config.yaml"):
            said = yaml.safe_load((other / name).read_text())
            (other / name).write_text(json.dumps(said | {"seed": seed}))
    found = find_runs([bench.folder.path])
    assert len(found.runs) == 3 + 5 + 5 + 2, found.left_out
    _, left_out = Roles().counted(found.runs)
    assert sorted(text.split("/seed")[1][:2] for text in left_out) == ["4'", "99"]
    assert next(e for e in reported(bench.folder.path).entries if e.label == "LR_clicks").seeds == [1, 2, 3]


def test_a_row_that_got_its_first_result_after_the_choice(bench):
    """chosen.yaml names its config all the same."""
    broken = MadePool(lambda run, seed: "a bug" if run.expid == "LR_clicks" and seed != 2024 else None)
    bench.do(broken)
    assert bench.folder.chosen["configs"]["LR_clicks"]["seeds"] == []
    assert [entry.label for entry in reported(bench.folder.path).entries] == ["QNNalpha_clicks", "DNN_clicks"]
    done, _ = bench.do(seeds=4)
    rows = [entry.label for entry in reported(bench.folder.path).entries]
    assert "LR_clicks" in rows and rows == [e.label for e in report_on(done)[0].comparison.entries]


def test_without_the_comparator_nothing_is_tested(bench):
    """Another one would be chosen with the test scores in sight."""
    bench.do()
    for folder in bench.folder.runs.glob("DNN_clicks-*"):
        shutil.rmtree(folder)
    found = reported(bench.folder.path)
    assert found.comparator is None and found.differences == {}
    assert (
        found.untested == "the comparator DNN_clicks, fixed before the test split was read, has no row here"
    )
    assert "No test and no ranking: the comparator DNN_clicks" in " ".join(results_table("x", found).notes)


def test_in_a_report_on_two_comparisons_recipes_stay_recipes(bench, tmp_path):
    """And somebody's own models are no baselines, whatever seeds each comparison has."""
    names = {"recipes": ("QNNalpha_clicks",), "proposed": ("LR_clicks",)}
    request = names | {"expids": ("DNN_clicks", "LR_clicks"), "trials": 0}
    bench.do(**request)
    first, bench.folder = bench.folder, Folder(tmp_path / "comparisons" / "other")
    bench.do(**request, recipe_seeds=3, seeds=4)
    found = reported(first.path, bench.folder.path)
    by_label = {entry.label: entry for entry in found.entries}
    assert by_label["QNNalpha_clicks"].seeds == [1, 2, 3] and by_label["QNNalpha_clicks"].recipe
    assert by_label["LR_clicks"].proposed and found.comparator.label == "DNN_clicks"
    assert "QNNalpha_clicks" not in found.best


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chosen.yaml", {"comparator": "x"}),
        ("chosen.yaml", {"when": "", "comparator": "x", "proposed": None, "configs": {"DNN_clicks": "x"}}),
        ("comparison.yaml", {"recipes": {"QNNalpha_clicks": "QNNalpha"}}),
    ],
)
def test_damaged_files_are_named(bench, name, content):
    bench.do()
    file = bench.folder.path / name
    kept = yaml.safe_load(file.read_text()) if name == "comparison.yaml" else {}
    file.write_text(json.dumps(kept | content))
    with pytest.raises(RequestError, match=f"{name}: not as compare writes it.*put it back as it was"):
        Roles().counted(find_runs([bench.folder.path]).runs)
