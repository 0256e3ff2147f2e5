"""Which published figure stands beside an entry, and whether the entry reproduces it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Literal

from fuxictr_qnn.data.download.checksum import md5_of
from fuxictr_qnn.data.fingerprint import ContentHashes, fingerprint
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.raw.inputs import Inputs
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models.registry import ALIASES
from fuxictr_qnn.reporting.published import Figure, Published, load_published, same

AUC_WITHIN = 0.001
AUC_WITHIN_OF = {"criteo": 0.0003, "avazu": 0.0003}  # by how the dataset's name begins
LOGLOSS_WITHIN = 0.01  # of the published value
SELF_ENSEMBLED = "QNNalpha"  # models whose name begins so train with that loss unless told otherwise
STRUCTURE = {  # settings that make a model another one; whatever else is set only trains it
    *("num_layers", "num_row", "num_heads", "activation", "residual", "khatri_rao", "self_ensemble"),
    *("consistency", "neuron_type", "hidden_activations", "network", "attention", "attention_dropout"),
    *("num_cross_layers", "cin_hidden_units"),
}
WHOLE = {
    "residual": True,
    "khatri_rao": True,
    "activation": "relu",
    "consistency": "se",
}  # unless a figure says

Verdict = Literal["reproduced", "AUC reproduced", "not reproduced", "data differ"]


def figure_beside(
    dataset_id: str, expid: str, model: str, settings: Mapping[str, Any], published: Published | None = None
) -> Figure | None:
    """The published test AUC to show beside a model with these settings, None where there is none.

    Only figures whose variant the settings have, with the same parts and a loss of the same kind. Of several
    the one that contradicts the settings least; of those, that of this expid, else the one that agrees with
    most settings and is highest.
    """
    published = published or load_published()

    def fits(figure: Figure) -> bool:
        return (
            "AUC" in figure.values
            and "AUC" not in figure.read_off
            and dataset_id in _names(published, figure.dataset)
            and figure.model == ALIASES.get(model, model)
            and _is_self_ensembled(model, settings) == _is_self_ensembled(model, figure.variant)
            and _ablated(model, settings) == _ablated(model, figure.variant)
            and all(
                key == "self_ensemble" or (key in settings and same(settings[key], value))
                for key, value in figure.variant.items()
            )
        )

    def preference(figure: Figure) -> tuple:
        said = {**figure.settings, **figure.variant}
        told = [same(settings[key], said[key]) for key in STRUCTURE if key in said and key in settings]
        own = figure.is_of(expid)
        return -told.count(False), own, told.count(True), figure.values["AUC"]

    return max(filter(fits, published.figures), key=preference, default=None)


def is_published_recipe(expid: str, config_digest: str) -> bool:
    """Whether a config is one of the model_zoo that a figure was published for, unchanged."""
    return load_published().names(expid) and _installed_digest(expid) == config_digest


@cache
def _installed_digest(expid: str) -> str | None:
    """None where the model_zoo has no such config, as of a parity twin that somebody made."""
    from fuxictr_qnn.config.load import load_experiment  # imports torch, for the models' defaults

    try:
        return load_experiment(expid).experiment.digest
    except RequestError:
        return None


def verdict(
    figure: Figure,
    dataset_id: str,
    data_fingerprint: str,
    auc: float,
    logloss: float | None,
    published_data: Collection[str] = (),
) -> Verdict:
    """Whether AUC and logloss on this data are the published ones, by what both have.

    Args:
        auc, logloss: the means over the seeds.
        published_data: fingerprints of the published data, beside those in published.yaml.
    """
    data = load_published().data.get(figure.dataset)
    known = {*published_data, *(data.fingerprints if data else ())}
    if figure.data is not None or data_fingerprint not in known:
        return "data differ"
    within = next((x for name, x in AUC_WITHIN_OF.items() if dataset_id.startswith(name)), AUC_WITHIN)
    wanted = figure.values.get("logloss")
    if abs(auc - figure.values["AUC"]) > within:
        return "not reproduced"
    if wanted is None or logloss is None:  # nothing says that it is further away
        return "AUC reproduced"
    return "reproduced" if abs(logloss - wanted) <= LOGLOSS_WITHIN * wanted else "not reproduced"


def published_fingerprints(
    dataset_id: str, places: Places, log: Callable[[str], None] = lambda message: None
) -> set[str]:
    """The fingerprint of the published data, found from files here whose md5 are the published ones.

    Empty where no figures are published on this build, files are missing, or an md5 is unknown or another.
    """
    from fuxictr_qnn.config.dataset import load_dataset

    builds = {data.build for data in load_published().data.values()}
    if dataset_id not in builds:
        return set()
    spec = load_dataset(dataset_id).spec
    try:
        inputs = Inputs.find(spec, places)
    except RequestError:
        return set()
    expected = spec.expected.md5 if spec.expected else {}
    for split, files in inputs.splits.items():
        path = spec.split_paths[split]
        md5 = next((value for name, value in expected.items() if path.endswith(f"/{name}")), None)
        if md5 is None or len(files) != 1:
            return set()
        log(f"reading {files[0]} for its md5")
        if md5_of(files[0]) != md5:
            return set()
    root = (places.build_dir or places.data_root).absolute() / dataset_id
    return {fingerprint(spec, inputs.contents(ContentHashes(root)))}


def _names(published: Published, dataset: str) -> set[str | None]:
    """A dataset, and the one of our configs that builds it as it was."""
    data = published.data.get(dataset)
    return {dataset, data.build if data else None}


def _is_self_ensembled(model: str, settings: Mapping[str, Any]) -> bool:
    told = settings.get("self_ensemble")
    return ALIASES.get(model, model).startswith(SELF_ENSEMBLED) if told is None else told


def _ablated(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of QNN-alpha that are not as the paper proposes them."""
    if not ALIASES.get(model, model).startswith(SELF_ENSEMBLED):
        return {}
    return {
        key: settings[key]
        for key, whole in WHOLE.items()
        if key in settings and not same(settings[key], whole)
    }
