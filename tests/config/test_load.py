"""From YAML to an Experiment: precedence, kinds of keys, FuxiCTR's directories, replays."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.config import list_datasets, list_expids, load_experiment
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.paths import shipped
from fuxictr_qnn.yaml_files import read_yaml

MODEL = """
    Base:
        model: QNNalpha
        dataset_id: tiny
        metrics: [AUC, logloss]
        learning_rate: 1e-3
        epochs: 7
        seed: 7
    A:
        epochs: 8
        num_row: 3
    B:
        dataset_id: encoded
"""
DATASET = """
    tiny:
        data_format: csv
        train_data: tiny/train.csv
        valid_data: tiny/valid.csv
        test_data: tiny/test.csv
        feature_cols:
            - {name: [user, item], active: True, dtype: str, type: categorical}
            - {name: tags, dtype: str, type: sequence, splitter: ' ', max_len: 3,
               feature_encoder: layers.MaskedSumPooling()}
        label_col: {name: label, dtype: float}
    encoded:
        data_root: ../data
        data_format: parquet
        train_data: ../data/encoded/train.parquet
        valid_data: ../data/encoded/valid.parquet
        rebuild_dataset: False
"""


BASE_OF_FUXICTR_2 = """
    Base:
        model_root: './checkpoints/'
        num_workers: 3
        verbose: 1
        early_stop_patience: 3
        pickle_feature_encoder: True
        save_best_only: True
        eval_steps: null
        debug_mode: False
        group_id: null
        use_features: null
        feature_specs: null
        feature_config: null
"""
BASE_OF_FUXICTR_1 = """
    Base:
        model_root: './checkpoints/'
        workers: 3
        verbose: 1
        patience: 3
        use_hdf5: True
        pickle_feature_encoder: True
        save_best_only: True
        every_x_epochs: 1
        debug: False
        partition_block_size: -1
"""


def write(folder: Path, model: str = MODEL, dataset: str = DATASET) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_config.yaml").write_text(textwrap.dedent(model))
    (folder / "dataset_config.yaml").write_text(textwrap.dedent(dataset))
    return folder


def with_lines(lines: str, dataset: str = "", model: str = "") -> tuple[str, str]:
    """MODEL with more lines in expid A, DATASET with more lines in `tiny`."""
    more_model = MODEL.replace("num_row: 3", "num_row: 3\n" + textwrap.indent(lines, " " * 8)) + model
    return more_model, DATASET.replace(
        "data_format: csv", "data_format: csv\n" + textwrap.indent(dataset, " " * 8)
    )


def problems_of(folder: Path, expid: str = "A", overrides=()) -> str:
    with pytest.raises(RequestError) as caught:
        load_experiment(expid, folder, overrides)
    return str(caught.value)


class TestPrecedence:
    def test_base_below_expid(self, tmp_path):
        experiment, seed, notes, folder = load_experiment("A", write(tmp_path / "config"))
        assert (experiment.fit.epochs, experiment.fit.learning_rate, seed) == (8, 1e-3, 7)
        assert experiment.model_params == {"num_row": 3, "embedding_dim": 10}
        assert folder == tmp_path / "config" and notes == []

    def test_dataset_above_expid_and_set_above_all(self, tmp_path):
        config = write(tmp_path, *with_lines("batch_size: 10", dataset="batch_size: 20\nepochs: 9"))
        assert load_experiment("A", config).experiment.fit.epochs == 9
        assert load_experiment("A", config).experiment.fit.batch_size == 20
        loaded = load_experiment("A", config, ["epochs=3", "seed=11", "min_categr_count=5"])
        assert loaded.experiment.fit.epochs == 3 and loaded.seed == 11
        assert loaded.experiment.dataset.min_categr_count == 5

    def test_set_reaches_into_a_mapping(self, tmp_path):
        config = write(tmp_path, *with_lines("optimizer_params: {betas: [0.9, 0.99]}"))
        loaded = load_experiment("A", config, ["optimizer_params.weight_decay=1e-2"])
        assert loaded.experiment.fit.optimizer_params == {"betas": [0.9, 0.99], "weight_decay": 1e-2}

    def test_set_may_change_the_dataset_that_is_used(self, tmp_path):
        loaded = load_experiment("A", write(tmp_path), ["dataset_id=encoded"])
        assert loaded.experiment.dataset.dataset_id == "encoded"


class TestDatasets:
    def test_columns_are_spread_out(self, tmp_path):
        dataset = load_experiment("A", write(tmp_path)).experiment.dataset
        assert [column.name for column in dataset.feature_cols] == ["user", "item", "tags"]
        assert dataset.feature_cols[2].feature_encoder == "layers.MaskedSumPooling()"
        assert [label.name for label in dataset.label_col] == ["label"]

    def test_encoded_data_needs_no_columns(self, tmp_path):
        dataset = load_experiment("B", write(tmp_path)).experiment.dataset
        assert (dataset.feature_cols, dataset.rebuild_dataset, dataset.data_root) == ([], False, "../data")

    def test_installed_datasets_serve_any_config(self, tmp_path):
        model = MODEL.replace("dataset_id: tiny", "dataset_id: frappe_x1")
        assert load_experiment("A", write(tmp_path, model)).experiment.dataset.dataset_id == "frappe_x1"

    def test_a_directory_of_files(self, tmp_path):
        for kind, text in (("model_config", MODEL), ("dataset_config", DATASET)):
            (tmp_path / kind).mkdir()
            (tmp_path / kind / "all.yaml").write_text(textwrap.dedent(text))
        (tmp_path / "model_config" / "more.yaml").write_text("C: {num_row: 5}")
        assert load_experiment("C", tmp_path).experiment.fit.epochs == 7  # from the other file's Base
        assert load_experiment("C", tmp_path).config_dir == tmp_path

    def test_a_single_file(self, tmp_path):
        loaded = load_experiment("A", write(tmp_path) / "model_config.yaml")
        assert loaded.experiment.dataset.dataset_id == "tiny" and loaded.config_dir == tmp_path


class TestOldKeys:
    def test_translated_or_ignored_with_one_note(self, tmp_path):
        lines = "patience: 4\nfactor: 0.5\nuse_hdf5: True\nversion: pytorch\nnum_workers: 3\nverbose: 1"
        dataset = DATASET.replace(
            "{name: tags,", "{name: tags, na_value: '', encoder: MaskedSumPooling,"
        ).replace("feature_encoder: layers.MaskedSumPooling()", "active: True")
        config = write(tmp_path, with_lines(lines)[0], dataset)
        experiment, _, notes, _ = load_experiment("A", config)
        assert experiment.fit.early_stop_patience == 4 and experiment.fit.reduce_lr_factor == 0.5
        assert experiment.dataset.feature_cols[2].fill_na == ""
        assert experiment.dataset.feature_cols[2].feature_encoder == "layers.MaskedSumPooling()"
        assert len(notes) == 1
        for key in ("patience", "factor", "use_hdf5", "version", "num_workers", "na_value", "encoder"):
            assert key in notes[0]

    def test_what_every_config_carries_is_no_news(self, tmp_path):
        config = write(tmp_path, *with_lines("debug_mode: False\nfeature_config: null\nembedding_dropout: 0"))
        assert load_experiment("A", config).notes == []

    @pytest.mark.parametrize("base", [BASE_OF_FUXICTR_2, BASE_OF_FUXICTR_1])
    def test_configs_as_they_were_published(self, tmp_path, base):
        expid = """
            Frappe_045:
                model: QNN_T26
                dataset_id: tiny
                loss: 'binary_crossentropy'
                metrics: ['logloss', 'AUC']
                task: binary_classification
                optimizer: adam
                learning_rate: 1.e-3
                embedding_regularizer: 1e-1
                net_regularizer: 0
                num_row: 13
                shuffle: True
                monitor: {'AUC': 1, 'logloss': -1}
                monitor_mode: 'max'
        """
        experiment, _, notes, _ = load_experiment(
            "Frappe_045", write(tmp_path, textwrap.dedent(base) + textwrap.dedent(expid))
        )
        assert experiment.fit.early_stop_patience == 3 and len(notes) == 1
        assert experiment.model_params["embedding_regularizer"] == 0.1

    def test_a_model_that_names_the_key_itself_gets_it(self, tmp_path):
        model = MODEL.replace("model: QNNalpha", "model: SDIM").replace("num_row: 3", "accumulation_steps: 2")
        loaded = load_experiment("A", write(tmp_path, model))
        assert loaded.experiment.model_params["accumulation_steps"] == 2
        assert loaded.experiment.fit.accumulate_steps == 1 and loaded.notes == []
        ours = load_experiment("A", write(tmp_path, model.replace("SDIM", "DNN")))
        assert ours.experiment.fit.accumulate_steps == 2 and "accumulation_steps" in ours.notes[0]

    def test_the_new_name_wins(self, tmp_path):
        config = write(tmp_path, *with_lines("patience: 4\nearly_stop_patience: 5"))
        assert load_experiment("A", config).experiment.fit.early_stop_patience == 5
        for order in ("patience: 4\nearly_stop_patience: 5", "early_stop_patience: 5"):
            config = write(tmp_path, *with_lines(order))
            assert load_experiment("A", config, ["patience=6"]).experiment.fit.early_stop_patience == 6


class TestModels:
    def test_the_fit_loop_owns_its_keys(self, tmp_path):
        lines = "monitor: {AUC: 1, logloss: -1}\neval_steps: 5\nembedding_dim: 4\nnet_regularizer: 1\ngpu: 0"
        experiment = load_experiment("A", write(tmp_path, *with_lines(lines))).experiment
        assert experiment.model_params == {"num_row": 3, "embedding_dim": 4, "net_regularizer": 1.0}
        assert experiment.features.embedding_dim == 4
        assert experiment.fit.monitor_weights == {"AUC": 1.0, "logloss": -1.0}

    def test_the_feature_map_knows_the_models_default_embedding_dim(self, tmp_path):
        experiment = load_experiment("A", write(tmp_path)).experiment
        assert experiment.features.embedding_dim == experiment.model_params["embedding_dim"] == 10

    def test_an_alias_of_the_authors(self, tmp_path):
        config = write(tmp_path, MODEL.replace("model: QNNalpha", "model: QNN_alpha"))
        assert load_experiment("A", config).experiment.model_params["num_row"] == 3

    def test_a_class_from_elsewhere_may_take_any_key(self, tmp_path):
        model = MODEL.replace("model: QNNalpha", "model: 'fuxictr.pytorch.models:BaseModel'")
        experiment, _, notes, _ = load_experiment("A", write(tmp_path, model))
        assert experiment.model_params == {"num_row": 3}
        assert len(notes) == 1 and "num_row" in notes[0]

    def test_code_in_an_initializer(self, tmp_path):
        model = MODEL.replace("model: QNNalpha", "model: 'fuxictr.pytorch.models:BaseModel'")
        model = model.replace("num_row: 3", "embedding_initializer: 'lambda w: open(w)'")
        assert "expected nn.init.NAME or partial" in problems_of(write(tmp_path, model))


class TestReplay:
    def test_a_run_folders_config_gives_the_same_experiment(self, tmp_path):
        lines = "embedding_dim: 4\nfeature_specs: [{name: tags, feature_encoder: null}]\nema_decay: 0.9"
        loaded = load_experiment("A", write(tmp_path / "c", *with_lines(lines)))
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({"experiment": loaded.experiment.model_dump(mode="json"), "seed": 99}))
        again = load_experiment(None, file)
        fit = loaded.experiment.fit.model_copy(update={"streaming": False})  # as without buffer_bytes
        assert again.experiment == loaded.experiment.model_copy(update={"fit": fit})
        assert again.config_dir == loaded.config_dir
        assert (again.experiment.digest, again.seed) == (loaded.experiment.digest, 99)
        assert load_experiment("A", file, ["epochs=1"]).experiment.fit.epochs == 1

    @pytest.mark.parametrize("buffer_bytes", [None, 1, 3, 512 << 20, 5368709])
    def test_data_is_read_as_that_run_read_it(self, tmp_path, buffer_bytes):
        loaded = load_experiment("A", write(tmp_path / "c", *with_lines("memory_budget: 2")))
        file = tmp_path / "config.yaml"
        data = {"experiment": loaded.experiment.model_dump(mode="json"), "seed": 1}
        data |= {} if buffer_bytes is None else {"buffer_bytes": buffer_bytes}
        file.write_text(yaml.safe_dump(data))
        again = load_experiment(None, file).experiment
        assert again.fit.streaming is (buffer_bytes is not None)
        assert again.fit.memory_budget * 2**30 / 2 == (2**30 if buffer_bytes is None else buffer_bytes)
        assert again.digest == loaded.experiment.digest

    @pytest.mark.parametrize("damage", ["seed", "experiment.fit", "experiment.dataset", "experiment.expid"])
    def test_a_damaged_one(self, tmp_path, damage):
        loaded = load_experiment("A", write(tmp_path / "c"))
        data = {"experiment": loaded.experiment.model_dump(mode="json"), "seed": 1}
        owner, _, key = damage.rpartition(".")
        (data[owner] if owner else data).pop(key)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(data))
        with pytest.raises(RequestError, match="config.yaml"):
            load_experiment(None, tmp_path / "config.yaml")


REGRESSION = "task: regression\nloss: mse_loss\nmetrics: MSE\nmonitor: MSE\nmonitor_mode: min"
WRONG_LINES = {
    "batch_size: many": ("batch_size = 'many'", "a whole number"),
    "batch_size: 0": ("batch_size = 0", "at least 1"),
    "learning_rate: -1": ("learning_rate = -1", "above 0"),
    "shuffle: maybe": ("shuffle = 'maybe'", "true or false"),
    "num_rows: 4": ("num_rows = 4", "'num_row'"),
    "learningrate: 4": ("learningrate", "'learning_rate'"),
    "net_dropout: high": ("net_dropout = 'high'", "a number"),
    "num_layers: 2.5": ("num_layers = 2.5", "a whole number"),
    "batch_norm: often": ("batch_norm = 'often'", "true or false"),
    "metrics: [AUC, loglos]": ("'loglos'", "'logloss'"),
    "metrics: []": ("metrics", "at least one"),
    "metrics: 3": ("metrics = 3", "a list"),
    "metrics: [gAUC]\nmonitor: gAUC": ("gAUC", "group_id"),
    "monitor: gauc": ("monitor = 'gauc'", "not among the metrics"),
    "monitor: [AUC]": ("monitor", "text"),
    "loss: binary_crossentropi": ("loss", "'binary_crossentropy'"),
    "loss: __import__('os').system('id')": ("loss", "expected"),
    "embedding_regularizer: much": ("embedding_regularizer = 'much'", "l1_l2"),
    "embedding_dropout: 0.1": ("embedding_dropout = 0.1", "nothing here has it", "net_dropout"),
    "optimizer: adamw": ("optimizer = 'adamw'", "'AdamW'"),
    "optimizer: LBFGS": ("optimizer = 'LBFGS'", "Adam, "),
    "optimizer: SparseAdam": ("optimizer = 'SparseAdam'", "Adam, "),
    "optimizer_params: {epss: 1.e-8}": ("optimizer_params: Adam has no option epss", "'eps'"),
    "optimizer: SGD\noptimizer_params: {momentun: 0.9}": ("SGD has no option momentun", "'momentum'"),
    "accumulate_steps: true": ("accumulate_steps = True", "a whole number"),
    "batch_size: '64'": ("batch_size = '64'", "a whole number"),
    "learning_rate: yes": ("learning_rate = True", "a number"),
    "learning_rate: .inf": ("learning_rate = inf", "a finite number"),
    "embedding_dim: true": ("embedding_dim = True", "a whole number"),
    "embedding_dim: -4": ("embedding_dim = -4", "at least 1"),
    "num_heads: yes": ("num_heads = True", "a whole number"),
    "net_dropout: .nan": ("net_dropout = nan", "a finite number"),
    "monitor: {}": ("monitor = {}", "a metric, or metrics with weights"),
    "monitor: {AUC: x}": ("monitor.AUC = 'x': expected a number",),
    "monitor: {AUC: .inf}": ("monitor.AUC = inf", "a finite number"),
    "monitor: logloss": ("monitor = logloss", "set monitor_mode: min"),
    "metrics: [RMSE]\nmonitor: RMSE\nmonitor_mode: max": ("monitor = RMSE", "set monitor_mode: min"),
    "monitor_mode: min": ("monitor = AUC", "set monitor_mode: max"),
    "task: regression\nmetrics: MSE\nmonitor: MSE\nmonitor_mode: min": (
        "loss = binary_crossentropy",
        "set loss to mse_loss",
    ),
    f"{REGRESSION}\nnegative_sampling_rate: 0.1": ("negative_sampling_rate corrects probabilities",),
    "negative_sampling_rate: 0": ("negative_sampling_rate = 0", "above 0"),
    "negative_sampling_rate: 1.5": ("negative_sampling_rate = 1.5", "at most 1"),
    "task: regression\nloss: mse_loss\nmetrics: [AUC, MSE]": ("needs metrics and monitor of MSE", "AUC need"),
    "loss: mse_loss": ("loss = mse_loss", "set loss to binary_crossentropy"),
    "task: [binary_classification, regression]": ("task", "'binary_classification' or 'regression'"),
    "model: QNNalfa": ("QNNalfa", "'QNNalpha'"),
    "seed: -1": ("seed = -1", "whole number"),
    "seed: soon": ("seed = 'soon'", "whole number"),
    "dataset_id: tinny": ("'tinny'", "'tiny'"),
    "use_features: user": ("use_features", "a list"),
    "use_features: []": ("use_features", "at least 1"),
    "feature_specs: [{feature_encoder: null}]": ("feature_specs.name", "to be set"),
    "feature_specs: [tags]": ("feature_specs = 'tags'", "key: value"),
    "feature_specs: [{name: user, type: numeric}]": ("feature_specs.type", "unknown key"),
    "feature_specs: [{name: user, embeding_dim: 3}]": ("feature_specs.embeding_dim", "'embedding_dim'"),
    "feature_specs: [{name: user, embedding_dim: text}]": ("embedding_dim = 'text'", "a whole number"),
    "feature_specs: [{name: user, emb_output_dim: 0}]": ("emb_output_dim = 0", "at least 1"),
    "feature_specs: [{name: user, freeze_emb: 3}]": ("freeze_emb = 3", "true or false"),
    "feature_specs: [{name: user, pretrain_usage: add}]": ("pretrain_usage = 'add'", "'init', 'sum'"),
    "feature_specs: [{name: tags, feature_encoder: 'open(1)'}]": ("feature_encoder", "literal arguments"),
    "ema_decay: 0.9\naverage_last: 3": ("average", "set one of them"),
}
GOOD_LINES = [
    "learning_rate: 1",  # a whole number is a number, too
    "net_dropout: 0",
    "metrics: [logloss]\nmonitor: logloss\nmonitor_mode: min",
    "monitor: {AUC: 1, logloss: -1}",
    "metrics: ['my.metrics:cost']\nmonitor: my.metrics:cost\nmonitor_mode: min",
    "metrics: ['my.metrics:gain']\nmonitor: my.metrics:gain",
    "task: regression\nloss: mse_loss\nmetrics: [MSE, 'my:r2']\nmonitor: MSE\nmonitor_mode: min",
    "optimizer: adam\nloss: bce",
    "feature_specs: [{name: [user, item], embedding_dim: 3}, {name: tags, feature_encoder: null, source: u}]",
]
WRONG_DATASET_LINES = {
    "train_data: null": ("train_data must be set",),
    "valid_data: null": ("valid_data must be set",),
    "min_categr_count: few": ("min_categr_count = 'few'", "a whole number"),
    "data_format: xls": ("data_format = 'xls'", "'csv', 'parquet'"),
    "rebuild: True": ("rebuild", "'rebuild_dataset'"),
    "feature_cols: {name: a}": ("feature_cols", "a list"),
    "feature_cols: [user]": ("feature_cols", "key: value"),
    "feature_cols: [{name: a, dtype: text}]": ("dtype = 'text'", "'str', 'int'"),
    "feature_cols: [{name: a, typ: numeric}]": ("typ", "'type'"),
    "feature_cols: [{dtype: str}]": ("name", "to be set"),
    "feature_cols: [{name: [a, b]}, {name: a}]": ("column 'a'", "declared twice"),
    "feature_cols: [{name: a, remap: false}]": ("column 'a'", "remap: false works for type meta only"),
    "feature_cols: [{name: a, feature_encoder: \"__import__('os').getcwd()\"}]": (
        "a.feature_encoder",
        "literal arguments",
    ),
    "label_col: [{name: click}, {name: like}]": ("click, like", "one label"),
    "label_col: [{nam: label}]": ("label_col", "'name'"),
}


class TestWrongInput:
    @pytest.mark.parametrize("lines", WRONG_LINES)
    def test_model_config(self, tmp_path, lines):
        folder = write(tmp_path, *with_lines(lines))
        message = problems_of(folder)
        for part in WRONG_LINES[lines]:
            assert part in message
        assert str(folder) in message  # the file is named
        assert len(message.splitlines()) == 1  # one mistake, one sentence

    @pytest.mark.parametrize("lines", GOOD_LINES)
    def test_what_only_looks_wrong(self, tmp_path, lines):
        load_experiment("A", write(tmp_path, *with_lines(lines)))

    def test_encoded_data_needs_its_parts_too(self, tmp_path):
        config = write(tmp_path)
        message = problems_of(config, "B", ["train_data=null", "valid_data=null"])
        assert "encoded: train_data and valid_data must be set" in message

    @pytest.mark.parametrize("lines", WRONG_DATASET_LINES)
    def test_dataset_config(self, tmp_path, lines):
        key = lines.split(":")[0]
        kept = yaml.safe_load(textwrap.dedent(DATASET))
        kept["tiny"].pop(key, None)
        kept["tiny"].update(yaml.safe_load(lines))
        folder = write(tmp_path, MODEL, yaml.safe_dump(kept))
        message = problems_of(folder)
        for part in WRONG_DATASET_LINES[lines]:
            assert part in message
        assert "dataset_config.yaml" in message

    def test_every_problem_at_once(self, tmp_path):
        model, dataset = with_lines(
            "num_rows: 4\nmetrics: [loglos, AUC]\nbatch_size: big",
            dataset="separator: 3\nmin_categr_count: 0",
        )
        message = problems_of(write(tmp_path, model, dataset), overrides=["epochs=many"])
        for part in ("num_rows", "loglos", "batch_size", "separator", "min_categr_count", "--set epochs"):
            assert part in message
        assert len(message.splitlines()) == 6

    def test_unknown_expid(self, tmp_path):
        message = problems_of(write(tmp_path / "AB"), "a")
        assert "no such experiment" in message and "'A'" in message

    def test_no_config_there(self, tmp_path):
        assert "neither model_config.yaml" in problems_of(tmp_path)
        assert "no such folder or file" in problems_of(tmp_path / "absent")

    def test_model_or_dataset_not_set(self, tmp_path):
        message = problems_of(write(tmp_path, "A: {epochs: 3}"))
        assert "model is not set" in message and "dataset_id is not set" in message

    def test_an_expid_that_is_no_mapping(self, tmp_path):
        assert "key: value" in problems_of(write(tmp_path, "A: 3"))

    @pytest.mark.parametrize(
        "text", ["epochs", "=3", "a..b=1", "epochs=[1", "epochs=!!python/name:os.system"]
    )
    def test_set_that_cannot_be_read(self, tmp_path, text):
        assert f"--set {text}" in problems_of(write(tmp_path), overrides=[text])

    def test_set_into_a_value(self, tmp_path):
        message = problems_of(write(tmp_path), overrides=["feature_cols.0.type=meta", "num_rows=3"])
        assert "--set feature_cols.0.type: '0' would be set inside [{'name'" in message
        assert "no mapping" in message and "num_rows" in message
        assert len(message.splitlines()) == 2 and max(map(len, message.splitlines())) < 250

    def test_set_that_cannot_be_read_hides_nothing(self, tmp_path):
        message = problems_of(write(tmp_path), "nobody", ["epochs", "=3"])
        assert len(message.splitlines()) == 3
        assert "--set epochs" in message and "--set =3" in message and "--expid nobody" in message

    def test_an_expid_unlike_any_other(self, tmp_path):
        assert "The first are A, B. `fuxictr list expids" in problems_of(write(tmp_path), "something_else")


class TestInstalledConfigs:
    def test_expids_are_unique_and_load(self):
        names = [row.expid for row in list_expids()]
        assert len(names) == len(set(names)) and "QNNalpha_demo" in names
        for name in names:
            assert load_experiment(name).experiment.expid == name

    def test_patterns(self):
        found = {row.expid for row in list_expids(pattern="*_DEMO")}
        assert {f"{model}_demo" for model in ("LR", "FM", "DNN", "QNNalpha")} <= found
        assert all(expid.endswith("_demo") for expid in found)
        assert [row.dataset_id for row in list_datasets(pattern="frappe*")] == ["frappe_x1"]

    def test_the_same_expid_in_two_files(self, tmp_path):
        for name in ("one", "two"):
            (tmp_path / "model_config").mkdir(exist_ok=True)
            (tmp_path / "model_config" / f"{name}.yaml").write_text("A: {epochs: 3}")
        assert "stands in both" in problems_of(tmp_path)

    @pytest.mark.parametrize(
        ("expid", "settings"),
        [  # the released runs Criteo_001, ML_1M_015 and Frappe_045
            ("QNNalpha_criteo", (10_000, 4, 5, 1, False, 1e-5)),
            ("QNNalpha_ml1m", (4096, 1, 4, 4, True, 1e-2)),
            ("QNNalpha_frappe", (4096, 2, 13, 1, True, 0.1)),
        ],
    )
    def test_published_winners(self, expid, settings):
        experiment, seed, _, _ = load_experiment(expid)
        params = experiment.model_params
        keys = ("num_layers", "num_row", "num_heads", "batch_norm", "embedding_regularizer")
        assert (experiment.fit.batch_size, *(params[key] for key in keys)) == settings
        assert (params["embedding_dim"], params["net_dropout"], params["net_regularizer"], seed) == (
            16,
            0.1,
            0,
            2024,
        )
        fit = experiment.fit
        assert (fit.learning_rate, fit.epochs, fit.early_stop_patience, fit.monitor) == (1e-3, 100, 2, "AUC")

    def test_tuners_sweep_the_installed_dataset(self):
        for file in shipped("model_zoo").glob("*/tuner_*.yaml"):
            tuner = read_yaml(file)
            assert tuner["base_expid"] in [row.expid for row in list_expids()]
            assert tuner["dataset_id"] in [row.dataset_id for row in list_datasets()]
            for dataset_id, values in tuner.get("dataset_config", {}).items():
                (installed,) = list_datasets(pattern=dataset_id)
                facts = {"origin", "expected"}  # about the data; they need not stand in two places
                assert {key: installed.values[key] for key in installed.values.keys() - facts} == values

    def test_model_zoo_and_data_configs_are_there(self):
        assert (shipped("model_zoo") / "QNNalpha" / "model_config.yaml").is_file()
        assert (shipped("data_configs") / "frappe_x1.yaml").is_file()
