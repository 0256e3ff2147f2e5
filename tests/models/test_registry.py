"""Where a model's class is found, and what is said when there is none."""

from __future__ import annotations

import sys

import pytest

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
    assert list_models("QNN*") == ["QNNalpha"]


@pytest.mark.parametrize("alias", ["QNN_alpha", "QNN_T26"])
def test_the_authors_names_work(alias):
    assert find_model(alias).__name__ == "QNNalpha"


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(RequestError, match=r"QNNalfa is not known\. Did you mean 'QNNalpha'"):
        find_model("QNNalfa")


def test_register_model():
    @register_model
    class Mine:
        pass

    register_model(Mine)  # again is harmless
    assert find_model("Mine") is Mine and "Mine" in list_models()
    with pytest.raises(ValueError, match="already taken"):
        register_model(type("Mine", (), {}))
    with pytest.raises(ValueError, match="already taken by fuxictr_qnn.models.lr"):
        register_model(type("LR", (), {}))


def test_dotted_path(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text("class Tiny:\n    pass\n\nnumber = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_model("my_models:Tiny").__name__ == "Tiny"
    for path, reason in [
        ("my_models:Big", "cannot be imported"),
        ("nowhere:X", "cannot be imported"),
        ("my_models:number", "is not a class"),
    ]:
        with pytest.raises(RequestError, match=reason):
            find_model(path)


def test_a_zoo_comes_first_and_may_import_its_neighbours(tmp_path):
    torch_folder, tf_folder = tmp_path / "LR" / "LR_torch" / "src", tmp_path / "LR" / "LR_tf" / "src"
    for folder in (torch_folder, tf_folder):
        folder.mkdir(parents=True)
    (torch_folder / "parts.py").write_text("value = 7\n")
    (torch_folder / "LR.py").write_text("from .parts import value\nclass LR:\n    seven = value\n")
    (tf_folder / "LR.py").write_text("raise ImportError('tensorflow')\n")
    assert find_model("LR", zoo=tmp_path).seven == 7
    assert find_model("FM", zoo=tmp_path).__name__ == "FM"  # not in the zoo: ours
    with pytest.raises(RequestError, match="is not a folder"):
        find_model("LR", zoo=tmp_path / "nothing")
    for name in [n for n in sys.modules if n.startswith("_fuxictr_zoo_")]:
        del sys.modules[name]


def test_fuxictrs_wheel_is_the_last_resort():
    assert find_model("SDIM").__module__.startswith("model_zoo.LongCTR")


def test_constructor_keys_reach_over_the_bases():
    keys, open_ended = constructor_keys(find_model("QNNalpha"))
    assert {"num_row", "head_layout", "embedding_regularizer", "net_regularizer"} <= keys
    assert open_ended and "self" not in keys and "kwargs" not in keys
