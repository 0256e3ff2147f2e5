"""Finds a model class by the name in a config's `model:` key.

In this order: a FuxiCTR model_zoo folder (`--zoo`), the models of this package and those
registered with `@register_model`, the entry-point group `fuxictr.models` of installed packages, a
dotted path `package.module:Class`, and the models in FuxiCTR's own wheel.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import importlib.metadata
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.grammar import is_dotted_path

ENTRY_POINTS = "fuxictr.models"

# name -> module; names can be listed without importing torch and FuxiCTR
OWN_MODELS = {
    "QNNalpha": "fuxictr_qnn.models.qnn_alpha",
    "QNN": "fuxictr_qnn.models.qnn",
    "LR": "fuxictr_qnn.models.lr",
    "FM": "fuxictr_qnn.models.fm",
    "DNN": "fuxictr_qnn.models.dnn",
    "DeepFM": "fuxictr_qnn.models.deepfm",
    "xDeepFM": "fuxictr_qnn.models.xdeepfm",
    "DCNv2": "fuxictr_qnn.models.dcnv2",
    "WideDeep": "fuxictr_qnn.models.wide_deep",
    "PNN": "fuxictr_qnn.models.pnn",
    "DCN": "fuxictr_qnn.models.dcn",
    "AutoInt": "fuxictr_qnn.models.autoint",
    "MaskNet": "fuxictr_qnn.models.masknet",
    "FinalMLP": "fuxictr_qnn.models.finalmlp",
    "FinalNet": "fuxictr_qnn.models.finalnet",
    "GDCN": "fuxictr_qnn.models.gdcn",
    "ECN": "fuxictr_qnn.models.ecn",
    "DCNv3": "fuxictr_qnn.models.dcnv3",
    "QNNalpha_DeepFM": "fuxictr_qnn.models.qnn_alpha_deepfm",
    "QNNalpha_xDeepFM": "fuxictr_qnn.models.qnn_alpha_xdeepfm",
    "QNNalpha_DCNv2": "fuxictr_qnn.models.qnn_alpha_dcnv2",
    "QNNalpha_MLP": "fuxictr_qnn.models.qnn_alpha_mlp",
    "QIN": "fuxictr_qnn.models.qin",
    "DIN": "fuxictr_qnn.models.din",
    "TransformerDCN": "fuxictr_qnn.models.transformer_dcn",
}

# The authors' and upstream's names for the same classes.
ALIASES = {
    "QNN_alpha": "QNNalpha",
    "QNN_T26": "QNNalpha",
    "QNN_T26_DeepFM": "QNNalpha_DeepFM",
    "QNN_T26_xDeepFM": "QNNalpha_xDeepFM",
    "QNN_T26_DCNv2": "QNNalpha_DCNv2",
    "QNN_T26_MLP": "QNNalpha_MLP",
    "QIN_variety_v9": "QIN",
    "FCN": "DCNv3",
}

ZOO = "_fuxictr_zoo_"  # begins the names of the packages that --zoo makes
_WHEEL_PACKAGE = "model_zoo.LongCTR"  # the models that FuxiCTR's wheel carries

_registered: dict[str, type] = {}


def register_model(cls: type | None = None, *, name: str | None = None):
    """Class decorator: make a BaseModel subclass known under its class name, or under `name`.

    Raises:
        ValueError: the name is taken by another class, or is an alias of ours.
    """

    def add(model: type) -> type:
        key = name or model.__name__
        other = _registered.get(key)
        owner = OWN_MODELS.get(ALIASES.get(key, key))
        if owner is None and other is not None and other is not model:
            owner = other.__module__
        if owner:
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
        RequestError: no such model (the message lists the nearest names), one whose module cannot
            be imported, or a class that is no FuxiCTR model.
    """
    own = ALIASES.get(name, name)
    found = _from_zoo(name, Path(zoo)) if zoo is not None else None
    if found is None and own in OWN_MODELS:
        return getattr(importlib.import_module(OWN_MODELS[own]), own)
    if found is None:
        found = _registered.get(name) or _from_entry_point(name)
    if found is None and is_dotted_path(name):
        found = _from_dotted_path(name)
    if found is None and name.isidentifier():
        found = _from_wheel(name)
    if found is None:
        known = list_models()
        raise RequestError(f"model: {name} is not known.{nearest(name, known)} Known: {', '.join(known)}")
    if not _is_fuxictr_model(found):
        raise RequestError(f"model: {name} is no subclass of fuxictr.pytorch.models.BaseModel")
    return found


def model_class(name: str, params: Iterable[str], zoo: Path | None = None) -> type:
    """The class for a model with these parameters: with `self_ensemble`, any model can take it.

    Raises:
        RequestError: as `find_model`, or a model that cannot have the self-ensemble loss.
    """
    found = find_model(name, zoo)
    if "self_ensemble" not in params or "self_ensemble" in constructor_keys(found)[0]:
        return found
    from fuxictr_qnn.models.self_ensemble import with_self_ensemble

    try:
        return with_self_ensemble(found)
    except ValueError as error:
        raise RequestError(str(error)) from error


def is_own(cls: type) -> bool:
    """Whether a class is of this package, so that all of its keys are known."""
    return cls.__module__.startswith("fuxictr_qnn.")


def zoo_package(module: str) -> str:
    """The package of a module if --zoo has made it, else nothing."""
    return module.partition(".")[0] if module.startswith(ZOO) else ""


@lru_cache(maxsize=1024)  # a sweep asks for the same few thousands of times
def parameters_of(init: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a constructor, `self` included."""
    return inspect.signature(init).parameters


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
        parameters = list(parameters_of(base.__init__).values())[1:]
        keys.update(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not open_ended:
            break
    return keys, open_ended


NO_DEFAULT = inspect.Parameter.empty  # what a key has that the constructor does not name, or has to be given


def constructor_default(cls: type, key: str) -> Any:
    """What a key is where a config leaves it out, by the first class that names it; else NO_DEFAULT."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameter = parameters_of(base.__init__).get(key)
            if parameter is not None:
                return parameter.default
    return NO_DEFAULT


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    return [p for p in importlib.metadata.entry_points(group=ENTRY_POINTS) if p.name not in OWN_MODELS]


def _is_fuxictr_model(cls: Any) -> bool:
    """Whether a class derives from BaseModel; FuxiCTR is not imported to find that it does not."""
    models = sys.modules.get("fuxictr.pytorch.models")
    return models is not None and inspect.isclass(cls) and issubclass(cls, models.BaseModel)


def _refusal(what: str, error: Exception) -> RequestError:
    """Somebody else's code could not be imported, for whatever reason."""
    return RequestError(f"model: {what} cannot be imported: {type(error).__name__}: {error}")


def _from_entry_point(name: str) -> Any:
    for point in _entry_points():
        if point.name == name:
            try:
                return point.load()
            except Exception as error:
                raise _refusal(f"{name}, the entry point {point.value},", error) from error
    return None


def _from_dotted_path(path: str) -> Any:
    module_name, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:
        raise _refusal(path, error) from error


def _from_zoo(name: str, zoo: Path) -> type | None:
    """The class from a file `<name>.py` below a FuxiCTR checkout's model_zoo, if it has one."""
    if not zoo.is_dir():
        raise RequestError(f"--zoo: {zoo} is not a folder")
    for file in sorted(zoo.rglob(f"{name}.py")) if name.isidentifier() else []:
        if any("tf" in part.lower().split("_") for part in file.relative_to(zoo).parts):
            continue  # a TensorFlow sibling
        found = getattr(_import_file(file), name, None)
        if inspect.isclass(found):
            return found
    return None


def _import_file(file: Path) -> types.ModuleType:
    """A file as a module of a package of its own, one a folder, so that its relative imports work."""
    folder = file.resolve().parent
    package = types.ModuleType(f"{ZOO}{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}")
    package.__path__ = [str(folder)]
    sys.modules.setdefault(package.__name__, package)
    try:
        return importlib.import_module(f"{package.__name__}.{file.stem}")
    except Exception as error:
        raise _refusal(str(file), error) from error


def _from_wheel(name: str) -> type | None:
    try:
        found = getattr(importlib.import_module(_WHEEL_PACKAGE), name, None)
    except (ImportError, AssertionError):  # another model_zoo on the path, or a version check of FuxiCTR's
        return None
    return found if inspect.isclass(found) else None
