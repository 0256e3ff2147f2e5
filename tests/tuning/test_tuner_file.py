"""FuxiCTR's tuner YAML: where its experiment and dataset are found, and everything that can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.paths import shipped
from fuxictr_qnn.training.setup import build_model
from fuxictr_qnn.tuning.search import grid
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.tuner_file import find_tuner, read_tuner
from tests.clicks import DATASET, EXPID, tuner_content, write_tuner
from tests.synthetic import make_feature_map

SPACE = {"num_row": [1, 2], "epochs": 5}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(content: dict, file: str = "tuner.yaml") -> Path:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def settings(tuner, **values) -> dict:
    problems: list[str] = []
    found = {key: setting.value for key, setting in tuner.settings(values, problems).items()}
    assert problems == []
    return found


def refused(content: dict, *parts: str, sets=()) -> list[str]:
    with pytest.raises(RequestError) as caught:
        read_tuner(write(content), sets)
    for part in parts:
        assert any(part in problem for problem in caught.value.problems), caught.value.problems
    return caught.value.problems


class TestWhereThingsStand:
    def test_inline(self):
        tuner = read_tuner(write(tuner_content(SPACE)))
        assert (tuner.expid, tuner.dataset.name) == ("QNNalpha_clicks", "clicks")
        assert (tuner.axes, tuner.fixed) == ({"num_row": [1, 2]}, {"epochs": 5})
        found = settings(tuner, num_row=2)
        assert (found["num_row"], found["epochs"], found["batch_size"]) == (2, 5, 100)
        assert found["train_data"] == "clicks/train.csv" and found["dataset_id"] == "clicks"

    def test_an_inline_base_is_below_its_expids(self):
        content = tuner_content(SPACE)
        content["model_config"]["Base"] = {"embedding_dim": 99, "net_regularizer": 0.5}
        found = settings(read_tuner(write(content)), num_row=1)
        assert (found["embedding_dim"], found["net_regularizer"]) == (4, 0.5)

    def test_beside_the_file_before_the_installed_ones(self):
        write({"QNNalpha_demo": EXPID}, "sweeps/model_config.yaml")
        write({"clicks": DATASET}, "sweeps/dataset_config.yaml")
        file = write({"base_expid": "QNNalpha_demo", "tuner_space": SPACE}, "sweeps/tuner.yaml")
        assert read_tuner(file).dataset.name == "clicks"

    def test_installed_where_the_folder_does_not_have_it(self):
        write({"Mine": EXPID}, "sweeps/model_config.yaml")
        file = write({"base_expid": "QNNalpha_demo", "tuner_space": SPACE}, "sweeps/tuner.yaml")
        assert (read_tuner(file).base.file, read_tuner(file).dataset.name) == (
            shipped("model_zoo") / "QNNalpha" / "model_config.yaml",
            "demo",
        )

    @pytest.mark.parametrize("base_config", ["configs", "../configs"])
    def test_base_config_from_here_or_from_the_file(self, base_config):
        write({"Mine": EXPID}, "configs/model_config/mine.yaml")
        write({"clicks": DATASET}, "configs/dataset_config/mine.yaml")
        file = write(
            {"base_config": base_config, "base_expid": "Mine", "tuner_space": SPACE}, "sweeps/tuner.yaml"
        )
        assert read_tuner(file).dataset.name == "clicks"

    def test_dataset_id_replaces_the_experiments_own(self):
        content = tuner_content(SPACE) | {"dataset_id": "demo"}
        assert settings(read_tuner(write(content)), num_row=1)["generator"] == "demo"

    def test_an_experiment_without_a_dataset_is_named_as_fuxictr_names_it(self):
        content = tuner_content(SPACE, dataset_id="TBD") | {"dataset_id": "clicks"}
        assert read_tuner(write(content)).expid == "QNNalpha_clicks"

    def test_an_installed_tuner_by_its_name(self):
        expected = shipped("model_zoo") / "QNNalpha" / "tuner_QNNalpha_demo.yaml"
        assert (
            find_tuner(Path("tuner_QNNalpha_demo"))
            == find_tuner(Path("tuner_QNNalpha_demo.yaml"))
            == expected
        )
        with pytest.raises(RequestError, match="--config tuner_QNNalpha_dmeo: no such file. Did you mean"):
            find_tuner(Path("tuner_QNNalpha_dmeo"))

    def test_other_blocks_are_ignored_with_a_note(self):
        tuner = read_tuner(write(tuner_content(SPACE) | {"exclude_expid": ["x"], "# done": None}))
        assert len(tuner.notes) == 1 and "# done, exclude_expid: no part of a tuner file" in tuner.notes[0]


@pytest.mark.parametrize(
    "file", sorted(shipped("model_zoo").glob("*/tuner_*.yaml")), ids=lambda file: file.stem
)
def test_every_installed_sweep_can_be_done(file, tmp_path):
    space = Space(read_tuner(file))
    trials = grid(space)
    assert len(trials) == space.size > 1 and space.notes == []
    assert len({trial.digest for trial in trials}) == len(trials)
    feature_map = make_feature_map({"user": 5, "item": 7})
    for trial in trials:  # the model may refuse what its config may say
        build_model(trial.experiment, feature_map, -1, tmp_path)


class TestValues:
    def test_values_are_stronger_than_files_and_set(self):
        content = tuner_content({"lr": [0.1, 0.2]})
        space = Space(read_tuner(write(content), ["num_row=3"]))
        fits = [space.trial({"lr": value}).experiment for value in (0.1, 0.2)]
        assert [fit.fit.learning_rate for fit in fits] == [0.1, 0.2]
        assert fits[0].model_params["num_row"] == 3

    def test_a_value_that_is_no_list_is_one_and_equal_values_count_once(self):
        tuner = read_tuner(write(tuner_content({"num_row": [2, 2], "net_dropout": [0, 0.5, 0]})))
        assert (tuner.axes, tuner.fixed) == ({"net_dropout": [0, 0.5]}, {"num_row": 2})

    def test_what_trials_are_compared_by_may_have_one_value(self):
        """As the files have it that FuxiCTR's benchmarks were tuned with: every key of an experiment."""
        same = {"metrics": [["logloss", "AUC"]], "monitor": "logloss", "monitor_mode": "min"}
        same |= {"task": ["binary_classification"], "streaming": False}
        space = Space(read_tuner(write(tuner_content(SPACE | same))))
        assert space.monitor == "logloss" and space.size == 2
        assert [*space.trial(space.values(0)).experiment.fit.metrics] == ["logloss", "AUC"]

    @pytest.mark.parametrize(
        ("space", "part"),
        [
            ({"metrics": ["AUC", "logloss"]}, "metrics cannot be swept: .* [[AUC, logloss]]"),
            ({"dataset_id": "demo"}, "dataset_id cannot be swept: .*beside tuner_space"),
        ],
    )
    def test_what_trials_are_compared_by_has_no_second_value(self, space, part):
        with pytest.raises(RequestError, match=part.replace("[", r"\[").replace("]", r"\]")):
            read_tuner(write(tuner_content(SPACE | space)))

    def test_a_list_of_numbers_is_no_list_of_lists(self):
        """FuxiCTR takes each number for a value, and its trials fail one by one."""
        same = {"model": "DNN", "num_layers": None}
        content = tuner_content({"hidden_units": [400, 400]}, **same)
        del content["model_config"]["QNNalpha_clicks"]["num_layers"]
        with pytest.raises(RequestError, match="tuner_space: hidden_units = 400: expected a list"):
            Space(read_tuner(write(content)))
        content["tuner_space"]["hidden_units"] = [[400, 400], [20]]
        assert Space(read_tuner(write(content))).size == 2

    def test_a_dotted_key_changes_an_entry(self):
        content = tuner_content(
            {"optimizer_params.eps": [1e-8, 1e-6]}, optimizer_params={"betas": [0.9, 0.99]}
        )
        trial = Space(read_tuner(write(content))).trial({"optimizer_params.eps": 1e-6})
        assert trial.experiment.fit.optimizer_params == {"betas": [0.9, 0.99], "eps": 1e-6}


class TestWrong:
    def test_a_block_that_is_spelt_otherwise(self):
        content = tuner_content(SPACE)
        content["tuner_spaces"] = content.pop("tuner_space")
        with pytest.raises(RequestError, match="tuner_space is missing(.|\n)*Did you mean 'tuner_space'"):
            read_tuner(write(content))

    def test_everything_at_once(self):
        content = tuner_content({"num_row": [], "monitor": ["AUC", "logloss"], "epochs": [1, 2]})
        content["base_expid"] = "QNNalpha_click"
        problems = refused(
            content,
            "tuner_space: num_row = []: no value to try",
            "monitor cannot be swept: trials are compared by it",
            "base_expid QNNalpha_click: no such experiment in its model_config. Did you mean 'QNNalpha_c",
            "--set epochs: the tuner_space of tuner.yaml gives it values",
            "--set num_layers: expected KEY=VALUE",
            sets=["epochs=3", "num_layers"],
        )
        assert len(problems) == 5

    @pytest.mark.parametrize(
        ("change", "part"),
        [
            ({"tuner_space": None}, "tuner_space is missing"),
            ({"tuner_space": {}}, "tuner_space is {}"),
            ({"tuner_space": [1]}, "tuner_space is [1]"),
            ({"base_expid": None}, "base_expid is missing"),
            ({"model_config": [1]}, "model_config: expected `name: {key: value}` entries"),
            ({"dataset_config": {"clicks": 3}}, "dataset_config: expected `name: {key: value}` entries"),
            ({"dataset_id": "demoo"}, "dataset 'demoo' is neither in"),
        ],
    )
    def test_one(self, change, part):
        refused(
            {key: value for key, value in (tuner_content(SPACE) | change).items() if value is not None}, part
        )

    def test_a_missing_base_config_names_where_was_looked(self):
        content = {"base_config": "nowhere", "base_expid": "X", "tuner_space": SPACE}
        (problem,) = refused(content, "base_config nowhere: at none of nowhere, ")
        assert str(Path.cwd() / "nowhere") in problem

    def test_unknown_keys_are_named_once_with_the_nearest(self):
        space = {"num_rows": [1, 2, 3], "epoch": [1, 2], "net_dropout": [0, "much"]}
        with pytest.raises(RequestError) as caught:
            Space(read_tuner(write_tuner(Path("tuner.yaml"), space)))
        problems = caught.value.problems
        assert len(problems) == 3 and all("tuner.yaml, tuner_space" in problem for problem in problems)
        for part in ("num_rows: QNNalpha has no such key", "'num_row'", "'epochs'", "net_dropout = 'much'"):
            assert any(part in problem for problem in problems)
