"""Whatever a config holds, it loads or is refused in plain words."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.config.keys import DATASET_KEYS, FEATURE_KEYS, FIT_KEYS, IGNORED, RENAMED
from fuxictr_qnn.errors import RequestError

COLUMNS = [{"name": ["user", "item"], "dtype": "str", "type": "categorical"}]
GOOD = {
    "model": {"Base": {"model": "QNNalpha", "dataset_id": "d", "epochs": 1}, "A": {"num_row": 3}},
    "dataset": {
        "d": {
            "train_data": "train.csv",
            "valid_data": "valid.csv",
            "feature_cols": COLUMNS,
            "label_col": {"name": "label", "dtype": "float"},
        }
    },
}
COLUMN_KEYS = [
    "name",
    "dtype",
    "type",
    "feature_encoder",
    "encoder",
    "na_value",
    "fill_na",
    "max_len",
    "oops",
]
MODEL_KEYS = [
    "model",
    "seed",
    "num_row",
    "net_dropout",
    "batch_norm",
    "embedding_regularizer",
    "activation",
    "oops",
]

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.text(max_size=5)
names = st.sampled_from(
    ["AUC", "logloss", "user", "adam", "layers.MaskedSumPooling()", "l2(0.1)", "d", "demo"]
)
values = st.recursive(
    scalars | names,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
columns = st.lists(st.dictionaries(st.sampled_from(COLUMN_KEYS), values, max_size=4) | values, max_size=3)
model_entries = st.dictionaries(
    st.sampled_from(sorted([*FIT_KEYS, *FEATURE_KEYS, *IGNORED, *RENAMED, *MODEL_KEYS])), values, max_size=4
)
dataset_entries = st.dictionaries(st.sampled_from(sorted(DATASET_KEYS)), values | columns, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=model_entries, dataset=dataset_entries)
def test_loads_or_is_refused(tmp_path, model, dataset):
    good_model, good_dataset = GOOD["model"], GOOD["dataset"]["d"]
    (tmp_path / "model_config.yaml").write_text(yaml.safe_dump(good_model | {"A": good_model["A"] | model}))
    (tmp_path / "dataset_config.yaml").write_text(yaml.safe_dump({"d": good_dataset | dataset}))
    try:
        experiment = load_experiment("A", tmp_path).experiment
    except RequestError as error:
        assert error.problems and all(problem.strip() for problem in error.problems)
    else:
        assert experiment.expid == "A" and len(experiment.digest) == 8


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.binary(max_size=60))
def test_any_file(tmp_path, text):
    (tmp_path / "model_config.yaml").write_bytes(
        text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    )
    with pytest.raises(RequestError):
        load_experiment("A", tmp_path)
