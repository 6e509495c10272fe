"""The outcome of fusion: evidence with weights, hypotheses, and the verdict reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from assay.findings import Claim, Grid, Kind, ModelRef, Question, Series, Strength, Where

__all__ = [
    "Conflict",
    "Decision",
    "Evidence",
    "Hypothesis",
    "Interval",
    "Outcome",
    "Scope",
    "Sensitivity",
    "Verdict",
]


class Verdict(StrEnum):
    """The final answer. Everything but ``AUTHENTIC`` says less than it may seem: read on."""

    AUTHENTIC = "authentic"  # positive evidence of authenticity, not mere absence of traces
    INCONCLUSIVE = "inconclusive"
    SUSPICIOUS = "suspicious"
    MANIPULATED = "manipulated"
    SYNTHETIC = "synthetic"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Bounds of a probability, 0..1."""

    low: float
    high: float


class Sensitivity(StrEnum):
    """From which operating point of a network an item is flagged."""

    STANDARD = "standard"  # 1 % of authentic items
    HIGH = "high"  # 5 %; between the two points an item is suspicious, never more


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How the verdict was reached.

    ``stated_fpr``: share of authentic items of unseen sources expected to be flagged by
    the tests that ran: called manipulated or synthetic, or with ``high`` sensitivity at
    least suspicious; ``stated_fnr``: share of the fakes of the validation data that those
    tests miss. ``None`` when no calibrated test ran, or the rate was not measured.
    """

    policy: str
    stated_fpr: float | None
    stated_fnr: float | None
    sensitivity: Sensitivity = Sensitivity.STANDARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """``ood_score``: share of known authentic items that are nearer to other known ones than
    this item is, in 0..1; ``None`` where no test measures it."""

    in_scope: bool
    ood_score: float | None = None
    quality_flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One way of not being authentic: its prior share, whether tested, and the pooled
    natural-log likelihood ratio against authenticity (0 when untested)."""

    question: Question
    tested: bool
    share: float
    llr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A finding as it entered the verdict.

    ``raw_score`` is the analyzer's own number, ``llr`` the calibrated natural-log
    likelihood ratio (``None``: shown, but without weight). ``analyzer`` said it.
    """

    id: str
    analyzer: str
    code: str
    kind: Kind
    claim: Claim
    because: str
    strength: Strength = Strength.NONE
    question: Question | None = None
    group: str = ""
    raw_score: float | None = None
    curve: str | None = None
    llr: float | None = None
    where: Where = field(default_factory=Where)
    model: ModelRef | None = None
    limits: tuple[str, ...] = ()
    grid: Grid | None = None
    series: Series | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Evidence that cannot all be right, by id; shown, never averaged away."""

    between: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What :func:`assay.fusion.fuse` returns; the report copies it field by field."""

    verdict: Verdict
    headline: str
    probability: float | None
    interval: Interval | None
    prior: float
    decision: Decision
    reasons: tuple[str, ...]
    scope: Scope
    hypotheses: tuple[Hypothesis, ...]
    evidence: tuple[Evidence, ...]
    conflicts: tuple[Conflict, ...]
