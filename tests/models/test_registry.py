"""Where a model's class is found, and what is said when there is none."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models import registry
from fuxictr_qnn.models.registry import OWN_MODELS, constructor_keys, find_model, list_models, register_model


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


def test_own_models_are_listed_and_found_under_their_class_names():
    assert set(OWN_MODELS) <= set(list_models())
    for name in OWN_MODELS:
        assert find_model(name).__name__ == name
    assert {"QNN", "QNNalpha"} <= set(list_models("QNN*"))


@pytest.mark.parametrize("alias", ["QNN_alpha", "QNN_T26"])
def test_the_authors_names_work(alias):
    assert find_model(alias).__name__ == "QNNalpha"


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(RequestError, match=r"QNNalfa is not known\. Did you mean 'QNNalpha'"):
        find_model("QNNalfa")


def test_register_model():
    @register_model
    class Mine(BaseModel):
        pass

    register_model(Mine)  # again is harmless
    assert find_model("Mine") is Mine and "Mine" in list_models()
    with pytest.raises(ValueError, match="already taken"):
        register_model(type("Mine", (), {}))
    with pytest.raises(ValueError, match="already taken by fuxictr_qnn.models.lr"):
        register_model(type("LR", (), {}))
    with pytest.raises(ValueError, match="already taken by fuxictr_qnn.models.qnn_alpha"):
        register_model(Mine, name="QNN_alpha")  # the alias would win


def test_what_is_registered_must_be_a_model():
    register_model(type("Mine", (), {}))
    with pytest.raises(RequestError, match="Mine is no subclass of fuxictr.pytorch.models.BaseModel"):
        find_model("Mine")


MODEL = "from fuxictr.pytorch.models import BaseModel\nclass {name}(BaseModel):\n    number = {number}\n"


def write_model(folder, name: str, number: object = 1, before: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(before + MODEL.format(name=name, number=number))


@pytest.fixture
def my_models(tmp_path, monkeypatch):
    """A module with one model and much that is none."""
    write_model(tmp_path, "my_models", before="class Plain:\n    pass\n\nvalue = 1\n")
    (tmp_path / "my_broken.py").write_text("class Broken(:\n")
    (tmp_path / "my_failing.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("my_models", "my_broken", "my_failing"):
        sys.modules.pop(name, None)


WRONG_PATHS = {
    "my_models:Big": "my_models:Big cannot be imported: AttributeError",
    "nowhere:X": "nowhere:X cannot be imported: ModuleNotFoundError",
    "my_broken:Broken": "my_broken:Broken cannot be imported: SyntaxError",
    "my_failing:X": "my_failing:X cannot be imported: ZeroDivisionError",
    "my_models:Plain": "my_models:Plain is no subclass of",
    "my_models:value": "my_models:value is no subclass of",
    "json:JSONDecoder": "json:JSONDecoder is no subclass of",
    ":X": ":X is not known",
    "my_models:": "my_models: is not known",
    "/abs": "/abs is not known",
    "../DIN": "../DIN is not known",
    "*": r"\* is not known",
    "": " is not known",
}


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_what_names_no_model(my_models, tmp_path, path):
    for zoo in (None, tmp_path):
        with pytest.raises(RequestError, match=WRONG_PATHS[path]):
            find_model(path, zoo)


def test_dotted_path(my_models):
    assert find_model("my_models:my_models").number == 1


@pytest.mark.parametrize(
    ("value", "reason"), [("my_failing:X", "ZeroDivisionError"), ("my_models:Plain", "is no subclass of")]
)
def test_entry_points_of_other_packages(my_models, monkeypatch, value, reason):
    points = [
        EntryPoint("Good", "my_models:my_models", registry.ENTRY_POINTS),
        EntryPoint("Bad", value, registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "_entry_points", lambda: points)
    assert {"Good", "Bad"} <= set(list_models()) and find_model("Good").number == 1
    with pytest.raises(RequestError, match=f"model: Bad.*{reason}"):
        find_model("Bad")


@pytest.fixture
def clean_zoo():
    yield
    for name in [name for name in sys.modules if name.startswith("_fuxictr_zoo_")]:
        del sys.modules[name]


def test_a_zoo_comes_first_and_may_import_its_neighbours(tmp_path, clean_zoo):
    torch_folder, tf_folder = tmp_path / "LR" / "LR_torch" / "src", tmp_path / "LR" / "LR_tf" / "src"
    write_model(torch_folder, "LR", "value", before="from .parts import value\n")
    (torch_folder / "parts.py").write_text("value = 7\n")
    tf_folder.mkdir(parents=True)
    (tf_folder / "LR.py").write_text("raise ImportError('tensorflow')\n")
    assert find_model("LR", zoo=tmp_path).number == 7
    assert find_model("FM", zoo=tmp_path).__name__ == "FM"  # not in the zoo: ours
    with pytest.raises(RequestError, match="is not a folder"):
        find_model("LR", zoo=tmp_path / "nothing")


def test_a_file_without_the_class_does_not_hide_the_next(tmp_path, clean_zoo):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "DIN.py").write_text("x = 1\n")
    write_model(tmp_path / "b", "DIN", 2)
    assert find_model("DIN", zoo=tmp_path).number == 2


def test_each_zoo_has_its_own_classes(tmp_path, clean_zoo):
    for number in (1, 2):
        write_model(tmp_path / str(number), "DIN", number)
    assert [find_model("DIN", zoo=tmp_path / name).number for name in ("1", "2", "1")] == [1, 2, 1]
    assert find_model("DIN", zoo=tmp_path / "1") is find_model("DIN", zoo=tmp_path / "1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_there", "ModuleNotFoundError"),
        ("class DIN(:", "SyntaxError"),
        ("1 / 0", "ZeroDiv"),
    ],
)
def test_a_zoo_file_that_cannot_be_imported(tmp_path, clean_zoo, text, reason):
    (tmp_path / "DIN.py").write_text(text + "\n")
    with pytest.raises(RequestError, match=rf"DIN\.py cannot be imported: {reason}"):
        find_model("DIN", zoo=tmp_path)


def test_a_zoo_class_that_is_no_model(tmp_path, clean_zoo):
    (tmp_path / "DIN.py").write_text("class DIN:\n    pass\n")
    with pytest.raises(RequestError, match="DIN is no subclass of"):
        find_model("DIN", zoo=tmp_path)


def test_fuxictrs_wheel_is_the_last_resort():
    assert find_model("SDIM").__module__.startswith("model_zoo.LongCTR")


def test_constructor_keys_reach_over_the_bases():
    keys, open_ended = constructor_keys(find_model("QNNalpha"))
    assert {"num_row", "head_layout", "embedding_regularizer", "net_regularizer"} <= keys
    assert open_ended and "self" not in keys and "kwargs" not in keys
