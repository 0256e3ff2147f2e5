"""What is known of a dataset beside what was found, and whether the two agree."""

from __future__ import annotations

from dataclasses import dataclass

NOT_PUBLISHED = "not published"
LEAST_DECIMALS = 3  # of a published rate, which as a number loses its last zeros


@dataclass(frozen=True)
class Fact:
    """One thing that is known of a dataset, as it should be and as it is.

    Attributes:
        what: such as "rows of train".
        expected: as published; "" where nothing is.
        found: "" where it could not be looked at.
        remark: how the two differ, why they were not compared, or what is to be said though they agree.
        agrees: None where they were not compared.
    """

    what: str
    expected: str
    found: str
    remark: str = ""
    agrees: bool | None = None


@dataclass(frozen=True)
class Checked:
    """All facts of a dataset, and what its config says of known differences."""

    facts: list[Fact]
    note: str | None

    @property
    def as_expected(self) -> bool:
        """Whether all that is known and could be looked at agrees."""
        return not any(fact.agrees is False for fact in self.facts)

    @property
    def summary(self) -> str:
        """How many facts agree, differ and could not be checked."""
        agree, differ = (sum(fact.agrees is verdict for fact in self.facts) for verdict in (True, False))
        unchecked = sum(fact.agrees is None and bool(fact.expected) for fact in self.facts)
        left = f", {unchecked} could not be checked" if unchecked else ""
        return f"{agree} of the known facts agree, {differ} differ{left}"


def compare_counts(what: str, expected: int | None, found: int) -> Fact:
    """Two whole numbers must be the same."""
    if expected is None:
        return Fact(what, "", f"{found:,}", NOT_PUBLISHED)
    remark = "" if found == expected else f"{found - expected:+,}"
    return Fact(what, f"{expected:,}", f"{found:,}", remark, found == expected)


def compare_rates(what: str, expected: float | None, found: float) -> Fact:
    """Two rates must be the same with the decimals of the expected one, as published."""
    if expected is None:
        return Fact(what, "", f"{found:.2%}", NOT_PUBLISHED)
    decimals = max(LEAST_DECIMALS, len(repr(expected).partition(".")[2]))
    agrees = abs(found - expected) <= 0.5 * 10**-decimals + 1e-12
    remark = "" if agrees else f"{100 * (found - expected):+.2f} points"
    return Fact(what, f"{expected:.2%}", f"{found:.2%}", remark, agrees)


def unchecked(what: str, expected: float | None, reason: str) -> list[Fact]:
    """A fact that could not be looked at, if it is known at all."""
    if expected is None:
        return []
    shown = f"{expected:,}" if isinstance(expected, int) else f"{expected:.2%}"
    return [Fact(what, shown, "", f"not checked: {reason}")]
