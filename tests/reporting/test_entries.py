"""Rows of a table: which runs belong together, and what they are called."""

from __future__ import annotations

import pytest
import yaml

from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting import entries
from fuxictr_qnn.reporting.entries import entries_by_data
from fuxictr_qnn.reporting.published import load_published, same
from fuxictr_qnn.reporting.reproduced import is_published_recipe
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.runs.run import FailedRun
from tests.reporting.made_runs import make_run


def tables(root, **options):
    return entries_by_data(find_runs([root]).runs, **options)


def test_seeds_of_a_config_are_a_row_and_each_build_of_the_data_a_table(tmp_path):
    for seed in (3, 1, 2):
        make_run(tmp_path / "a", "LR_shop", seed)
    make_run(tmp_path / "a", "FM_shop", 1)
    make_run(tmp_path / "b", "LR_shop", 1, fingerprint="0" * 16)
    found = tables(tmp_path)
    assert [data[1][0] for data in found] == ["0", "f"] or [data[1][0] for data in found] == ["f", "0"]
    labels = {entry.label: entry.seeds for entry in found["shop", "f" * 16]}
    assert labels == {"LR_shop": [1, 2, 3], "FM_shop": [1]}
    assert [entry.seeds for entry in found["shop", "0" * 16]] == [[1]]


def test_configs_of_one_expid_are_told_apart_by_what_differs(tmp_path):
    make_run(tmp_path, "A_shop", 1, params={"num_row": 1, "batch_norm": True})
    make_run(tmp_path, "A_shop", 1, params={"num_row": 2, "batch_norm": True})
    make_run(tmp_path, "A_shop", 1, params={"num_row": 2, "batch_norm": False})
    make_run(tmp_path, "B_shop", 1, params={"num_row": 7})
    ((_, entries),) = tables(tmp_path).items()
    assert {entry.label for entry in entries} == {
        "A_shop (num_row=1)",
        "A_shop",
        "A_shop (batch_norm=false)",
        "B_shop",
    }


def test_where_no_value_is_usual_each_is_named(tmp_path):
    make_run(tmp_path, "A_shop", 1, params={"activation": None})
    make_run(tmp_path, "A_shop", 1, params={"activation": "relu"})
    ((_, entries),) = tables(tmp_path).items()
    assert {entry.label for entry in entries} == {"A_shop (activation=null)", "A_shop (activation=relu)"}


def test_a_setting_that_is_left_to_the_model_goes_without_saying(tmp_path):
    make_run(tmp_path, "A_shop", 1)
    make_run(tmp_path, "A_shop", 1, params={"num_heads": 2})
    ((_, entries),) = tables(tmp_path).items()
    assert {entry.label for entry in entries} == {"A_shop", "A_shop (num_heads=2)"}


def test_a_key_that_came_later_is_at_its_default_in_older_runs(tmp_path):
    """Not what tells the configs apart: the rest of the config says that they are one."""
    old, new = (make_run(tmp_path / name, "A_shop", 1, fingerprint=name * 16) for name in "01")
    config = yaml.safe_load((old / "config.yaml").read_text())
    assert config["experiment"]["fit"].pop("compile") is False
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    first, second = find_runs([tmp_path]).runs
    assert first.settings == second.settings and first.settings["compile"] is False


def test_configs_that_differ_in_nothing_shown_go_by_their_hash(tmp_path):
    """Settings of the data are not shown."""
    folders = [make_run(tmp_path, "A_shop", 1, dataset={"min_categr_count": count}) for count in (1, 2)]
    ((_, entries),) = tables(tmp_path).items()
    hashes = [folder.parent.name.removeprefix("A_shop-") for folder in folders]
    assert {entry.label for entry in entries} == {f"A_shop [{name}]" for name in hashes}
    assert len(set(hashes)) == 2


def test_recipes_and_failed_seeds(tmp_path):
    digest = make_run(tmp_path, "A_shop", 1).parent.name.removeprefix("A_shop-")
    make_run(tmp_path, "B_shop", 1)
    why = "the loss is not finite at step 7"
    failed = [FailedRun("A_shop", digest, data, seed, why) for seed, data in ((2, "f" * 16), (3, None))]
    ((_, entries),) = tables(tmp_path, recipes=["B_shop"], failed=failed).items()
    first, second = entries
    assert (first.recipe, dict(first.failed)) == (False, {2: why, 3: why})
    assert (second.recipe, dict(second.failed)) == (True, {})
    with pytest.raises(RequestError, match="unknown expid 'A_shp'.*Did you mean 'A_shop'"):
        tables(tmp_path, recipes=["A_shp"])


def test_a_failed_run_is_in_the_row_of_its_own_config_and_data_only(tmp_path):
    digest = make_run(tmp_path, "A_shop", 1).parent.name.removeprefix("A_shop-")
    failed = [
        FailedRun("A_shop", "of others", "f" * 16, 2, "no"),
        FailedRun("A_shop", digest, "0" * 16, 3, "no"),
        FailedRun("A_shop", digest, "f" * 16, 1, "it was done elsewhere"),
    ]
    ((_, (entry,)),) = tables(tmp_path, failed=failed).items()
    assert entry.failed == {}


def test_what_a_row_knows(tmp_path):
    make_run(tmp_path, "QNNalpha_shop", 1, model="QNNalpha")
    make_run(tmp_path, "QNNalpha_shop", 2, model="QNNalpha", metrics={"latency_ms_per_100_rows": 0.5})
    ((_, (entry,)),) = tables(tmp_path).items()
    assert not entry.is_baseline
    assert entry.mean("latency_ms_per_100_rows") == 0.5  # of those that have it
    assert entry.mean("seconds_per_epoch") == 2.0
    assert entry.spread("test", "gAUC") is None and entry.spread("test", "AUC").n == 2


class TestKindsOfRecipes:
    """A published recipe has settings that a figure was published for, and whose budget nobody knows."""

    @staticmethod
    def is_published(expid, *changes) -> bool:
        return is_published_recipe(expid, load_experiment(expid, overrides=list(changes)).experiment.digest)

    def test_every_config_that_a_figure_names(self):
        named = {figure.expid for figure in load_published().figures if figure.expid}
        assert len(named) > 10 and all(map(self.is_published, named))

    def test_these_configs_have_the_settings_of_their_figures(self):
        for figure in load_published().figures:
            if figure.expid:
                experiment = load_experiment(figure.expid).experiment
                ours = (
                    experiment.fit.model_dump() | experiment.features.model_dump() | experiment.model_params
                )
                said = {key: value for key, value in figure.settings.items() if key in ours}
                assert said and all(same(ours[key], value) for key, value in said.items()), figure

    @pytest.mark.parametrize(
        "change",
        [
            *("num_row=12", "batch_size=2048", "self_ensemble=false", "residual=false", "khatri_rao=false"),
            *("activation=null", "consistency=mse", "reduce_lr_patience=3", "average_last=3", "epochs=1"),
        ],
    )
    def test_no_other_settings(self, change):
        assert not self.is_published("QNNalpha_frappe", change)

    @pytest.mark.parametrize("expid", ["QNNalpha_frappe_patient", "DNN_frappe"])
    def test_no_other_config(self, expid):
        assert not self.is_published(expid)

    def test_no_config_that_the_zoo_has_not(self):
        assert load_published().names("QNNalpha_frappe_parity")
        assert not is_published_recipe("QNNalpha_frappe_parity", "12345678")

    def test_what_rows_are_called(self, tmp_path, monkeypatch):
        make_run(tmp_path, "DNN_shop", 1)
        ((_, (entry,)),) = tables(tmp_path, recipes=["DNN_shop"]).items()
        assert entry.kind_of_recipe == "config as it stands"
        monkeypatch.setattr(entries, "is_published_recipe", lambda expid, config_digest: True)
        assert entry.kind_of_recipe == "published recipe, budget unknown"


def test_how_data_is_read_names_no_row(tmp_path):
    """A config that a sweep wrote says so, the one of the zoo does not."""
    make_run(tmp_path, "DNN_shop", 1, params={"num_layers": 2})
    file = make_run(tmp_path, "DNN_shop", 1) / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["experiment"]["fit"] |= {"streaming": False, "memory_budget": 2.0}
    file.write_text(yaml.safe_dump(config))
    ((_, entries),) = tables(tmp_path).items()
    assert sorted(entry.label for entry in entries) == ["DNN_shop (num_layers=1)", "DNN_shop (num_layers=2)"]
