"""What is searched: the shipped space against the models, and files of users."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.comparing.space import MOST_OWN, SHIPPED, read_space
from fuxictr_qnn.config.catalog import expid_of, list_expids
from fuxictr_qnn.config.keys import FIT_KEYS
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models.registry import OWN_MODELS, constructor_keys, find_model
from fuxictr_qnn.tuning.tuner_file import NOT_SWEPT
from tests.comparing.conftest import SPACE
from tests.synthetic import BASE, make_feature_map, make_item_feature_map

HISTORIES = ("QIN", "DIN", "TransformerDCN")


def axes_of(model: str, dataset_id: str = "anything"):
    return read_space().of(model, dataset_id, constructor_keys(find_model(model))[0])


class TestShipped:
    def test_every_model_is_listed(self):
        assert set(read_space().models) == set(OWN_MODELS)

    @pytest.mark.parametrize("model", OWN_MODELS)
    def test_keys_exist(self, model):
        axes = axes_of(model)
        accepted = constructor_keys(find_model(model))[0]
        assert axes.keys <= accepted | FIT_KEYS and not axes.keys & set(NOT_SWEPT)
        assert len(axes.own) <= MOST_OWN and not axes.own.keys() & axes.shared.keys()
        without = {
            "LR": ["embedding_regularizer", "dropout", "batch_norm"],
            "FM": ["embedding_regularizer", "dropout", "batch_norm"],
            "MaskNet": ["batch_norm"],
        }
        assert axes.left_out == without.get(model, [])

    @pytest.mark.parametrize("model", OWN_MODELS)
    def test_every_value_builds_a_model(self, model):
        axes = axes_of(model)
        feature_map = (
            make_item_feature_map(16) if model in HISTORIES else make_feature_map({"a": 9, "b": 7, "c": 5})
        )
        for axis, values in axes.values.items():
            for place, value in enumerate(values):
                keys = axes.meanings[axis][place] if axis in axes.meanings else {axis: value}
                params = {key: value for key, value in keys.items() if key not in FIT_KEYS}
                find_model(model)(feature_map, embedding_dim=16, **BASE, **params)

    def test_what_an_axis_is_called(self):
        assert axes_of("DNN").keys_of("dropout") == ["net_dropout"]
        assert axes_of("FinalMLP").keys_of("batch_norm") == ["mlp1_batch_norm", "mlp2_batch_norm"]
        assert axes_of("FinalMLP").meanings["dropout"][0] == {"mlp1_dropout": 0.1, "mlp2_dropout": 0.1}
        assert axes_of("FM", "frappe_x1").own == {"regularizer": [1e-6, 1e-5, 1e-4, 1e-3]}
        assert axes_of("MaskNet").left_out == ["batch_norm"]
        assert "schedule" in axes_of("LR").shared
        assert axes_of("LR").left_out == ["embedding_regularizer", "dropout", "batch_norm"]

    def test_schedules_are_those_of_the_fit_loop(self):
        """FuxiCTR's is the default one, the patient one that of the shipped patient experiments."""
        from fuxictr_qnn.training.settings import FitSettings
        from tests.shipped import expid_settings

        schedules = read_space().schedules
        default = FitSettings()
        assert schedules["fuxictr"] == {key: getattr(default, key) for key in schedules["fuxictr"]}
        recipe = expid_settings("QNNalpha", "QNNalpha_frappe_patient")
        assert schedules["patient"] == {key: recipe[key] for key in schedules["patient"]}
        assert schedules["patient"].keys() == schedules["fuxictr"].keys()

    def test_a_dataset_has_values_of_its_own(self):
        assert axes_of("DNN", "frappe_x1").shared["embedding_regularizer"] == [0.03, 0.05, 0.1, 0.2]
        assert axes_of("DNN", "frappe_x1").shared["dropout"] == axes_of("DNN").shared["dropout"]


def test_a_model_that_is_not_listed_has_the_shared_axes_that_it_knows():
    axes = read_space().of("Foreign", "anything", {"embedding_regularizer", "net_dropout", "depth"})
    assert list(axes.shared) == ["learning_rate", "embedding_regularizer", "dropout", "schedule"]
    assert axes.left_out == ["batch_norm"] and not axes.is_listed and not axes.own


def test_aliases_are_the_same_models():
    assert read_space().of("FCN", "anything", ()).own == read_space().of("DCNv3", "anything", ()).own


class TestWrongFiles:
    def refused(self, tmp_path: Path, **changes) -> list[str]:
        file = tmp_path / "space.yaml"
        file.write_text(yaml.safe_dump(SPACE | changes))
        with pytest.raises(RequestError) as caught:
            read_space(file)
        assert all(str(file) in problem for problem in caught.value.problems)
        return caught.value.problems

    def test_a_sound_one(self, tmp_path):
        (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
        assert read_space(tmp_path / "space.yaml").of("DNN", "clicks", ["net_dropout"]).keys_of("dropout")

    def test_blocks_and_empty_lists(self, tmp_path):
        problems = self.refused(tmp_path, shard={}, shared={"learning_rate": []})
        assert any("shard" in problem and "'shared'" in problem for problem in problems)
        assert any("learning_rate" in problem for problem in problems)

    def test_everything_else_at_once(self, tmp_path):
        problems = self.refused(
            tmp_path,
            shared={**SPACE["shared"], "batch_size": [1, 2], "monitor": ["AUC"], "min_categr_count": [1, 2]},
            datasets={"clicks": {"dropuot": [0.1]}},
            keys={"dropout": "net_dropout", "schedul": "x"},
            schedules={"fuxictr": {"reduce_lr_patienc": 1}},
            models={"DNN": {"own": {"a": [1], "b": [1], "c": [1]}}, "LR": {"own": {"dropout": [1, 1]}}},
        )
        said = "\n".join(problems)
        for part in (
            "batch_size is the same for all models",
            "monitor cannot be searched",
            "min_categr_count decides what the data is",
            "dropuot is no shared axis. Did you mean 'dropout'?",
            "schedul is no shared axis. Did you mean 'schedule'?",
            "reduce_lr_patienc is no key of the fit loop. Did you mean 'reduce_lr_patience'",
            "3 axes, and the protocol allows 2: a, b, c",
            "dropout is shared already",
            "a value stands twice in [1, 1]",
            "'patient' is not under `schedules`",
        ):
            assert part in said

    def test_keys_behind_axes(self, tmp_path):
        said = "\n".join(
            self.refused(
                tmp_path,
                models={
                    "DNN": {"own": {"net_dropout": [0.5, 0.6]}},
                    "QNNalpha": {"keys": {"learning_rate": ["learning_rate", "batch_size"]}},
                    "FM": {"own": {"reduce_lr_patience": [1, 2], "accumulate_steps": [1, 2]}},
                },
            )
        )
        for part in (
            "models.DNN: dropout and net_dropout both set net_dropout",
            "models.QNNalpha: keys: learning_rate: batch_size is the same for all models",
            "models.FM: schedule and reduce_lr_patience both set reduce_lr_patience",
            "accumulate_steps is the same for all models",
        ):
            assert part in said

    def test_a_schedule_that_is_no_name(self, tmp_path):
        (problem,) = self.refused(tmp_path, shared={"schedule": [["fuxictr"]]}, keys={}, models={})
        assert "['fuxictr'] is not under `schedules`" in problem

    def test_no_axis_at_all(self, tmp_path):
        (tmp_path / "space.yaml").write_text("")
        with pytest.raises(RequestError, match="holds no axis"):
            read_space(tmp_path / "space.yaml")


def test_short_names_are_those_of_the_shipped_experiments():
    """<Model>_<short name> of every model that has an experiment on a dataset."""
    known = {row.expid for row in list_expids()}
    for row in list_expids():
        if "parity" not in row.dataset_id and not row.dataset_id.endswith("_levels"):
            assert expid_of(row.model, row.dataset_id) in known, row.expid


def test_the_shipped_file_is_installed():
    assert SHIPPED.is_file()
