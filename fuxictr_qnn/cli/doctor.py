"""Look at this installation and machine: what works, what is missing, and the pip command for it."""

from __future__ import annotations

import argparse
import inspect
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from rich.text import Text

from fuxictr_qnn.cli.options import add_data_options
from fuxictr_qnn.cli.tables import plain_console, plain_table
from fuxictr_qnn.errors import FuxictrError
from fuxictr_qnn.files import is_writable
from fuxictr_qnn.paths import shipped

HELP = "show versions, what works and what is missing"

# What each extra adds, by the names of the distributions it installs.
EXTRAS = {
    "plot": ["matplotlib"],
    "tensorboard": ["tensorboard"],
    "onnx": ["onnx", "onnxruntime", "onnxscript"],
    "ray": ["ray"],
    "tune": ["optuna"],
    "test": ["pytest", "pytest-xdist", "hypothesis", "ruff"],
}
CORE = [
    "torch",
    "fuxictr",
    "polars",
    "pyarrow",
    "numpy",
    "scikit-learn",
    "pydantic",
    "rich",
    "PyYAML",
    "h5py",
]


@dataclass(frozen=True)
class Check:
    """One thing that was tried. `remedy` says what to do where it failed."""

    name: str
    works: bool
    detail: str
    remedy: str = ""
    core: bool = True

    @property
    def mark(self) -> Text:
        if self.works:
            return Text("ok", "green")
        return Text("missing", "red") if self.core else Text("no", "yellow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr doctor`."""
    add_data_options(parser)


def main(args: argparse.Namespace) -> int:
    """Print every check. Exit 0 if all that a run needs works, else 1."""
    checks = [*_versions(), *_capabilities(), *_places(args), _gpu(), _compiled_rows(), *_extras()]
    table = plain_table(["", "what", "found", "remedy"])
    for check in checks:
        table.add_row(check.mark, check.name, check.detail, "" if check.works else check.remedy)
    console = plain_console()
    console.print(table)
    broken = [check.name for check in checks if check.core and not check.works]
    console.print(f"not ready: {', '.join(broken)}" if broken else "ready: `fuxictr run` trains the demo")
    return 1 if broken else 0


def _versions() -> Iterator[Check]:
    yield Check("Python", True, f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield Check("CPU", True, f"{os.cpu_count()} cores, {platform.machine()}")
    yield Check("fuxictr-qnn", True, _version_of("fuxictr-qnn") or "run from its folder, not installed")
    for name in CORE:
        found = _version_of(name)
        yield Check(name, found is not None, found or "", f"pip install {name}")


def _capabilities() -> Iterator[Check]:
    """What the code relies on, tried rather than read off a version number."""
    yield _attempt("FuxiCTR's feature map", _has_feature_map, "pip install 'fuxictr>=2.3.10,<2.4'")
    yield _attempt("FuxiCTR's PyTorch layers", _has_torch_layers, "pip install 'fuxictr>=2.3.10,<2.4' torch")
    yield _attempt("polars reads CSV for FuxiCTR", _polars_takes_dtypes, "pip install 'polars<2'")
    yield _attempt("our models", _models, "pip install --force-reinstall fuxictr-qnn")
    yield _attempt("our configs", lambda: str(shipped("model_zoo").parent), "pip install fuxictr-qnn")


def _attempt(name: str, action: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, True, action())
    except (ImportError, AttributeError, TypeError, AssertionError, FuxictrError) as error:
        return Check(name, False, f"{type(error).__name__}: {error}", remedy)


def _has_feature_map() -> str:
    return f"{import_module('fuxictr.features').FeatureMap.__name__} imports"


def _has_torch_layers() -> str:
    layers = import_module("fuxictr.pytorch.layers")
    parameters = inspect.signature(layers.FeatureEmbedding.forward).parameters
    if "flatten_emb" not in parameters:
        raise AttributeError("FeatureEmbedding.forward has no flatten_emb: FuxiCTR is too old or too new")
    return "FeatureEmbedding takes flatten_emb"


def _polars_takes_dtypes() -> str:
    import io
    import warnings

    import polars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            polars.scan_csv(io.BytesIO(b"a\n1\n"), dtypes={"a": polars.String}).collect()
        except Exception as error:  # polars has its own exception tree, which moves between versions
            raise TypeError(f"scan_csv(dtypes=...): {error}") from error
    return "scan_csv(dtypes=...) works"


def _models() -> str:
    from fuxictr_qnn.models.registry import list_models

    return f"{len(list_models())} registered"


def _places(args: argparse.Namespace) -> Iterator[Check]:
    root = args.data_root.absolute()
    yield Check(
        "data root", is_writable(root), str(root), "builds go to --build-dir or the user's cache", core=False
    )
    if args.build_dir is not None:
        build_dir = args.build_dir.absolute()
        yield Check("build dir", is_writable(build_dir), str(build_dir), "choose another --build-dir")


def _gpu() -> Check:
    try:
        import torch
    except ImportError:
        return Check("GPU", False, "torch is missing", "pip install torch", core=False)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("GPU", True, ", ".join(names), core=False)
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
    return Check(
        "GPU", False, f"none; torch is {built}", "the CPU is used; see pytorch.org for CUDA", core=False
    )


def _compiled_rows() -> Check:
    name, remedy = "compiled rows", "install gcc or clang; without one training is slower on a CPU"
    try:
        from fuxictr_qnn.layers.native import compiled
    except ImportError:
        return Check(name, False, "torch is missing", "pip install torch", core=False)
    if compiled.library() is not None:
        return Check(name, True, "compiled for this processor", core=False)
    switched_off = os.environ.get(compiled.SWITCH) == "0"
    detail = f"switched off by {compiled.SWITCH}=0" if switched_off else "no C compiler that works"
    return Check(name, False, detail, f"unset {compiled.SWITCH}" if switched_off else remedy, core=False)


def _extras() -> Iterator[Check]:
    for extra, names in EXTRAS.items():
        missing = [name for name in names if find_spec(name) is None]
        found = ", ".join(f"{name} {_version_of(name)}" for name in names if name not in missing)
        detail = found + (f"{'; ' if found else ''}without {', '.join(missing)}" if missing else "")
        remedy = f"pip install 'fuxictr-qnn[{extra}]'"
        yield Check(f"extra {extra}", not missing, detail, remedy, core=False)


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
