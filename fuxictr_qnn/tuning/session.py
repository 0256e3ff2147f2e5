"""From a checked request to a finished sweep: lock, data, workers, results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fuxictr_qnn.errors import RunError
from fuxictr_qnn.files import new_folder
from fuxictr_qnn.jobs import Ended, Event, Pool
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.plots import draw_axes
from fuxictr_qnn.tuning.results import write_tables
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.store import Store
from fuxictr_qnn.tuning.sweep import Row, Sweep, Watch, run_sweeps


@contextmanager
def open_sweep(space: Space, folder: Path, data: SweepData, options: Options) -> Iterator[Sweep]:
    """The sweep in its folder, which is locked meanwhile; data that is certain to be read is built first.

    Raises:
        RequestError: everything that is wrong; then nothing was written but builds of data.
        RunError: another process is at the same sweep, or building failed.
    """
    options.check()
    store = Store(folder)
    store.check_writable()
    with new_folder(folder), store.locked():
        yield Sweep(space, store, data, options)


def look_at_sweep(space: Space, folder: Path, data: SweepData, options: Options) -> Sweep:
    """The sweep as it stands, to be looked at: writes and builds nothing.

    Raises:
        RequestError: everything that is wrong.
    """
    options.check()
    store = Store(folder)
    store.check_writable()
    return Sweep(space, store, data, options, fingerprint_of=data.found)


def do_sweep(
    sweep: Sweep,
    make_pool: Callable[[], Pool],
    watch: Watch = lambda sweep, row, event: None,
) -> None:
    """`do_sweeps` for one."""
    do_sweeps([sweep], make_pool, watch)


def do_sweeps(
    sweeps: Sequence[Sweep],
    make_pool: Callable[[], Pool],
    watch: Watch = lambda sweep, row, event: None,
) -> None:
    """Do what is left of open sweeps, which share the workers.

    Tables are written after each trial, pictures at the end.

    Args:
        make_pool: workers; not asked for where nothing is left to do.

    Raises:
        RunError: the workers are lost, or the disk failed.
    """

    def on_event(sweep: Sweep, row: Row, event: Event) -> None:
        if isinstance(event, Ended):
            write_tables(sweep)
        watch(sweep, row, event)

    try:
        try:
            if any(sweep.to_do for sweep in sweeps):
                with make_pool() as pool:
                    run_sweeps(sweeps, pool, on_event)
        finally:
            for sweep in sweeps:
                sweep.store.tidy_logs()
                sweep.drop_weights()
                write_tables(sweep)
        for sweep in sweeps:
            draw_axes(sweep)
    except BrokenPipeError:  # whoever read what `watch` prints
        raise
    except OSError as error:
        raise RunError(
            f"writing in '{sweeps[0].store.folder}' failed: {error}; the same command goes on"
        ) from error
