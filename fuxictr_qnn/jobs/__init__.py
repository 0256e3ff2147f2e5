"""Runs as jobs: several at a time, each in a process of its own that is forked where all is imported."""

from fuxictr_qnn.jobs.job import Began, Ended, Evaluated, Event, Job, Outcome, Pool
from fuxictr_qnn.jobs.local import LocalPool
from fuxictr_qnn.jobs.threads import cores, share_of_cores
from fuxictr_qnn.jobs.working import do_jobs

__all__ = [
    "Began",
    "Ended",
    "Evaluated",
    "Event",
    "Job",
    "LocalPool",
    "Outcome",
    "Pool",
    "cores",
    "do_jobs",
    "share_of_cores",
]
