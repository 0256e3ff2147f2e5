"""What `fuxictr predict` is asked for, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fuxictr_qnn.errors import RequestError, do_all
from fuxictr_qnn.files import obstacle
from fuxictr_qnn.runs.saved import SavedRun, open_run
from fuxictr_qnn.serving.files import check_data, check_target
from fuxictr_qnn.serving.submission import SUBMISSIONS, Submission


def open_runs(
    names: Sequence[str],
    out: Path,
    data: Path,
    to: Path,
    *,
    id_cols: Sequence[str],
    average: str,
    submission: str | None,
    encoded: bool,
    force: bool,
) -> tuple[list[SavedRun], bool]:
    """The runs to predict with, once they, the file of rows and the place of the scores are found fit.

    Args:
        names: run folders or expids.
        out: where expids are looked for.
        data, to, id_cols, average, submission: as for `predict_file`.
        encoded: whether `data` is said to hold ids.
        force: whether what is at `to` may be replaced.

    Returns:
        The runs, and whether `data` holds ids: a challenge's file does, for runs that know nothing else.

    Raises:
        RequestError: with every problem; nothing was written.
    """
    runs: list[SavedRun] = []
    form = SUBMISSIONS[submission] if submission else None
    target = partial(_check_folder, to, data, form) if form else partial(check_target, to, data)
    if form and id_cols:
        raise RequestError(
            f"--id-cols {' '.join(id_cols)}: --submission {submission} writes {form.id} and {form.score} "
            "only; leave it out"
        )
    do_all(
        [
            *(partial(lambda name: runs.append(open_run(name, out)), name) for name in dict.fromkeys(names)),
            partial(check_data, data),
            partial(target, force),
        ]
    )
    if form and form.encoded and not any(run.takes_raw_values for run in runs):
        encoded = True
    do_all(partial(check_input, run, encoded) for run in runs)
    _check_together(runs, average)
    return runs, encoded


def check_input(run: SavedRun, encoded: bool) -> None:
    """RequestError where a run that knows no raw values is to read some."""
    if not encoded and not run.takes_raw_values:
        raise RequestError(
            f"'{run.folder}' was trained on data that was encoded already, and has no vocabulary to turn raw "
            "values into ids: give it rows with the same ids and say so (--encoded, or load_run(..., "
            "encoded=True))"
        )


def _check_folder(to: Path, data: Path, form: Submission, force: bool) -> None:
    """The folder of a challenge's files."""
    there = [name for name in (form.member, form.archive) if (to / name).exists()]
    if to.exists() and not to.is_dir():
        raise RequestError(f"--to {to}: is a file; with --submission name the folder of its files")
    if there and not force:
        raise RequestError(f"--to {to}: holds {' and '.join(there)} already; --force replaces them")
    if data.resolve() in [(to / name).resolve() for name in there]:
        raise RequestError(f"--to {to}: its {data.name} is the file of --data; name another folder")
    if reason := obstacle(to):
        raise RequestError(f"--to {to}: {reason}; choose a folder that you own")


def _check_together(runs: Sequence[SavedRun], average: str) -> None:
    """Runs whose predictions can be averaged."""
    tasks = {run.experiment.fit.task for run in runs}
    problems = []
    if len({run.folder.resolve() for run in runs}) < len(runs):
        problems.append("--run: two of them are the same run; name each once")
    if len(tasks) > 1:
        problems.append(f"--run: their tasks differ ({', '.join(sorted(tasks))}); average runs of one task")
    elif average == "logit" and tasks == {"regression"}:
        problems.append("--average logit: a regression predicts no probabilities; use --average probability")
    if problems:
        raise RequestError(problems)
