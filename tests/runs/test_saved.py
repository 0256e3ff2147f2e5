"""A run folder is read with suspicion: what does not belong together is refused, code is never run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.saved import open_run
from fuxictr_qnn.serving.scoring import RunScorer, load_run
from tests.serving.made_clicks import clicks


def refusal(action: Callable[[], Any]) -> str:
    """The one sentence of a RequestError."""
    with pytest.raises(RequestError) as caught:
        action()
    (problem,) = caught.value.problems
    return problem


def change_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


class TestFinding:
    def test_a_folder_and_an_expid_mean_the_same(self, copy: Path):
        assert open_run(copy) == open_run("DNN_clicks", copy.parents[1])
        assert open_run(copy).seed == 1 and open_run(copy).takes_raw_values

    def test_the_newest_complete_run_counts(self, copy: Path):
        newer = copy.with_name("seed2")
        shutil.copytree(copy, newer)
        change_json(newer / "metrics.json", seed=2)
        change_config(newer, lambda config: config.update(seed=2))
        os.utime(copy / "metrics.json", (1, 1))
        assert open_run("DNN_clicks", copy.parents[1]).seed == 2
        (newer / "metrics.json").unlink()
        assert open_run("DNN_clicks", copy.parents[1]).seed == 1

    def test_of_a_sweep_the_newest_run_with_weights_counts(self, copy: Path):
        """Only the best trial keeps them."""
        newer = copy.with_name("seed2")
        shutil.copytree(copy, newer)
        (newer / "model.pt").unlink()
        os.utime(copy / "metrics.json", (1, 1))
        assert open_run("DNN_clicks", copy.parents[1]).folder == copy
        (copy / "model.pt").unlink()
        change_json(newer / "metrics.json", seed=2)
        change_config(newer, lambda config: config.update(seed=2))
        said = refusal(lambda: open_run("DNN_clicks", copy.parents[1]))
        assert f"'{newer}' keeps no weights" in said

    def test_a_folder_of_runs(self, copy: Path):
        assert f"name one of them: '{copy}'" in refusal(lambda: open_run(copy.parents[1]))

    @pytest.mark.parametrize("where", ["nowhere/at/all", "nobody"])
    def test_nothing_there(self, where: str, copy: Path):
        assert f"--run {where}" in refusal(lambda: open_run(where, copy.parents[1]))

    def test_a_misspelt_expid(self, copy: Path):
        assert "'DNN_clicks'" in refusal(lambda: open_run("DNN_click", copy.parents[1]))

    def test_a_folder_of_something_else(self, tmp_path: Path):
        assert "no run lies there" in refusal(lambda: open_run(tmp_path))


class TestRefused:
    def test_an_incomplete_run(self, copy: Path):
        (copy / "metrics.json").unlink()
        assert "--resume" in refusal(lambda: open_run(copy))
        assert "--resume" in refusal(lambda: open_run("DNN_clicks", copy.parents[1]))

    def test_weights_that_were_dropped(self, copy: Path):
        (copy / "model.pt").unlink()
        assert "keeps no weights" in refusal(lambda: open_run(copy))

    def test_a_feature_map_that_is_gone(self, copy: Path):
        (copy / "features" / "feature_map.json").unlink()
        assert "feature_map.json" in refusal(lambda: open_run(copy))

    def test_files_that_are_no_json_or_yaml(self, copy: Path):
        (copy / "metrics.json").write_text("{")
        assert "metrics.json' cannot be read" in refusal(lambda: open_run(copy))
        (copy / "metrics.json").write_text("[]")
        assert "metrics.json" in refusal(lambda: open_run(copy))

    def test_a_later_version(self, copy: Path):
        change_json(copy / "metrics.json", versions={"fuxictr-qnn": "99.0.1"})
        assert "99.0.1" in (said := refusal(lambda: open_run(copy))) and "upgrade" in said

    def test_a_key_that_nobody_knows(self, copy: Path):
        change_config(copy, lambda config: config["experiment"]["fit"].update(novelty=1))
        said = refusal(lambda: open_run(copy))
        assert "fit.novelty" in said and "another version" in said

    @pytest.mark.parametrize(
        "key, value",
        [
            ("expid", "other"),
            ("model", "LR"),
            ("dataset_id", "x"),
            ("seed", 3),
            ("config_digest", "0" * 8),
            ("data_fingerprint", "0" * 16),
        ],
    )
    def test_metrics_of_another_run(self, key: str, value: Any, copy: Path):
        change_json(copy / "metrics.json", **{key: value})
        assert f"{key} is" in refusal(lambda: open_run(copy))

    def test_a_config_that_was_edited(self, copy: Path):
        change_config(copy, lambda config: config["experiment"]["model_params"].update(hidden_units=[9]))
        said = refusal(lambda: open_run(copy))
        assert "config_digest is" in said and "config.yaml has" in said

    def test_features_of_another_build(self, copy: Path):
        file = copy / "features" / "preprocessing.json"
        content = json.loads(file.read_text())
        content["dataset"]["feature_cols"][0]["min_categr_count"] = 9
        file.unlink()  # a hard link to the build
        file.write_text(json.dumps(content))
        assert "feature_cols differs" in refusal(lambda: open_run(copy))

    def test_a_folder_under_another_name(self, copy: Path):
        moved = copy.rename(copy.with_name("seed9"))
        assert "the folder is named seed9" in refusal(lambda: open_run(moved))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("run_by_a_pickle",)


# Bytes that an unpickler takes for instructions which fail in ways of their own.
JUNK = {
    "KeyError": b"h\0",
    "IndexError": b".",
    "struct.error": b"G",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n",
}


class TestWeights:
    @pytest.mark.parametrize("dump", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))])
    def test_pickled_code_is_never_run(self, dump: Callable, copy: Path, monkeypatch, tmp_path: Path):
        monkeypatch.chdir(tmp_path)
        dump({"weight": Evil()}, copy / "model.pt")
        assert "never run" in refusal(lambda: load_run(copy))
        assert not (tmp_path / "run_by_a_pickle").exists()

    @pytest.mark.parametrize(
        "content",
        [b"", b"nothing of the kind", *(pytest.param(junk, id=kind) for kind, junk in JUNK.items()), None],
    )
    def test_a_damaged_file(self, content: bytes | None, copy: Path):
        whole = (copy / "model.pt").read_bytes()
        (copy / "model.pt").write_bytes(whole[: len(whole) // 2] if content is None else content)
        assert "model.pt' cannot be read as weights" in refusal(lambda: load_run(copy))

    @pytest.mark.parametrize("value", [torch.ones(3), {"a": 3}, [1], {1: torch.ones(3)}])
    def test_something_else(self, value: Any, copy: Path):
        torch.save(value, copy / "model.pt")
        assert "weights by name" in refusal(lambda: load_run(copy))

    @pytest.mark.parametrize(
        "make",
        [
            torch.Tensor.to_sparse,
            lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
            lambda tensor: tensor.to("meta"),
        ],
        ids=["sparse", "quantized", "meta"],
    )
    @pytest.mark.filterwarnings("ignore")  # of torch, that quantized tensors will go
    def test_tensors_that_no_layer_takes(self, make: Callable, copy: Path):
        weights = torch.load(copy / "model.pt", weights_only=True)
        name = next(name for name in weights if "user" in name)
        torch.save(weights | {name: make(weights[name])}, copy / "model.pt")
        said = refusal(lambda: load_run(copy))
        assert f"model.pt': {name} is sparse, quantized" in said and "--force" in said

    def test_those_of_another_vocabulary(self, copy: Path):
        weights = torch.load(copy / "model.pt", weights_only=True)
        name = next(name for name in weights if "embedding" in name and "user" in name)
        torch.save(weights | {name: weights[name][:-2]}, copy / "model.pt")
        said = refusal(lambda: load_run(copy))
        assert name in said and "features/feature_map.json" in said

    def test_those_of_another_model(self, copy: Path):
        torch.save({"other.weight": torch.ones(2)}, copy / "model.pt")
        assert "is missing" in refusal(lambda: load_run(copy))


def test_a_feature_map_with_code(copy: Path, monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    file = copy / "features" / "feature_map.json"
    content = json.loads(file.read_text())
    content["features"][0]["user"]["feature_encoder"] = "__import__('os').mkdir('run_by_a_map')"
    file.unlink()  # a hard link to the build
    file.write_text(json.dumps(content))
    assert "feature_encoder" in refusal(lambda: load_run(copy))
    assert not (tmp_path / "run_by_a_map").exists()


def test_a_run_on_encoded_data_takes_ids_only(copy: Path):
    run = open_run(copy)
    dataset = run.dataset.model_copy(update={"rebuild_dataset": False})
    run = replace(run, experiment=run.experiment.model_copy(update={"dataset": dataset}))
    assert "encoded already" in refusal(lambda: RunScorer(run))
    with pytest.raises(RequestError) as caught:
        RunScorer(run, encoded=True).predict(clicks(3, 1))
    assert "'rows': column 'user' holds String, but needs ids (whole numbers)" in caught.value.problems


@pytest.mark.parametrize("name", ["preprocessing.json", "feature_map.json"])
def test_a_file_of_the_features_that_is_gone(copy: Path, name: str):
    (copy / "features" / name).unlink()
    assert f"lacks features/{name}" in refusal(lambda: load_run(copy))
