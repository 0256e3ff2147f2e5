"""Folders that FuxiCTR 1.x and 2.0 left: HDF5 in both layouts, both kinds of feature map."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from data_support import EVERYTHING, make_spec, quiet

from fuxictr_qnn.data import DatasetSpec, MemoryLoader, Places, find_build, load_feature_map, open_dataset
from fuxictr_qnn.data.loaders.storage import data_files
from fuxictr_qnn.errors import RequestError

NAME = "Criteo_x4_10_h5"
ROWS = {"train": 40, "valid": 12, "test": 9}
SPECS = {
    "I1": {"source": "", "type": "categorical", "padding_idx": 0, "oov_idx": 6, "vocab_size": 7},
    "tags": {"source": "user", "type": "sequence", "padding_idx": 0, "vocab_size": 5, "max_len": 3,
             "feature_encoder": "layers.MaskedAveragePooling()"},
    "price": {"source": "", "type": "numeric"},
    "C1": {"source": "", "type": "categorical", "vocab_size": 11},
}  # fmt: skip
TODAY = {"dataset_id": NAME, "labels": ["Label"], "features": [{name: spec} for name, spec in SPECS.items()]}
V2 = TODAY | {"num_fields": 4, "total_features": 24, "input_length": 6}
V1 = {
    "dataset_id": NAME, "num_fields": 4, "num_features": 24, "feature_len": 6, "label_name": "Label",
    "feature_specs": {
        "I1": SPECS["I1"] | {"index": 0},
        "tags": {"source": "user", "type": "sequence", "padding_idx": 0, "vocab_size": 5, "max_len": 3,
                 "encoder": "MaskedAveragePooling", "index": [1, 2, 3]},
        "price": {"source": "", "type": "numeric", "index": 4},
        "C1": SPECS["C1"] | {"index": 5, "min_categr_count": 10},
    },
}  # fmt: skip


def columns(split: str) -> dict[str, np.ndarray]:
    rows = ROWS[split]
    rng = np.random.default_rng(rows)
    return {
        "I1": rng.integers(0, 7, rows),
        "tags": rng.integers(0, 5, (rows, 3)),
        "price": rng.normal(size=rows),
        "C1": rng.integers(0, 11, rows),
        "Label": rng.integers(0, 2, rows).astype(float),
    }


def write_columns(file: Path, data: dict[str, np.ndarray]) -> None:
    with h5py.File(file, "w") as target:
        for name, values in data.items():
            target.create_dataset(name, data=values)


def write_matrix(file: Path, data: dict[str, np.ndarray]) -> None:
    with h5py.File(file, "w") as target:
        target.create_dataset("data", data=np.column_stack(list(data.values())))


def write_folder(root: Path, write=write_columns, feature_map: dict = V2, **changed: np.ndarray) -> Places:
    """A folder of that time, with a pickle that must never be opened; `changed` columns of train."""
    folder = root / "Criteo" / NAME
    folder.mkdir(parents=True)
    (folder / "feature_map.json").write_text(json.dumps(feature_map))
    (folder / "feature_encoder.pkl").write_bytes(b"cos\nabort\n(tR.")
    for split in ROWS:
        data = columns(split) | (changed if split == "train" else {})
        write(folder / f"{split}.h5", {name: data[name] for name in [*data] if data[name] is not None})
    return Places(data_root=root, build_dir=root / "builds")


def spec_of(**changes) -> DatasetSpec:
    paths = {f"{split}_data": f"Criteo/{NAME}/{split}.h5" for split in ROWS}
    config = {"data_root": "Criteo", "data_format": "h5", "label_col": [], **paths}
    return make_spec(NAME, config | changes)


def read(spec: DatasetSpec, places: Places, split: str = "train", choice=EVERYTHING) -> dict:
    opened = open_dataset(spec, places, log=quiet)
    feature_map = load_feature_map(opened.feature_map, spec, choice)
    (batch,) = MemoryLoader(feature_map, getattr(opened, split), split="test", batch_size=100)
    return batch


def problems_of(spec: DatasetSpec, places: Places) -> list[str]:
    """Found before a row is trained on; the folder stays as it was."""
    folder = places.data_root / "Criteo"
    before = sorted(folder.rglob("*"))
    with pytest.raises(RequestError) as caught:
        read(spec, places)
    assert sorted(folder.rglob("*")) == before
    return caught.value.problems


@pytest.mark.parametrize("feature_map", [V1, V2], ids=["1.x", "2.0"])
@pytest.mark.parametrize("write", [write_columns, write_matrix])
def test_every_layout_gives_the_rows(tmp_path, write, feature_map):
    places = write_folder(tmp_path, write, feature_map)
    for split in ROWS:
        batch = read(spec_of(), places, split)
        ids, numbers = ("I1", "tags", "C1"), ("price", "Label")
        kinds = dict.fromkeys(ids, torch.int32) | dict.fromkeys(numbers, torch.float32)
        assert {name: values.dtype for name, values in batch.items()} == kinds
        for name, values in columns(split).items():
            np.testing.assert_array_equal(batch[name].numpy(), values.astype(batch[name].numpy().dtype))


def test_old_feature_maps_mean_the_same(tmp_path):
    maps = []
    for name, old in (("old", V1), ("new", V2)):
        places = write_folder(tmp_path / name, feature_map=old)
        maps.append(json.loads(open_dataset(spec_of(), places, log=quiet).feature_map.read_text()))
    one, two = maps
    encoders = [
        item.pop("feature_encoder") for item in (one["features"][1]["tags"], two["features"][1]["tags"])
    ]
    assert one == two
    assert one["total_features"] == 24 and one["features"][0]["I1"] == {
        "source": "", "type": "categorical", "padding_idx": 0, "vocab_size": 7, "index": [0]
    }  # fmt: skip
    feature_map = load_feature_map(
        open_dataset(spec_of(), Places(tmp_path / "old", tmp_path / "old" / "builds"), log=quiet).feature_map,
        spec_of(), EVERYTHING,
    )  # fmt: skip
    assert encoders == ["MaskedAveragePooling", "layers.MaskedAveragePooling()"]
    assert feature_map.features["tags"]["feature_encoder"] == "layers.MaskedAveragePooling()"


def test_features_in_use_are_found_in_the_matrix(tmp_path):
    choice = SimpleNamespace(embedding_dim=4, use_features=["C1", "tags"], feature_specs=None)
    batch = read(spec_of(), write_folder(tmp_path, write_matrix), choice=choice)
    assert set(batch) == {"C1", "tags", "Label"}
    for name in batch:
        np.testing.assert_array_equal(batch[name].numpy(), columns("train")[name])


def test_parts_in_the_order_of_their_numbers(tmp_path):
    places = write_folder(tmp_path)
    folder = tmp_path / "Criteo" / NAME
    (folder / "train.h5").unlink()
    data = columns("train")
    for number in range(12):
        rows = slice(number * 3, number * 3 + 3) if number < 11 else slice(33, None)
        part = {name: values[rows] for name, values in data.items()}
        write_columns(folder / f"train_part_{number}.h5", part)
    for path in ("train.h5", "train", "train_part_*.h5"):
        batch = read(spec_of(train_data=f"Criteo/{NAME}/{path}"), places)
        np.testing.assert_array_equal(batch["C1"].numpy(), data["C1"])
    assert len(data_files(folder / "train_part_*.h5")) == 12


def test_labels_that_only_the_config_names(tmp_path):
    old = {key: value for key, value in V1.items() if key != "label_name"}
    places = write_folder(tmp_path, feature_map=old)
    assert (
        "no dataset for the label column 'label'. Did you mean 'Label'?" in problems_of(spec_of(), places)[0]
    )
    spec = spec_of(label_col={"name": "Label"}, feature_cols=[{"name": "I1", "dtype": "float"}])
    assert read(spec, places)["Label"].sum() == columns("train")["Label"].sum()


def test_an_old_feature_map_beside_npz(tmp_path):
    """A map in the words of 1.x, or with features as one mapping, is read there, too."""
    for at, old in enumerate((V1, V2 | {"features": SPECS})):
        places = write_folder(tmp_path / str(at), feature_map=old)
        for split in ROWS:
            np.savez(places.data_root / "Criteo" / NAME / f"{split}.npz", **columns(split))
        paths = {f"{split}_data": f"Criteo/{NAME}/{split}.npz" for split in ROWS}
        batch = read(spec_of(data_format="npz", **paths), places, "valid")
        np.testing.assert_array_equal(batch["tags"].numpy(), columns("valid")["tags"])


def test_find_build_knows_the_translated_map(tmp_path):
    places = write_folder(tmp_path)
    assert find_build(spec_of(), places) is None
    assert not places.build_dir.exists()
    opened = open_dataset(spec_of(), places, log=quiet)
    assert find_build(spec_of(), places) == opened.feature_map
    assert opened.feature_map.is_relative_to(places.build_dir)


class TestBadInput:
    def test_missing_datasets_are_all_named(self, tmp_path):
        places = write_folder(tmp_path, I1=None, C1=None)
        first, second = problems_of(spec_of(), places)
        assert first == f"'{tmp_path / 'Criteo' / NAME / 'train.h5'}' has no dataset for the column 'I1'."
        assert "'C1'" in second
        assert not places.build_dir.exists()

    def test_columns_of_several_lengths(self, tmp_path):
        (problem,) = problems_of(spec_of(), write_folder(tmp_path, C1=np.zeros(39)))
        assert problem.endswith("dataset 'C1' has 39 rows, the columns before it have 40")

    def test_lists_of_another_length(self, tmp_path):
        (problem,) = problems_of(spec_of(), write_folder(tmp_path, tags=np.zeros((40, 2))))
        assert "dataset 'tags' has the shape (40, 2); feature_map.json says 3 a row" in problem

    def test_a_matrix_of_another_width(self, tmp_path):
        places = write_folder(tmp_path, write_matrix, tags=np.zeros((40, 2)))
        (problem,) = problems_of(spec_of(), places)
        assert (
            "shape (40, 6); feature_map.json describes rows of 7 columns, 6 of features and then Label"
            in problem
        )

    @pytest.mark.parametrize("write", [write_columns, write_matrix])
    @pytest.mark.parametrize(
        ("value", "words"),
        [(11, "holds the id 11, but its vocab_size is 11"), (-1, "the id -1"), (2.5, "no whole numbers")],
    )
    def test_ids_that_are_none(self, tmp_path, write, value, words):
        changed = columns("train")["C1"].astype(float)
        changed[7] = value
        (problem,) = problems_of(spec_of(), write_folder(tmp_path, write, C1=changed))
        assert "column 'C1'" in problem and words in problem

    def test_feature_map_of_another_dataset(self, tmp_path):
        places = write_folder(tmp_path, feature_map=V2 | {"dataset_id": "Avazu_x4"})
        (problem,) = problems_of(spec_of(), places)
        assert f"is the feature map of dataset 'Avazu_x4', not '{NAME}'" in problem

    def test_text(self, tmp_path):
        (problem,) = problems_of(spec_of(), write_folder(tmp_path, C1=np.array([b"a"] * 40)))
        assert "dataset 'C1' holds" in problem and "not numbers" in problem

    @pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n cut off", b"Label,I1\n0,1\n"])
    def test_no_h5(self, tmp_path, content):
        places = write_folder(tmp_path)
        (tmp_path / "Criteo" / NAME / "valid.h5").write_bytes(content)
        (problem,) = problems_of(spec_of(), places)
        assert "valid.h5' is no HDF5 file or is cut off" in problem

    def test_no_feature_map(self, tmp_path):
        places = write_folder(tmp_path)
        (tmp_path / "Criteo" / NAME / "feature_map.json").unlink()
        (problem,) = problems_of(spec_of(), places)
        assert problem.startswith("feature_map.json of encoded data (h5 data is encoded)")

    @pytest.mark.parametrize("text", ["", "[1, 2]", '{"features": []}', '{"features": ["I1"]}', '{"a": 1}'])
    def test_no_feature_map_of_fuxictr(self, tmp_path, text):
        places = write_folder(tmp_path)
        (tmp_path / "Criteo" / NAME / "feature_map.json").write_text(text)
        (problem,) = problems_of(spec_of(), places)
        assert "feature_map.json'" in problem

    def test_every_problem_of_a_feature_map(self, tmp_path):
        specs = {
            "I1": {"type": "categorical"},
            "tags": {"type": "sequence", "vocab_size": 5, "max_len": 3, "padding_idx": 4},
            "price": {"type": "number"},
            "C1": {"type": "categorical", "vocab_size": 9, "share_embedding": "I2", "pretrained_emb": "p.h5"},
        }
        problems = problems_of(spec_of(), write_folder(tmp_path, feature_map=V1 | {"feature_specs": specs}))
        said = [
            "'I1': vocab_size = None",
            "'tags': sequences are padded with id 4",
            "'price': type 'number'",
            "'C1': pretrained_emb",
            "'C1': share_embedding 'I2' is no feature",
        ]
        assert len(problems) == len(said)
        assert [words for words, problem in zip(said, problems, strict=True) if words not in problem] == []

    def test_two_features_in_one_column(self, tmp_path):
        specs = V1["feature_specs"] | {"C1": V1["feature_specs"]["C1"] | {"index": 4}}
        (problem,) = problems_of(spec_of(), write_folder(tmp_path, feature_map=V1 | {"feature_specs": specs}))
        assert "features 'price' and 'C1' have the same index" in problem
