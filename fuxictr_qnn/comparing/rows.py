"""From final runs to the rows of the table, and to what is fixed before a test split is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fuxictr_qnn.comparing.final import Config, Final
from fuxictr_qnn.comparing.folder import now
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.reporting.comparison import choose_comparator
from fuxictr_qnn.reporting.entries import Entry
from fuxictr_qnn.runs.finding import read_run


def entries_of(finals: Sequence[Final]) -> list[Entry]:
    """A row a config that has a complete run; failed seeds stand in it with their reason.

    Raises:
        RequestError: run folders that were edited by hand.
    """
    problems: list[str] = []
    by_config: dict[Config, list[Final]] = {}
    for final in finals:
        by_config.setdefault(final.config, []).append(final)
    entries = []
    for config, group in by_config.items():
        runs = [read_run(final.path) for final in group if final.metrics is not None]
        problems += [run for run in runs if isinstance(run, str)]
        failed = {final.seed: final.failure for final in group if final.failure is not None}
        if runs and not problems:
            entrant = config.entrant
            entries.append(Entry(config.label, tuple(runs), entrant.recipe, failed, entrant.proposed))
    if problems:
        raise RequestError(problems)
    return entries


def without_result(finals: Sequence[Final]) -> list[str]:
    """A sentence about each config of which every seed failed."""
    by_config: dict[Config, list[Final]] = {}
    for final in finals:
        by_config.setdefault(final.config, []).append(final)
    return [
        f"{config.label} has no row, every seed failed: {group[0].failure}"
        for config, group in by_config.items()
        if all(final.metrics is None for final in group)
    ]


def choice_of(
    finals: Sequence[Final], facts: dict[str, dict[str, Any]], lost: Sequence[str] = ()
) -> dict[str, Any]:
    """What chosen.yaml holds: the comparator, the best proposed model, and every config, by validation alone.

    Args:
        facts: label -> what is known of how its config was found.
        lost: a sentence about each model that has no config.

    Raises:
        RunError: no config has a result.
    """
    entries = entries_of(finals)
    comparator = choose_comparator(entries)
    if comparator is None:
        raise RunError("\n".join(["no final run has a result:", *lost, *without_result(finals)]))
    ranked = [entry for entry in entries if not entry.recipe]
    others = [entry for entry in ranked if not entry.is_baseline and entry is not comparator]
    proposed = max(others, key=lambda entry: entry.spread("valid", "AUC").mean, default=None)
    trained = {entry.label: entry for entry in entries}
    return {
        "when": now(),
        "comparator": comparator.label,
        "proposed": proposed.label if proposed else None,
        "configs": {
            config.label: {
                "config_digest": config.trial.digest,
                **facts.get(config.label, {}),
                "seeds": entry.seeds if entry else [],
                "valid_AUC": entry.values("valid", "AUC") if entry else [],
            }
            for config in dict.fromkeys(final.config for final in finals)
            for entry in [trained.get(config.label)]
        },
    }
