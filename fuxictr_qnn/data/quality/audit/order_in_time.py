"""Time: does training end before validation and test begin?"""

from __future__ import annotations

from itertools import combinations

from fuxictr_qnn.data.quality.audit.finding import Finding, percent
from fuxictr_qnn.data.quality.audit.gathering import Gathered


def time_ranges(found: Gathered) -> list[Finding]:
    """Splits whose times overlap; nothing where no column tells the time."""
    splits = {name: split.times for name, split in found.splits.items() if split.times}
    timed = {name: times for name, times in splits.items() if times.first is not None}
    findings = []
    for earlier, later in combinations(timed, 2):
        a, b = timed[earlier], timed[later]
        ranges = (
            f"{earlier} from {a.text(a.first)} to {a.text(a.last)}, "
            f"{later} from {b.text(b.first)} to {b.text(b.last)}"
        )
        numbers = {earlier: [a.first, a.last], later: [b.first, b.last]}
        if a.last <= b.first:
            findings.append(Finding("time", "ok", f"{found.data.time}: {ranges}: no overlap", numbers))
            continue
        share = a.share_after(b.first)
        numbers["share_after"] = share
        sentence = (
            f"{found.data.time}: {ranges}: about {percent(share)} of {earlier} happened after {later} "
            f"began, so results on {later} use the future; split by time to know what days to come bring"
        )
        findings.append(Finding("time", "warning", sentence, numbers))
    return findings
