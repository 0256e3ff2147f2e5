"""The loop that keeps a pool busy."""

from __future__ import annotations

from collections.abc import Callable

from fuxictr_qnn.jobs.job import Ended, Evaluated, Event, Job, Pool


def do_jobs(
    pool: Pool,
    next_job: Callable[[], Job | None],
    on_event: Callable[[Event], bool | None] = lambda event: None,
) -> None:
    """Do jobs until there is none left and all have ended.

    Args:
        next_job: the next one to start, asked whenever a worker is free; None: none for now. It is asked
            again after every job that ends.
        on_event: hears what happens. Of a prunable job's `Evaluated`, False as its result ends that job.

    Raises:
        RunError: the pool is lost. What runs then, or when anything else is raised, is ended by the pool.
    """
    _fill(pool, next_job)
    while pool.running:
        for event in pool.wait():
            verdict = on_event(event)
            if isinstance(event, Evaluated) and event.job.prunable:
                pool.answer(event.job, verdict is not False)
            if isinstance(event, Ended):
                _fill(pool, next_job)


def _fill(pool: Pool, next_job: Callable[[], Job | None]) -> None:
    while pool.free and (job := next_job()) is not None:
        pool.start(job)
