"""What could turn the answer: derived from what was missing, weak or contradictory."""

from __future__ import annotations

import math

from assay.findings import Claim, Kind, Strength
from assay.fusion.outcome import Verdict
from assay.report.document import Report
from assay.report.wording import QUESTIONS, percent

__all__ = ["at_prior", "would_change"]


def at_prior(report: Report, prior: float) -> tuple[float, float, float] | None:
    """Probability with lower and upper bound, had the base rate been ``prior``.

    ``odds = prior / (1 - prior) * sum(share * exp(llr))`` over the hypotheses; the bounds
    keep their ratio to the odds of the stated prior. ``None`` without a probability.
    """
    if report.probability is None or not report.hypotheses:
        return None
    ratio = sum(h.share * math.exp(min(h.llr, 200.0)) for h in report.hypotheses)
    ratio = min(1e100, max(0.0, ratio))  # a stored report may hold any number
    low = high = ratio
    if report.interval is not None:
        own = _odds(report.prior)
        low, high = _odds(report.interval.low) / own, _odds(report.interval.high) / own
    odds = _odds(prior)
    point, lower, upper = (odds * r / (1 + odds * r) for r in (ratio, low, high))
    return point, lower, upper


def _odds(probability: float) -> float:
    bounded = min(1 - 1e-12, max(1e-12, probability))
    return bounded / (1 - bounded)


def would_change(report: Report) -> list[str]:
    """Plain sentences, the most telling first."""
    said = []
    if report.conflicts:
        said.append(
            "Finding out which side of a conflict is wrong: ask whoever published the file how "
            "it was made and handled."
        )
    state = report.provenance.c2pa_state
    if report.verdict is not Verdict.AUTHENTIC and state != "trusted":
        said.append(
            "The original file from the device, best with Content Credentials of a signer on "
            "the trust list. What is passed on by messengers and networks has lost most traces."
        )
    against = (Claim.MANIPULATED, Claim.SYNTHETIC)
    if any(
        e.kind is Kind.PROVENANCE and e.claim in against and e.strength is not Strength.NONE
        for e in report.evidence
    ):
        said.append(
            "Proof that a declaration in the file was planted, for instance an earlier copy "
            "without it."
        )
    if any(e.claim in against and (e.llr or 0) > 0 for e in report.evidence):
        said.append(
            "An earlier or better copy, or another recording of the same event, in which the "
            "marked places look different."
        )
    # "no_face" and the like are no lack of quality.
    poor = [flag for flag in report.scope.quality_flags if not flag.startswith("no_")]
    if poor or (not report.scope.in_scope and report.probability is not None):
        said.append("A copy of better quality: larger, less compressed, longer or clearer.")
    untested = [QUESTIONS[h.question] for h in report.hypotheses if not h.tested]
    if untested:
        said.append(f"Tests of what was not tested here: {', '.join(untested)}.")
    rare = at_prior(report, 0.01)
    if rare is not None and report.prior > 0.01:
        said.append(
            "Another base rate. If only 1 in 100 such files were not authentic, the probability "
            f"would be {percent(rare[0])} instead of {percent(report.probability or 0)}."
        )
    if report.verdict is Verdict.AUTHENTIC:
        said.append(
            "Evidence from outside the file: that the scene was staged, or that the recording "
            "is from another place or day. No test here looks at that."
        )
    return said
