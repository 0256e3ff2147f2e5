"""Whether data can be trusted: what spoils results, found before anything is trained."""

from fuxictr_qnn.data.quality.audit.finding import SEVERITIES, Finding
from fuxictr_qnn.data.quality.audit.run import SAMPLE, Audit, audit

__all__ = ["SAMPLE", "SEVERITIES", "Audit", "Finding", "audit"]
