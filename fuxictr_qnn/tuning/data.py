"""The data of a sweep: each variant of the dataset is built once, before the trials that read it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from fuxictr_qnn.data import BuiltDataset, Places, find_build, open_dataset, open_encoded
from fuxictr_qnn.tuning.space import Trial

logger = logging.getLogger("fuxictr_qnn")


@dataclass
class SweepData:
    """Builds and finds the data that trials read.

    Args:
        data_root, build_dir: as in `Places`.
    """

    data_root: Path
    build_dir: Path | None = None
    _built: dict[str, BuiltDataset] = field(default_factory=dict)
    _found: dict[str, str] = field(default_factory=dict)

    def places(self, trial: Trial) -> Places:
        return Places(data_root=self.data_root, build_dir=self.build_dir, config_dir=trial.config_dir)

    def ready(self, trial: Trial) -> str:
        """The fingerprint of the trial's data, which is built now if it was not yet.

        Raises:
            RequestError: the data is wrong, or no training can use it. RunError: building it failed.
        """
        from fuxictr_qnn.training.run import check_splits

        key = trial.dataset.model_dump_json()
        if key not in self._built:
            task = trial.experiment.fit.task
            built = open_dataset(trial.dataset, self.places(trial), task=task, log=logger.info)
            for warning in built.warnings:
                logger.warning(warning)
            self._built[key] = built
        check_splits(trial.experiment, self._built[key])
        return self._built[key].fingerprint

    def found(self, trial: Trial) -> str | None:
        """The fingerprint of the trial's data if it is built; writes nothing.

        Raises:
            RequestError: files are missing.
        """
        key = trial.dataset.model_dump_json()
        if key not in self._found and (fingerprint := self._find(trial)) is not None:
            self._found[key] = fingerprint
        return self._found.get(key)

    def _find(self, trial: Trial) -> str | None:
        places = self.places(trial)
        feature_map = find_build(trial.dataset, places)
        if feature_map is None:
            return None
        if trial.dataset.is_encoded:
            return open_encoded(trial.dataset, places).fingerprint
        return feature_map.parent.name.removeprefix("built-")
