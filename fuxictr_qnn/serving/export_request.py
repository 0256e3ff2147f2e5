"""What `fuxictr export` is asked for, checked before a model is loaded."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fuxictr_qnn.errors import RequestError, do_all
from fuxictr_qnn.files import obstacle
from fuxictr_qnn.runs.saved import SavedRun, open_run


def open_for_export(name: str, out: Path, to: Path | None, embeddings: Path | None, force: bool) -> SavedRun:
    """The run, once it and the places to write to are found fit; nothing is written.

    Args:
        name: a run folder or an expid.
        out: where expids are looked for.
        to: the ONNX file.
        embeddings: the folder of the embeddings.
        force: whether what is there may be replaced.

    Raises:
        RequestError: with every problem.
    """
    if to is None and embeddings is None:
        raise RequestError(
            "nothing to export: --to FILE.onnx for the model, --embeddings DIR for its embeddings"
        )
    runs: list[SavedRun] = []
    checks = [lambda: runs.append(open_run(name, out))]
    if to is not None:
        checks.append(partial(_check_file, to, force))
    if embeddings is not None:
        checks.append(partial(_check_folder, embeddings, force))
    if to is not None and embeddings is not None:
        checks.append(partial(_check_apart, to, embeddings))
    do_all(checks)
    return runs[0]


def _files(to: Path) -> tuple[Path, Path]:
    """The model, and what a client has to know of it."""
    return to, to.with_suffix(".json")


def _check_apart(to: Path, folder: Path) -> None:
    """The folder of the embeddings is replaced as a whole, with all that lies in it."""
    if any(folder.resolve() in (file.resolve(), *file.resolve().parents) for file in _files(to)):
        raise RequestError(
            f"--to {to}: lies in --embeddings {folder}, which is replaced as a whole; name another folder"
        )


def _check_file(to: Path, force: bool) -> None:
    if to.suffix.lower() != ".onnx":
        raise RequestError(f"--to {to}: name a file that ends in .onnx")
    files = _files(to)
    if folders := [file for file in files if file.is_dir()]:
        raise RequestError(f"--to {to}: '{folders[0]}' is a folder; name a file in it")
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        are = ("exist already; --force replaces them", "exists already; --force replaces it")[len(there) == 1]
        raise RequestError(f"--to {to}: {' and '.join(there)} {are}")
    if reason := obstacle(to.absolute().parent):
        raise RequestError(f"--to {to}: {reason}; choose a folder that you own")


def _check_folder(folder: Path, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--embeddings {folder}: is a file; name a folder")
    inside = list(folder.iterdir()) if folder.exists() else []
    strange = [file.name for file in inside if file.suffix != ".parquet"]
    if strange:
        raise RequestError(
            f"--embeddings {folder}: holds other files as well ({', '.join(sorted(strange)[:3])}); name a "
            "folder of its own"
        )
    if others := _not_ours(inside):
        raise RequestError(
            f"--embeddings {folder}: holds parquet files that are no embeddings of an export "
            f"({', '.join(others[:3])}) and would be deleted; name a folder of its own"
        )
    if inside and not force:
        raise RequestError(f"--embeddings {folder}: holds files already; --force replaces them")
    if reason := obstacle(folder.absolute()):
        raise RequestError(f"--embeddings {folder}: {reason}; choose a folder that you own")


def _not_ours(files: list[Path]) -> list[str]:
    if not files:
        return []
    from fuxictr_qnn.serving.embeddings import is_ours  # torch: slow to import, so not for every command line

    return sorted(file.name for file in files if not is_ours(file))
