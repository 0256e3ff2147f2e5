"""Runs that a study is made of: each done once, several at a time, whatever interrupted it before."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from fuxictr_qnn.config.load import load_experiment
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.jobs import Ended, Event, Job, LocalPool, do_jobs
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.runs.run import Run
from fuxictr_qnn.training.run_folder import RunFolder


def study_parser(doc: str, out: str) -> argparse.ArgumentParser:
    """The options that all studies have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--build-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path(out), help="root of the run folders")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument("--datasets", nargs="+", choices=["ml1m", "frappe"], default=["ml1m", "frappe"])
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    return parser


def make_job(expid: str, changes: Iterable[str], seed: int, places: Places, out: Path) -> Job:
    """The run of an installed experiment with some keys changed, as by `fuxictr run --set`."""
    return Job(load_experiment(expid, overrides=changes).experiment, seed, places, out)


def folder_of(job: Job) -> RunFolder:
    return RunFolder(job.out, job.experiment, job.seed)


def do(jobs: Iterable[Job], workers: int) -> None:
    """Do the runs that are not complete; a line each."""
    todo = [job for job in jobs if folder_of(job).metrics is None]
    if not todo:
        return
    print(f"{len(todo)} runs to do", flush=True)
    left = iter(todo)

    def on_event(event: Event) -> None:
        if isinstance(event, Ended):
            job, outcome = event.job, event.outcome
            result = outcome.metrics["valid"] if outcome.metrics else outcome.reason
            name = f"{job.out.name}/{job.experiment.expid}-{job.experiment.digest} seed {job.seed}"
            print(f"{name}: {outcome.state}, {outcome.seconds:.0f} s, {result}", flush=True)

    with LocalPool(workers, 1) as pool:
        do_jobs(pool, lambda: next(left, None), on_event)


def run_of(job: Job) -> Run | None:
    """The complete run of a job, None where it is not complete or cannot be trusted."""
    folder = folder_of(job)
    found = find_runs([folder.path]).runs if folder.metrics is not None else []
    return found[0] if found else None
