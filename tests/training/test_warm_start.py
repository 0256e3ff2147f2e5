"""A run that starts from another one's weights: embeddings by token, the rest by name and shape."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.experiment import Experiment, FeatureUse
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.starting_point import find_source, starting_point
from tests.training.test_run import run, stop_at_step

COLUMNS = [
    {"name": "user", "embedding_dim": 4},
    {"name": "item", "embedding_dim": 4},
    {"name": "last", "embedding_dim": 4, "share_embedding": "item"},
    {"name": "tags", "type": "sequence", "max_len": 3},
    {"name": "price", "dtype": "float", "type": "numeric", "normalizer": "StandardScaler"},
    {"name": "age", "dtype": "float", "category_processor": "quantile_bucket", "num_buckets": 5},
    {"name": "page", "category_processor": "hash_bucket", "num_buckets": 8},
    {"name": "topic", "pretrained_emb": "topic.npz", "pretrain_dim": 4, "freeze_emb": False},
    {"name": "brand", "pretrained_emb": "brand.npz", "pretrain_dim": 4, "pretrain_usage": "sum"},
]
TABLES = "embedding_layer.embedding_layer.embedding_layers"


def write_day(root: Path, first: int, dataset="day") -> Path:
    """A data root with users first ... first + 29: another day has other ones, in another order."""
    rng = np.random.default_rng(first)
    folder = root / dataset
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", 900), ("valid", 200), ("test", 150)):
        user, item, last = (first + rng.integers(0, 30, rows) for _ in range(3))
        tags = ["^".join(f"t{k}" for k in first + rng.integers(0, 20, 2)) for _ in range(rows)]
        frame = {
            "click": (rng.uniform(size=rows) < 0.2 + 0.5 * (user % 2)).astype(int),
            "user": [f"u{k}" for k in user],
            "item": [f"i{k}" for k in item],
            "last": [f"i{k + 3}" for k in last],
            "tags": tags,
            "price": rng.normal(first, 2, rows).round(3),
            "age": rng.integers(18, 80, rows).astype(float),
            "page": [f"p{k}" for k in user],
            "topic": [f"c{k % 6}" for k in item],
            "brand": [f"b{k % 7}" for k in item],
        }
        pl.DataFrame(frame).write_csv(folder / f"{split}.csv")
    for name, mark, count in (("topic", "c", 6), ("brand", "b", 7)):
        values = rng.normal(size=(count, 4)).astype(np.float32)
        np.savez(folder / f"{name}.npz", key=np.array([f"{mark}{k}" for k in range(count)]), value=values)
    return root


def experiment(start=None, columns=COLUMNS, **fit) -> Experiment:
    names = {f"{split}_data": f"day/{split}.csv" for split in ("train", "valid", "test")}
    columns = [
        column | ({"pretrained_emb": f"day/{column['pretrained_emb']}"} if "pretrained_emb" in column else {})
        for column in columns
    ]
    return Experiment(
        expid="DNN_day",
        model="DNN",
        model_params={"embedding_dim": 4, "hidden_units": [8], "batch_norm": True},
        features=FeatureUse(embedding_dim=4),
        fit=FitSettings(**({"batch_size": 100, "epochs": 2, "learning_rate": 0.01} | fit)),
        dataset=DatasetSpec(dataset_id="day", feature_cols=columns, label_col=[{"name": "click"}], **names),
        init_from=None if start is None else starting_point(str(start) if isinstance(start, Path) else start),
    )


def still(start=None, **fit) -> Experiment:
    """Weights that do not move: what model.pt holds at the end is what the run began with."""
    return experiment(start, **({"epochs": 1, "learning_rate": 1e-30} | fit))


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("days")
    return write_day(root / "one", 100), write_day(root / "two", 110)


@pytest.fixture(scope="module")
def yesterday(days, tmp_path_factory):
    return run(experiment(), days[0], tmp_path_factory.mktemp("yesterday"))


@pytest.fixture(scope="module")
def today(days, yesterday, tmp_path_factory):
    """Warm and cold, on the next day's data."""
    out = tmp_path_factory.mktemp("today")
    return run(still(yesterday.folder), days[1], out), run(still(), days[1], out)


def weights(result) -> dict[str, torch.Tensor]:
    return torch.load(result.folder / "model.pt", weights_only=True)


def vocabulary(result, feature) -> dict[str, int]:
    return json.loads((result.folder / "features" / "feature_vocab.json").read_text())[feature]


@pytest.mark.parametrize("feature", ["user", "item", "last", "tags", "topic", "brand"])
def test_each_token_has_its_row_and_new_ones_their_own(yesterday, today, feature):
    warm, cold = today
    inner = {"topic": "pretrain_embedding.", "brand": "id_embedding."}.get(feature, "")
    name = f"{TABLES}.{feature}.{inner}weight"
    old, new, fresh = (weights(result)[name] for result in (yesterday, warm, cold))
    before, now = vocabulary(yesterday, feature), vocabulary(warm, feature)
    carried = [token for token in now if token in before]
    for token in now:
        expected = old[before[token]] if token in before else fresh[now[token]]
        torch.testing.assert_close(new[now[token]], expected, atol=1e-12, rtol=0)
    if feature in ("user", "item", "tags"):
        assert len(carried) > 2 and len(now) - len(carried) > 2  # tokens of both kinds
        entry = warm.metrics["warm_start"]["features"][feature]
        gone = len(before.keys() - now.keys())
        assert entry["tokens"] == {"carried": len(carried) - 2, "new": len(now) - len(carried), "gone": gone}
        assert entry["rows"] == {"carried": len(carried), "new": len(now) - len(carried), "gone": gone}


def test_buckets_numbers_and_the_network_are_carried_whole(yesterday, today):
    warm, cold = today
    old, new, fresh = (weights(result) for result in (yesterday, warm, cold))
    names = [name for name in new if ".embedding_layers." not in name]
    names = [name for name in names if "num_batches" not in name and "running" not in name]
    names += [f"{TABLES}.{feature}.weight" for feature in ("price", "age", "page")]
    assert len(names) > 6
    for name in names:
        torch.testing.assert_close(new[name], old[name], atol=1e-12, rtol=0)
    assert any(not torch.equal(old[name], fresh[name]) for name in names)


def test_a_frozen_pretrained_table_is_that_of_the_new_file(days, today):
    warm, _ = today
    table = weights(warm)[f"{TABLES}.brand.pretrain_embedding.weight"]
    file = np.load(days[1] / "day" / "brand.npz")
    for token, row in zip(file["key"], file["value"], strict=True):
        np.testing.assert_array_equal(table[vocabulary(warm, "brand")[token]].numpy(), row)


def test_a_warm_run_is_another_run_and_its_metrics_and_log_say_from_what(yesterday, today):
    warm, cold = today
    assert warm.folder.parent != cold.folder.parent and "warm_start" not in cold.metrics
    assert "init_from" not in (cold.folder / "config.yaml").read_text()
    found = warm.metrics["warm_start"]
    assert found["from"] == str(yesterday.folder) and found["weights_carried"] > 5
    assert found["tokens"] == {
        key: sum(entry["tokens"][key] for entry in found["features"].values() if "tokens" in entry)
        for key in ("carried", "new", "gone")
    }
    assert any("age: bucket k" in sentence for sentence in found["left"])
    log = (warm.folder / "run.log").read_text()
    assert f"started from {yesterday.folder}" in log and "  user: tokens" in log


def test_the_place_of_the_same_weights_changes_no_name(yesterday, tmp_path):
    copy = tmp_path / "elsewhere" / "seed7"
    shutil.copytree(yesterday.folder, copy)
    assert still(copy).digest == still(yesterday.folder).digest != still().digest
    (copy / "model.pt").write_bytes((copy / "model.pt").read_bytes() + b"x")
    assert still(copy).digest != still(yesterday.folder).digest


def test_warm_starts_learn_faster_than_cold_ones(days, yesterday, tmp_path):
    """On the same day again, the first epoch begins where the last one ended."""
    first = json.loads((yesterday.folder / "history.jsonl").read_text().splitlines()[0])["train_loss"]
    warm = run(experiment(yesterday.folder, epochs=1), days[0], tmp_path)
    again = json.loads((warm.folder / "history.jsonl").read_text().splitlines()[0])["train_loss"]
    assert again < first
    assert warm.metrics["warm_start"]["tokens"]["new"] == warm.metrics["warm_start"]["tokens"]["gone"] == 0


def test_after_a_kill_it_goes_on_without_its_source(days, yesterday, tmp_path, monkeypatch):
    copy = tmp_path / "source" / "seed7"
    shutil.copytree(yesterday.folder, copy)
    warm = experiment(copy, epochs=3)
    whole = run(warm, days[1], tmp_path / "whole")
    stop_at_step(12, lambda: run(warm, days[1], tmp_path / "cut"), monkeypatch)
    shutil.rmtree(copy)
    resumed = run(warm, days[1], tmp_path / "cut", resume=True)
    assert resumed.metrics["test"] == whole.metrics["test"]
    assert resumed.metrics["warm_start"] == whole.metrics["warm_start"]
    assert run(warm, days[1], tmp_path / "cut").reused


def test_a_warm_run_goes_on_with_more_epochs(days, yesterday, tmp_path):
    short = run(experiment(yesterday.folder, epochs=1), days[1], tmp_path / "a", keep_checkpoint=True)
    longer = experiment(yesterday.folder, epochs=2)
    going_on = run(longer, days[1], tmp_path / "a", resume=True)
    assert going_on.metrics["warm_start"] == short.metrics["warm_start"]
    assert going_on.metrics["test"] == run(longer, days[1], tmp_path / "b").metrics["test"]


def test_changed_weights_are_refused(days, yesterday, tmp_path):
    copy = tmp_path / "source" / "seed7"
    shutil.copytree(yesterday.folder, copy)
    warm = still(copy)
    (copy / "model.pt").write_bytes((copy / "model.pt").read_bytes() + b"x")
    with pytest.raises(RequestError, match="has changed: the fingerprint"):
        run(warm, days[1], tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("config.yaml"))


def test_what_does_not_fit_is_left_with_a_sentence_each(days, yesterday, tmp_path, caplog):
    wider = still(yesterday.folder)
    params = {"embedding_dim": 4, "hidden_units": [12], "batch_norm": True}
    columns = [column for column in COLUMNS if column["name"] != "page"]
    columns[0] = {"name": "user", "embedding_dim": 6}
    dataset = experiment(columns=columns).dataset
    wider = wider.model_copy(update={"model_params": params, "dataset": dataset})
    with caplog.at_level(logging.WARNING, "fuxictr_qnn"):
        result = run(wider, days[1], tmp_path)
    left = result.metrics["warm_start"]["left"]
    assert any(text.startswith(f"{TABLES}.user.weight: its rows start anew, 6 wide") for text in left)
    assert any("mlp.mlp.0.weight starts anew: it is (12, " in text for text in left)
    assert any(text.startswith("unused") and "page" in text for text in left)
    assert all(text in caplog.text for text in left)
    assert result.metrics["warm_start"]["features"]["item"]["tokens"]["carried"] > 0


class TestFiles:
    """Weights that are no run: FuxiCTR's `.model` files."""

    @pytest.fixture
    def old_file(self, yesterday, tmp_path) -> Path:
        file = tmp_path / "checkpoints" / "DNN_day.model"
        file.parent.mkdir()
        shutil.copy(yesterday.folder / "model.pt", file)
        shutil.copy(yesterday.folder / "features" / "feature_vocab.json", file.parent)
        return file

    def test_with_its_vocabularies_it_is_as_good_as_a_run(self, days, today, old_file, tmp_path):
        warm = run(still(old_file), days[1], tmp_path / "out")
        expected = weights(today[0])
        for name, tensor in weights(warm).items():
            if not any(part in name for part in (".age.", "page", "running", "num_batches")):
                torch.testing.assert_close(tensor, expected[name], atol=1e-12, rtol=0)

    def test_vocabularies_that_fuxictr_made(self, days, tmp_path):
        """Its own tokenizers, merged and with pretrained keys, and tables of its vocab_size."""
        from fuxictr.preprocess.tokenizer import Tokenizer

        frame = pl.read_csv(days[0] / "day" / "train.csv")
        made = {}
        for name in ("user", "item", "last", "tags", "topic", "brand"):
            made[name] = Tokenizer()
            made[name].build_vocab(Counter(token for text in frame[name] for token in text.split("^")))
        made["item"] = made["last"].merge_vocab(made["item"])
        made["topic"].load_pretrained_vocab(str, str(days[1] / "day" / "topic.npz"))
        inner = {"topic": "pretrain_embedding.", "brand": "id_embedding."}
        tables = {
            f"{TABLES}.{name}.{inner.get(name, '')}weight": torch.randn(tokenizer.vocab_size(), 4)
            for name, tokenizer in made.items()
        }
        tables[f"{TABLES}.last.weight"] = tables[f"{TABLES}.item.weight"]
        torch.save(tables, tmp_path / "DNN_day.model")
        (tmp_path / "feature_vocab.json").write_text(
            json.dumps({name: tokenizer.vocab for name, tokenizer in made.items()}, indent=4)
        )
        warm = run(still(tmp_path / "DNN_day.model"), days[1], tmp_path / "out")
        for name in ("user", "item", "tags", "topic"):
            table = f"{TABLES}.{name}.{inner.get(name, '')}weight"
            both = vocabulary(warm, name).keys() & made[name].vocab.keys()
            assert len(both) > 5 and {"__PAD__", "__OOV__"} < both
            for token in both:
                old, new = tables[table][made[name].vocab[token]], weights(warm)[table]
                torch.testing.assert_close(new[vocabulary(warm, name)[token]], old, atol=1e-12, rtol=0)

    def test_names_are_given_by_rename(self, days, today, old_file, tmp_path):
        state = torch.load(old_file)
        torch.save({name.replace("mlp.mlp.", "tower.dense."): t for name, t in state.items()}, old_file)
        start = {"weights": str(old_file), "rename": {"tower.dense": "mlp.mlp"}}
        found = run(still(start), days[1], tmp_path / "out")
        torch.testing.assert_close(weights(found)["mlp.mlp.0.weight"], weights(today[0])["mlp.mlp.0.weight"])
        assert found.metrics["warm_start"]["renamed"]["tower.dense.0.weight"] == "mlp.mlp.0.weight"
        assert "tower.dense.0.weight is mlp.mlp.0.weight here" in (found.folder / "run.log").read_text()
        plain = run(still(old_file), days[1], tmp_path / "out")
        assert any("mlp.mlp.0.weight starts anew" in text for text in plain.metrics["warm_start"]["left"])
        assert plain.folder.parent != found.folder.parent

    def test_without_vocabularies_it_is_refused(self, days, old_file, tmp_path):
        (old_file.parent / "feature_vocab.json").unlink()
        with pytest.raises(RequestError, match="cannot be told apart.*feature_vocab.json beside it"):
            run(still(old_file), days[1], tmp_path / "out")

    def test_other_peoples_vocabularies_are_refused(self, days, old_file, tmp_path):
        file = old_file.parent / "feature_vocab.json"
        content = json.loads(file.read_text())
        content["user"]["__OOV__"] = 1000
        file.write_text(json.dumps(content))
        with pytest.raises(RequestError, match="'user' it has 1,001: .*feature_vocab.json belongs to other"):
            run(still(old_file), days[1], tmp_path / "out")

    def test_a_smaller_vocabulary_is_that_of_other_weights(self, days, old_file, tmp_path):
        """Its ids are all there, and are other tokens' rows."""
        file = old_file.parent / "feature_vocab.json"
        content = json.loads(file.read_text())
        content["user"] = {"__PAD__": 0, "u110": 1, "u111": 2, "__OOV__": 3}
        file.write_text(json.dumps(content))
        with pytest.raises(RequestError, match="has 32 rows, but by the ids of 'user' it has 4"):
            run(still(old_file), days[1], tmp_path / "out")
        assert not list((tmp_path / "out").rglob("config.yaml"))

    @pytest.mark.parametrize("wrong", [-1, 1.5, None, True, 2**70])
    def test_ids_that_are_none_are_refused(self, days, old_file, tmp_path, wrong):
        file = old_file.parent / "feature_vocab.json"
        content = json.loads(file.read_text())
        content["user"]["u111"] = wrong
        file.write_text(json.dumps(content))
        with pytest.raises(RequestError, match="feature_vocab.json' is no .* of 'u111' is no id"):
            run(still(old_file), days[1], tmp_path / "out")

    def test_the_vocabulary_of_a_shared_table_may_be_smaller(self, days, today, old_file, tmp_path):
        """As written before the other feature's tokens were merged into it."""
        file = old_file.parent / "feature_vocab.json"
        content = json.loads(file.read_text())
        tokens = content["item"]
        content["item"] = {token: number for token, number in tokens.items() if number < 25} | {"__OOV__": 25}
        file.write_text(json.dumps(content))
        found = weights(run(still(old_file), days[1], tmp_path / "out"))[f"{TABLES}.item.weight"]
        row = vocabulary(today[0], "item")["i110"]
        assert content["item"]["i110"] < 25
        torch.testing.assert_close(found[row], weights(today[0])[f"{TABLES}.item.weight"][row])

    @pytest.mark.parametrize("content", ['{"a":', "[]", '{"buckets": []}', '{"buckets": {"age": 3}}'])
    def test_a_damaged_preprocessing_is_refused(self, days, old_file, tmp_path, content):
        (old_file.parent / "preprocessing.json").write_text(content)
        with pytest.raises(RequestError, match="preprocessing.json' is no preprocessing.json"):
            run(still(old_file), days[1], tmp_path / "out")

    def test_buckets_of_other_weights_are_refused(self, days, yesterday, old_file, tmp_path):
        state = json.loads((yesterday.folder / "features" / "preprocessing.json").read_text())
        table = "embedding_layer.embedding_layer.embedding_layers.page.weight"
        torch.save(torch.load(old_file) | {table: torch.ones(12, 4)}, old_file)
        (old_file.parent / "preprocessing.json").write_text(json.dumps(state))
        with pytest.raises(RequestError, match="12 rows, but by the ids of 'page' it has 10: .*preproc"):
            run(still(old_file), days[1], tmp_path / "out")

    @pytest.mark.parametrize("what", ["code", "damaged", "no tensors", "nan", "another model"])
    def test_bad_files_are_refused(self, days, old_file, tmp_path, what):
        class Evil:
            def __reduce__(self):
                return Path.touch, (tmp_path / "evil",)

        state = torch.load(old_file)
        contents = {"code": {"a": Evil()}, "no tensors": {"a": 1}, "another model": {"x": torch.ones(3)}}
        contents["nan"] = state | {"mlp.mlp.0.weight": state["mlp.mlp.0.weight"] * float("nan")}
        if what == "damaged":
            old_file.write_bytes(old_file.read_bytes()[:500])
        else:
            torch.save(contents[what], old_file)
        said = {"no tensors": "by name", "nan": "mlp.mlp.0.weight holds NaN", "another model": "nothing of"}
        with pytest.raises(RequestError, match=said.get(what, "cannot be read as weights")):
            run(still(old_file), days[1], tmp_path / "out")
        assert not (tmp_path / "evil").exists()


class TestPlaces:
    def test_the_folder_of_one_experiment_with_one_seed_will_do(self, yesterday):
        assert find_source(yesterday.folder.parent) == find_source(yesterday.folder)

    def test_nothing_to_start_from(self, yesterday, tmp_path):
        broken = tmp_path / "seed7"
        shutil.copytree(yesterday.folder, broken)
        for name, said in (
            ("model.pt", "no weights"),
            ("metrics.json", "incomplete"),
            ("config.yaml", "no run"),
        ):
            (broken / name).unlink()
            with pytest.raises(RequestError, match=said):
                starting_point(str(broken))
        with pytest.raises(RequestError, match="is not there"):
            starting_point(str(tmp_path / "nowhere"))

    @pytest.mark.parametrize("value", [3, ["a"], {"run": "x"}, {"weights": "x", "renames": {}}])
    def test_other_values(self, value):
        with pytest.raises(RequestError, match="init_from"):
            starting_point(value)


class TestEncodedData:
    """Ids without vocabularies: an id means what it meant."""

    def encoded(self, root: Path, users: int, start=None) -> Experiment:
        rng = np.random.default_rng(users)
        root.mkdir(parents=True, exist_ok=True)
        for split in ("train", "valid", "test"):
            user = rng.integers(1, users, 300)
            frame = {"label": (rng.random(300) < 0.3 + 0.4 * (user % 2)).astype(np.float32), "user": user}
            pl.DataFrame(frame).write_parquet(root / f"{split}.parquet")
        base = still(start, learning_rate=0.01 if start is None else 1e-30)
        names = {f"{split}_data": str(root / f"{split}.parquet") for split in ("train", "valid", "test")}
        dataset = DatasetSpec(
            dataset_id="ids",
            data_format="parquet",
            rebuild_dataset=False,
            feature_cols=[{"name": "user", "vocab_size": users}],
            label_col=[{"name": "label"}],
            **names,
        )
        return base.model_copy(update={"dataset": dataset})

    def test_rows_are_carried_by_id(self, tmp_path):
        before = run(self.encoded(tmp_path / "one", 12), tmp_path, tmp_path / "out")
        more = run(self.encoded(tmp_path / "two", 15, before.folder), tmp_path, tmp_path / "out")
        old, new = (weights(result)[f"{TABLES}.user.weight"] for result in (before, more))
        assert old.shape == (12, 4) and new.shape == (15, 4)
        torch.testing.assert_close(new[:12], old, atol=1e-12, rtol=0)
        found = more.metrics["warm_start"]
        assert found["features"] == {"user": {"rows": {"carried": 12, "new": 3, "gone": 0}}}
        assert found["left"] == ["user: encoded data of 15 ids here and 12 there: rows are carried by id"]

    def test_vocabularies_on_one_side_only_are_refused(self, yesterday, tmp_path):
        with pytest.raises(RequestError, match="brings no feature_vocab.json"):
            run(self.encoded(tmp_path / "one", 12, yesterday.folder), tmp_path, tmp_path / "out")
