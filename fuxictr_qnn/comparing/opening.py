"""From a request to a comparison that may begin: everything checked, the data built, the numbers known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from fuxictr_qnn.comparing.drawing import Points
from fuxictr_qnn.comparing.entrants import Entrant, make_entrants, without_recipes
from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.request import Named, Request
from fuxictr_qnn.comparing.session import Comparison, Watch, has_read_test
from fuxictr_qnn.comparing.space import SearchSpace
from fuxictr_qnn.comparing.terms import Terms, check_change, make_terms, numbers_of, read_terms, write_terms
from fuxictr_qnn.errors import RequestError, RunError, do_all
from fuxictr_qnn.jobs import Pool
from fuxictr_qnn.reporting.protocol import LEAST_SEEDS
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.space import Space

# (entrants, fingerprint of the data, trials, seeds) -> trials and seeds that fit a budget
ChooseNumbers = Callable[[Sequence[Entrant], str, int, int], tuple[int, int]]


@dataclass(frozen=True)
class Prepared:
    """What is to be compared.

    Attributes:
        spaces: label -> what trials are taken from; empty without trials.
        before: the terms that the folder holds already.
        notes: about how configs were read.
    """

    request: Request
    entrants: list[Entrant]
    terms: Terms
    spaces: dict[str, Space]
    before: Terms | None = None

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys(note for entrant in self.entrants for note in entrant.notes))


def prepare(
    request: Request,
    configs: Sequence[Named],
    space: SearchSpace,
    folder: Folder,
    data: SweepData,
    choose_numbers: ChooseNumbers | None = None,
) -> Prepared:
    """Check everything, and build the data if it is not built.

    Args:
        choose_numbers: decides trials and seeds where the folder does not.

    Raises:
        RequestError: with every problem; nothing was written but a build of the data. RunError: that failed.
    """
    before = read_terms(folder.terms)
    trials, seeds = numbers_of(request, before)
    if request.significance and seeds < LEAST_SEEDS:
        raise RequestError(
            f"--significance: a test needs {LEAST_SEEDS} seeds of each model, '{folder.path}' was begun with "
            f"{seeds}; --seeds {LEAST_SEEDS} adds some"
        )
    entrants = make_entrants(request, configs, space, tuned=trials > 0)
    spaces = _spaces(request, entrants, trials)
    was_read = has_read_test(folder)
    if before:  # what is wrong without the data is said before it is built
        early = make_terms(request, entrants, before.data_fingerprint, trials, seeds, before)
        check_change(before, early, was_read, folder.path)
    fingerprint = _one_build(entrants, data)
    if choose_numbers and before is None:
        trials, seeds = choose_numbers(entrants, fingerprint, trials, seeds)
        spaces = _spaces(request, entrants, trials)
    terms = make_terms(request, entrants, fingerprint, trials, seeds, before)
    if before:
        check_change(before, terms, was_read, folder.path)
    return Prepared(request, entrants, terms, spaces, before)


@contextmanager
def open_comparison(
    prepared: Prepared,
    folder: Folder,
    data: SweepData,
    make_pool: Callable[[int | None], Pool],
    watch: Watch,
) -> Iterator[Comparison]:
    """The comparison in its folder, which is locked meanwhile and holds its terms from now on.

    Raises:
        RunError: another process is at it, or was since it was prepared.
        RequestError: that process read the test split, and this request has more trials.
    """
    with folder.locked(), _disk():
        if read_terms(folder.terms) != prepared.before:
            raise RunError(f"another process has begun '{folder.path}' meanwhile: give the command again")
        if prepared.before:  # another process may have read a test split meanwhile
            check_change(prepared.before, prepared.terms, has_read_test(folder), folder.path)
        write_terms(folder.terms, prepared.terms)
        yield Comparison(
            prepared.entrants,
            prepared.terms,
            prepared.spaces,
            folder,
            data,
            make_pool,
            watch,
            prepared.request.zoo,
        )


@contextmanager
def _disk() -> Iterator[None]:
    """What the disk refuses is no bug."""
    try:
        yield
    except BrokenPipeError:  # whoever read what is printed
        raise
    except OSError as error:
        raise RunError(f"the comparison stops here: {error}; the same command goes on") from error


def _spaces(request: Request, entrants: Sequence[Entrant], trials: int) -> dict[str, Space]:
    """What trials are taken from, every value checked; of points that are known, their combinations, too."""
    spaces: dict[str, Space] = {}

    def make(entrant: Entrant) -> None:
        spaces[entrant.label] = space = entrant.space(trials, request.search, request.zoo)
        if isinstance(space, Points):
            space.trials(range(space.size))

    if trials:
        do_all(partial(make, entrant) for entrant in without_recipes(entrants))
    return spaces


def _one_build(entrants: Sequence[Entrant], data: SweepData) -> str:
    """The fingerprint of the data that all share."""
    found = {entrant.label: data.ready(entrant.base) for entrant in entrants}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{fingerprint} for {label}" for label, fingerprint in found.items())
        raise RequestError(f"all rows must be on the same build of the data, and it is {listed}")
    return next(iter(found.values()))
