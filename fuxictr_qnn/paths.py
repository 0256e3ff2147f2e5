"""Where the files that come with the package lie."""

from __future__ import annotations

from pathlib import Path

from fuxictr_qnn.errors import RunError


def shipped(name: str) -> Path:
    """The folder `model_zoo` or `data_configs` that belongs to this installation.

    A wheel carries them inside the package; in a checkout (an editable install, or a run from the
    repository root) they lie beside it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise RunError(f"{name}/ is neither inside {package} nor beside it: the installation is incomplete")
