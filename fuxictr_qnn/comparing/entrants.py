"""The rows of a comparison: each config checked, with the space that is searched around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fuxictr_qnn.comparing.drawing import Points
from fuxictr_qnn.comparing.request import MOST_SEEDS, Named, Request
from fuxictr_qnn.comparing.space import SAME_FOR_ALL, SHIPPED, Axes, SearchSpace
from fuxictr_qnn.config.keys import RENAMED
from fuxictr_qnn.config.load import class_of
from fuxictr_qnn.config.sources import Entry
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models.registry import constructor_keys
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.tuning.space import Space, Trial
from fuxictr_qnn.tuning.tuner_file import Tuner

TUNING_SEED = 2024  # where a config's own seed might be one of the final seeds


@dataclass(frozen=True)
class ModelTuner(Tuner):
    """What a tuner file would say of one model of a comparison."""

    @property
    def name(self) -> str:
        return self.expid

    @property
    def place(self) -> str:
        return f"{self.file}, for {self.expid}"


@dataclass(frozen=True, eq=False)
class Entrant:
    """A row to be.

    Attributes:
        label: its name in tables: the expid, with a mark where a recipe shares it.
        base: the config as it stands, with --set.
        tuner: what is varied; of a recipe, nothing.
        axes: how the space names what is varied.
        proposed: named as no baseline.
        notes: about how the config was read.
    """

    label: str
    base: Trial
    tuner: ModelTuner
    axes: Axes = field(default_factory=Axes)
    recipe: bool = False
    proposed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def expid(self) -> str:
        return self.base.experiment.expid

    @property
    def model(self) -> str:
        return self.base.experiment.model

    def space(self, trials: int, search: str, zoo: Any = None) -> Space:
        """The points of a search: `trials` drawn ones, or all, among which TPE chooses."""
        return Space(self.tuner, zoo) if search == "tpe" else Points(self.tuner, trials, zoo)


def make_entrants(
    request: Request, configs: Sequence[Named], space: SearchSpace, tuned: bool
) -> list[Entrant]:
    """Every config checked, with its axes.

    Args:
        tuned: whether trials are done.

    Raises:
        RequestError: every problem of all of them.
    """
    problems: list[str] = []
    found: list[Entrant] = []
    names = [named.entry.name for named in configs if not named.recipe]
    for named in configs:
        try:
            axes = _axes(request, named, space) if tuned and not named.recipe else Axes()
            found.append(_entrant(request, named, axes, names))
        except RequestError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if not problems:
        problems += _set_axes(request, found) + _differing(found) + _unfit(found)
        problems += _twins(found) if not tuned else []
    if problems:
        raise RequestError(dict.fromkeys(problems))
    return found


def _axes(request: Request, named: Named, space: SearchSpace) -> Axes:
    settings = _tuner(request, named, Axes(), {}).settings({}, [])
    model = str(settings["model"].value) if "model" in settings else ""
    cls = class_of(model, settings, request.zoo, []) if model else None
    return space.of(model, named.dataset.name, constructor_keys(cls)[0] if cls else ())


def _tuner(request: Request, named: Named, axes: Axes, fixed: dict[str, Any]) -> ModelTuner:
    several = {axis: values for axis, values in axes.values.items() if len(values) > 1}
    for axis, values in axes.values.items():  # of one value: the same for all trials
        if len(values) == 1:
            fixed = fixed | (axes.meanings[axis][0] if axis in axes.meanings else {axis: values[0]})
    return ModelTuner(
        file=(request.space or SHIPPED) if axes.values else named.entry.file,
        base=named.entry,
        dataset=named.dataset,
        expid=named.entry.name,
        sets=list(named.sets),
        axes=several,
        fixed=fixed,
        meanings={axis: meaning for axis, meaning in axes.meanings.items() if axis in several},
    )


def _entrant(request: Request, named: Named, axes: Axes, names: Sequence[str]) -> Entrant:
    _refuse_run_folder(named.entry)
    seed = named.entry.get("seed")
    fixed = {"seed": seed if isinstance(seed, int) and seed > MOST_SEEDS else TUNING_SEED}
    as_it_stands = Space(_tuner(request, named, Axes(), fixed), request.zoo)
    base = as_it_stands.trial({})
    label = f"{named.entry.name} recipe" if named.recipe and named.entry.name in names else named.entry.name
    tuner, notes = _tuner(request, named, axes, fixed), tuple(as_it_stands.notes)
    proposed = not named.recipe and named.entry.name in request.proposed
    return Entrant(label, base, tuner, axes, named.recipe, proposed, notes)


def _refuse_run_folder(entry: Entry) -> None:
    if entry.dataset_file:
        raise RequestError(f"--config {entry.file}: is of a run folder; compare takes configs of experiments")


def _set_axes(request: Request, entrants: Sequence[Entrant]) -> list[str]:
    """--set and the space, or the protocol, must not both decide a key."""
    keys = sorted({key for entrant in entrants for key, _ in entrant.tuner.sets if not entrant.recipe})
    searched = {key for entrant in entrants for key in entrant.axes.keys}
    seed = ["--set seed: final seeds are 1 to K, and trials have another one"] if "seed" in keys else []
    return seed + [
        f"--set {key}: it is searched ({request.space or SHIPPED}); --space FILE with a copy of that file "
        "without it fixes it, --trials 0 searches nothing"
        for key in keys
        if {key, RENAMED.get(key)} & searched
    ]


def _differing(entrants: Sequence[Entrant]) -> list[str]:
    """What has to be the same for all that is ranked, and is not."""
    ranked = [entrant for entrant in entrants if not entrant.recipe]
    problems = []
    for key in SAME_FOR_ALL:
        values = {entrant.expid: _shared_value(entrant.base.experiment, key) for entrant in ranked}
        values = {expid: value for expid, value in values.items() if value is not None}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{value} in {expid}" for expid, value in values.items())
            problems.append(
                f"{key} must be the same for all: it is {listed}; --set {key}=... sets it for all"
            )
    return problems


def _shared_value(experiment: Experiment, key: str) -> Any:
    if key == "monitor":  # AUC and {AUC: 1, logloss: 0} are the same
        weights = experiment.fit.monitor_weights
        return " + ".join(f"{weight:g} {name}" for name, weight in sorted(weights.items()) if weight)
    return getattr(experiment.features if key == "embedding_dim" else experiment.fit, key)


def _unfit(entrants: Sequence[Entrant]) -> list[str]:
    """Configs that the protocol cannot measure."""
    problems = []
    for entrant in entrants:
        experiment = entrant.base.experiment
        if "test" not in experiment.dataset.split_names:
            problems.append(
                f"{experiment.dataset.source}, {experiment.dataset.dataset_id}: no test split: test_data, or "
                "test_size to cut it from train_data; `fuxictr tune` needs none"
            )
        if "AUC" not in experiment.fit.metrics:
            problems.append(f"{entrant.expid}: metrics lacks AUC, which the comparison is about")
    return problems


def _twins(entrants: Sequence[Entrant]) -> list[str]:
    """Recipes that are compared as they stand anyway; with --set, the two differ."""
    compared = {(entrant.expid, entrant.base.digest) for entrant in without_recipes(entrants)}
    return [
        f"--recipe {entrant.expid}: it is compared as it stands already; name it once"
        for entrant in entrants
        if entrant.recipe and (entrant.expid, entrant.base.digest) in compared
    ]


def without_recipes(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Those that are ranked and tested."""
    return [entrant for entrant in entrants if not entrant.recipe]


def notes_on(entrants: Sequence[Entrant]) -> list[str]:
    """What a reader of the results must know about what each model's trials varied."""
    notes = []
    for entrant in without_recipes(entrants):
        if not entrant.axes.values:
            continue
        if not entrant.axes.is_listed:
            notes.append(f"{entrant.model} is not in the space: no axes of its own were searched")
        if entrant.axes.left_out:
            notes.append(f"{entrant.model} has no {', no '.join(entrant.axes.left_out)}")
    return list(dict.fromkeys(notes))  # several configs may share a model
