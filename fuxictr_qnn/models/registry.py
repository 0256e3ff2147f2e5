"""Finds a model class by the name in a config's `model:` key.

In this order: a FuxiCTR model_zoo folder (`--zoo`), the models of this package and those
registered with `@register_model`, the entry-point group `fuxictr.models` of installed packages, a
dotted path `package.module:Class`, and the models in FuxiCTR's own wheel.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.metadata
import inspect
import sys
import types
from pathlib import Path

from fuxictr_qnn.errors import RequestError, nearest

ENTRY_POINTS = "fuxictr.models"

# name -> module; names can be listed without importing torch and FuxiCTR
OWN_MODELS = {
    "QNNalpha": "fuxictr_qnn.models.qnn_alpha",
    "LR": "fuxictr_qnn.models.lr",
    "FM": "fuxictr_qnn.models.fm",
    "DNN": "fuxictr_qnn.models.dnn",
}

# The authors' and upstream's names for the same classes.
ALIASES = {"QNN_alpha": "QNNalpha", "QNN_T26": "QNNalpha"}

_WHEEL_PACKAGE = "model_zoo.LongCTR"  # the models that FuxiCTR's wheel carries

_registered: dict[str, type] = {}


def register_model(cls: type | None = None, *, name: str | None = None):
    """Class decorator: make a BaseModel subclass known under its class name, or under `name`.

    Raises:
        ValueError: the name is taken by another class.
    """

    def add(model: type) -> type:
        key = name or model.__name__
        other = _registered.get(key)
        taken = key in OWN_MODELS or (other is not None and other is not model)
        if taken:
            owner = OWN_MODELS.get(key) or other.__module__
            raise ValueError(f"the model name {key!r} is already taken by {owner}")
        _registered[key] = model
        return model

    return add if cls is None else add(cls)


def list_models(pattern: str = "*") -> list[str]:
    """Names of all known models that match a shell pattern, sorted; imports none of them."""
    names = set(OWN_MODELS) | set(_registered) | {point.name for point in _entry_points()}
    return sorted(fnmatch.filter(names, pattern), key=str.lower)


def find_model(name: str, zoo: Path | None = None) -> type:
    """The model class called `name`.

    Raises:
        RequestError: no such model; the message lists the nearest names.
    """
    if zoo is not None:
        found = _from_zoo(name, Path(zoo))
        if found is not None:
            return found
    own = ALIASES.get(name, name)
    if own in OWN_MODELS:
        return getattr(importlib.import_module(OWN_MODELS[own]), own)
    if name in _registered:
        return _registered[name]
    for point in _entry_points():
        if point.name == name:
            return point.load()
    if ":" in name:
        return _from_dotted_path(name)
    found = _from_wheel(name)
    if found is not None:
        return found
    known = list_models()
    raise RequestError(f"model: {name} is not known.{nearest(name, known)} Known: {', '.join(known)}")


def is_own(cls: type) -> bool:
    """Whether a class is of this package, so that all of its keys are known."""
    return cls.__module__.startswith("fuxictr_qnn.")


def constructor_keys(cls: type) -> tuple[set[str], bool]:
    """Named constructor parameters of a class and its bases, and whether it takes any others.

    A class that passes **kwargs on accepts what its bases name; `True` in second place means that
    the last base, too, takes **kwargs, so that a further key is not an error in Python.
    """
    keys: set[str] = set()
    open_ended = True
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base.__name__ == "Module":
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        keys.update(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not open_ended:
            break
    return keys, open_ended


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    return [p for p in importlib.metadata.entry_points(group=ENTRY_POINTS) if p.name not in OWN_MODELS]


def _from_dotted_path(path: str) -> type:
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise RequestError(f"model: {path} cannot be imported: {error}") from error
    if not inspect.isclass(found):
        raise RequestError(f"model: {path} is not a class")
    return found


def _from_zoo(name: str, zoo: Path) -> type | None:
    """The class from a file `<name>.py` below a FuxiCTR checkout's model_zoo, if it has one."""
    if not zoo.is_dir():
        raise RequestError(f"--zoo: {zoo} is not a folder")
    for file in sorted(zoo.rglob(f"{name}.py")):
        if any("tf" in part.lower().split("_") for part in file.relative_to(zoo).parts):
            continue  # a TensorFlow sibling
        package = types.ModuleType(f"_fuxictr_zoo_{name}")  # so that its relative imports work
        package.__path__ = [str(file.parent)]
        sys.modules[package.__name__] = package
        found = getattr(importlib.import_module(f"{package.__name__}.{name}"), name, None)
        if inspect.isclass(found):
            return found
    return None


def _from_wheel(name: str) -> type | None:
    try:
        found = getattr(importlib.import_module(_WHEEL_PACKAGE), name, None)
    except (ImportError, AssertionError):  # another model_zoo on the path, or a version check of FuxiCTR's
        return None
    return found if inspect.isclass(found) else None
