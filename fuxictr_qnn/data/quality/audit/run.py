"""The audit: one pass over the data, then a table of checks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.quality.audit import duplicates, ids, labels, leaks, order_in_time, shift
from fuxictr_qnn.data.quality.audit.finding import SEVERITIES, Finding
from fuxictr_qnn.data.quality.audit.gathering import Gathered, gather
from fuxictr_qnn.data.quality.audit.opening import open_rows
from fuxictr_qnn.data.simulated.simulation import write_simulated
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError

SAMPLE = 200_000  # rows of each split: an AUC of so many has a standard error of 0.001 to 0.003

CHECKS: tuple[Callable[[Gathered], list[Finding]], ...] = (
    labels.labels_there,
    labels.infinite_numbers,
    duplicates.shared_rows,
    leaks.single_features,
    order_in_time.time_ranges,
    duplicates.copies,
    ids.unseen,
    ids.missing,
    shift.shift,
    labels.positive_rates,
    ids.shared_users,
    duplicates.conflicts,
    ids.constant,
    ids.constant_in_user,
)


@dataclass(frozen=True)
class Audit:
    """What was found, worst first, and on how much it stands.

    Attributes:
        rows: of each split, all of them read.
        sampled: rows of each split in the samples (numeric features, shift, chance of equal rows).
    """

    dataset_id: str
    findings: list[Finding]
    rows: dict[str, int]
    sampled: dict[str, int]
    seconds: float

    @property
    def is_severe(self) -> bool:
        return any(finding.severity == "severe" for finding in self.findings)

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """The findings as (severity, check, sentence).

        What was looked for in vain is one line a check, and splits of which the same is true stand together.
        """
        lines = [(one.severity, one.check, one.sentence) for one in self.findings if one.severity != "ok"]
        fine: dict[str, dict[str, list[str]]] = {}  # check -> sentence -> splits
        for finding in self.findings:
            if finding.severity == "ok":
                split, _, rest = finding.sentence.partition(": ")
                sentence, of = (rest, [split]) if split in self.rows else (finding.sentence, [])
                fine.setdefault(finding.check, {}).setdefault(sentence, []).extend(of)
        for check, sentences in fine.items():
            said = [f"{', '.join(of)}: {text}" if of else text for text, of in sentences.items()]
            lines.append(("ok", check, "; ".join(said)))
        return lines

    @property
    def extent(self) -> str:
        """One line: rows, samples, seconds."""
        rows = " / ".join(f"{count:,} {split}" for split, count in self.rows.items())
        sampled = " / ".join(f"{count:,}" for count in self.sampled.values())
        return (
            f"all rows read ({rows}); shift and sizes of numbers on random samples of {sampled} rows; "
            f"{self.seconds:.1f} s"
        )

    @property
    def summary(self) -> str:
        """One line: how many findings of each severity."""
        severe, warnings, notes, fine = (
            sum(finding.severity == severity for finding in self.findings) for severity in SEVERITIES
        )
        several = {count: "" if count == 1 else "s" for count in (warnings, notes)}
        return (
            f"{self.dataset_id}: {severe} severe, {warnings} warning{several[warnings]}, "
            f"{notes} note{several[notes]}, {fine} ok"
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON: what is not defined (an AUC of one class) is None."""
        return _without_nan(
            {
                "dataset_id": self.dataset_id,
                "severe": self.is_severe,
                "rows": self.rows,
                "sampled": self.sampled,
                "seconds": round(self.seconds, 3),
                "findings": [finding.as_dict() for finding in self.findings],
            }
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def audit(
    spec: DatasetSpec,
    places: Places,
    *,
    sample: int = SAMPLE,
    time_column: str | None = None,
    log: Log = print,
) -> Audit:
    """Look for what spoils results: equal rows, leaks of the label, unknown ids, shift and more.

    Trains no network and writes nothing (but simulated data on its first use). Labels of test are read to
    judge the data, not to choose anything.

    Args:
        sample: rows of each split for the checks that do not look at all of them.
        time_column: when a row happened: numbers, dates or texts of dates.
        log: gets a line for every split.

    Raises:
        RequestError: the request is wrong, or files or columns are missing, damaged or do not parse.
    """
    started = time.perf_counter()
    if sample < 2:
        raise RequestError(f"--sample {sample}: expected at least 2 rows")
    if spec.generator:
        spec = write_simulated(spec, places, log)
    found = gather(open_rows(spec, places, time_column), sample, log)
    findings = [finding for check in CHECKS for finding in check(found)]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(
        spec.dataset_id,
        findings,
        {name: split.rows for name, split in found.splits.items()},
        {name: len(split.sample) for name, split in found.splits.items()},
        time.perf_counter() - started,
    )
