"""From the name of an experiment to one validated object. Every problem found is reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from fuxictr_qnn.config.checks import check_feature_use, check_fit
from fuxictr_qnn.config.dataset import checked_spec
from fuxictr_qnn.config.keys import DATASET_KEYS, FEATURE_KEYS, FIT_KEYS, OTHER_KEYS, translate
from fuxictr_qnn.config.merging import Setting, Settings, layers_of, merge, override, parse_overrides
from fuxictr_qnn.config.model_params import check_model_params
from fuxictr_qnn.config.problems import validated
from fuxictr_qnn.config.sources import UNSET, Entry, find_dataset, read_expids
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.models.registry import constructor_keys, model_class
from fuxictr_qnn.runs.saved import check_start
from fuxictr_qnn.training.experiment import Experiment, FeatureUse
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.starting_point import StartingPoint, starting_point

DEFAULT_EXPID = "QNNalpha_demo"
DEFAULT_SEED = 2024
SEEDS = range(2**32)  # what NumPy takes
EXPECTED_SEED = "a whole number from 0 to 2**32 - 1"


class Loaded(NamedTuple):
    """An experiment as a config describes it, and what the user should know about how it was read."""

    experiment: Experiment
    seed: int
    notes: list[str]
    config_dir: Path


def load_experiment(
    expid: str | None = None,
    config: Path | None = None,
    overrides: Iterable[str] = (),
    zoo: Path | None = None,
) -> Loaded:
    """Read, merge and validate the config of one experiment.

    Args:
        expid: its name; may be left out where the config holds only one (or is the installed one).
        config: a FuxiCTR config directory, a YAML file like model_config.yaml, or the config.yaml of
            a run folder. Default: the installed model_zoo and data_configs.
        overrides: `KEY=VALUE` texts, stronger than the files.
        zoo: a FuxiCTR checkout whose models come before ours.

    Raises:
        RequestError: with every problem found, not only the first.
    """
    problems: list[str] = []
    pairs = parse_overrides(overrides, problems)
    try:
        entry = _find_expid(expid, config)
    except RequestError as error:
        problems += error.problems
    if problems:  # without these nothing can be said of the rest
        raise RequestError(problems)
    return resolved(entry, _merged(entry, pairs, problems), zoo, problems)


def resolved(entry: Entry, written: Settings, zoo: Path | None, problems: list[str]) -> Loaded:
    """One validated experiment from settings as they were written.

    Args:
        entry: what the experiment is called, and where messages say that it stands.
        written: of the experiment and its dataset, merged.
        problems: found so far.

    Raises:
        RequestError: these problems and all that are found here.
    """
    model = _text(written, "model", entry, problems)
    cls = class_of(model, written, zoo, problems) if model else None
    settings, notes = translate(written, constructor_keys(cls)[0] if cls else ())
    fit, dataset, features, params = _parts(settings)

    seed = _seed(settings, problems)
    init_from = _init_from(settings, problems)
    known = "dataset_id" in dataset
    spec = checked_spec(dataset, _dataset_file(settings, entry), problems) if known else None
    check_fit(fit, spec, problems)
    check_feature_use(features, problems)
    model_params = check_model_params(model, cls, params, features, problems, notes) if cls else {}
    fit_settings = validated(FitSettings, fit, problems)
    use = validated(FeatureUse, features, problems)
    if problems or spec is None or fit_settings is None or use is None:
        raise RequestError(problems)
    experiment = Experiment(
        expid=entry.name,
        model=model,
        model_params=model_params,
        features=use,
        fit=fit_settings,
        dataset=spec,
        init_from=init_from,
    )
    return Loaded(experiment, seed, notes, entry.folder)


def settings_of(expid: str | None, config: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """The merged settings of an experiment as they were written, before any check."""
    return _merged(_find_expid(expid, config), parse_overrides(overrides, []), [])


def _find_expid(expid: str | None, config: Path | None) -> Entry:
    known = read_expids(config)
    if expid is None:
        expid = next(iter(known)) if len(known) == 1 else DEFAULT_EXPID
    if expid not in known:
        where = config or "the installed model_zoo"
        some = nearest(expid, known) or f" The first are {', '.join(list(known)[:5])}."
        raise RequestError(
            f"--expid {expid}: no such experiment in {where}.{some} "
            f"`fuxictr list expids{f' --config {config}' if config else ''}` shows all {len(known)}"
        )
    return known[expid]


def _merged(entry: Entry, pairs: list[tuple[str, Any]], problems: list[str]) -> Settings:
    """Base < expid < dataset < --set. The dataset is the one that the stronger layers name."""
    written = override(merge(layers_of(entry)), pairs, problems)
    if entry.dataset_file:
        return written
    dataset_id = _text(written, "dataset_id", entry, problems)
    if dataset_id is None:
        return {key: setting for key, setting in written.items() if key != "dataset_id"}
    try:
        dataset = find_dataset(dataset_id, entry.folder)
    except RequestError as error:
        problems += [f"{written['dataset_id'].origin}: {problem}" for problem in error.problems]
        return {key: setting for key, setting in written.items() if key != "dataset_id"}
    layers = [*layers_of(entry), *layers_of(dataset)]
    named = {"dataset_id": Setting(dataset_id, f"{dataset.file}, {dataset_id}")}
    return override(merge(layers), pairs, problems) | named


def _parts(settings: Settings) -> tuple[Settings, Settings, Settings, Settings]:
    """The settings of the fit loop, of the dataset, of the features' use, and the rest: the model's."""

    def those(keys: Iterable[str]) -> Settings:
        return {key: setting for key, setting in settings.items() if key in keys}

    known = FIT_KEYS | DATASET_KEYS | FEATURE_KEYS | OTHER_KEYS
    rest = {key: setting for key, setting in settings.items() if key not in known}
    return those(FIT_KEYS), those(DATASET_KEYS), those(FEATURE_KEYS), rest


def class_of(name: str, written: Settings, zoo: Path | None, problems: list[str]) -> type | None:
    """The class of a model with these settings; None, and one more problem, where there is none."""
    try:
        return model_class(name, written, zoo)
    except RequestError as error:
        problems += [f"{written['model'].origin}: {problem}" for problem in error.problems]
        return None


def _seed(settings: Settings, problems: list[str]) -> int:
    seed = settings.get("seed", Setting(DEFAULT_SEED, "default"))
    if isinstance(seed.value, bool) or not isinstance(seed.value, int) or seed.value not in SEEDS:
        problems.append(f"{seed.origin}: seed = {seed.value!r}: expected {EXPECTED_SEED}")
        return DEFAULT_SEED
    return seed.value


def _init_from(settings: Settings, problems: list[str]) -> StartingPoint | None:
    setting = settings.get("init_from")
    if setting is None or setting.value is None:
        return None
    try:
        start = starting_point(setting.value)
        if isinstance(setting.value, str) or not setting.value.get("fingerprint"):
            check_start(Path(start.weights))
        return start
    except RequestError as error:
        said = (text if text.startswith("init_from") else f"init_from: {text}" for text in error.problems)
        problems += [f"{setting.origin}: {text}" for text in said]
        return None


def _text(settings: Settings, key: str, entry: Entry, problems: list[str]) -> str | None:
    setting = settings.get(key)
    if setting is None or setting.value in UNSET:
        problems.append(f"{entry.file}, {entry.name}: {key} is not set; `--set {key}=NAME` does it, too")
        return None
    return str(setting.value)


def _dataset_file(settings: Settings, entry: Entry) -> str:
    return str(entry.dataset_file or settings["dataset_id"].origin.partition(", ")[0])
