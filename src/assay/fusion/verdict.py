"""The policy that turns weighed evidence into one verdict, in words that hold.

Policy ``assay-1``, first rule that applies:

1. A decisive fact settles it, unless decisive facts or a flagged network contradict it
   (then ``inconclusive``, with the conflict).
2. A strong fact against authenticity gives its verdict: the file says so itself. It may
   have been planted, which the headline says.
3. A network at or above its 1 % false-positive point gives ``manipulated`` or
   ``synthetic`` when the probability is at least one half, else ``suspicious``.
4. A probability of at least .75, or a strong fact short of a verdict, is ``suspicious``;
   with ``high`` sensitivity also a network at or above its 5 % point.
5. ``authentic`` needs every applicable question tested, every network in its low band,
   and a probability of at most .10.
6. Otherwise ``inconclusive``; with no calibrated test and no fact, ``not_applicable``.

Structural traces without an operating point can raise suspicion but never convict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.findings import Claim, Kind, NotApplicable, Question, Strength
from assay.fusion.outcome import (
    Conflict,
    Decision,
    Evidence,
    Hypothesis,
    Sensitivity,
    Verdict,
)
from assay.models import OperatingPoints, card

__all__ = ["POLICY", "Ruling", "conflicts_in", "decide"]

POLICY = "assay-1"
_SUSPICIOUS = 0.75
_CONVICT = 0.5
_AUTHENTIC = 0.10
_CLEAR = 1.0  # nats: a ratio beyond e is worth contrasting with a fact

_WHAT: Mapping[Question, str] = {
    Question.FACE_MANIPULATION: "a manipulated or generated face",
    Question.GENERATED_IMAGE: "a picture or film made by a generator",
    Question.LOCAL_EDIT: "an edited part of the picture",
    Question.SYNTHETIC_SPEECH: "a synthetic or cloned voice",
    Question.AUDIO_EDIT: "cut or joined sound",
    Question.VIDEO_EDIT: "edited video",
}
_SYNTHETIC = frozenset({Question.GENERATED_IMAGE, Question.SYNTHETIC_SPEECH})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    verdict: Verdict
    headline: str
    reasons: tuple[str, ...]
    decision: Decision


def conflicts_in(evidence: Sequence[Evidence]) -> tuple[Conflict, ...]:
    """Evidence that cannot all be right."""
    found = []
    facts = [e for e in evidence if e.strength in (Strength.STRONG, Strength.DECISIVE)]
    against = [e for e in facts if e.claim in (Claim.MANIPULATED, Claim.SYNTHETIC)]
    for fact in (e for e in facts if e.claim is Claim.AUTHENTIC):
        for other in against:
            found.append(
                Conflict(
                    between=(fact.id, other.id),
                    because="Two statements about the origin of the file contradict each other.",
                )
            )
        for other in evidence:
            if _flagged(other):
                found.append(
                    Conflict(
                        between=(fact.id, other.id),
                        because="The stated origin speaks for a capture, but a trained network "
                        "sees signs of a fake.",
                    )
                )
    for fact in against:
        for other in evidence:
            if (
                fact.claim is Claim.SYNTHETIC
                and other.kind is Kind.MODEL
                and other.question in _SYNTHETIC
                and other.llr is not None
                and other.llr <= -_CLEAR
            ):
                found.append(
                    Conflict(
                        between=(fact.id, other.id),
                        because="The file is declared to be generated, but a trained network "
                        "finds nothing unusual. The declaration may be planted, or the network "
                        "may not know this generator.",
                    )
                )
    by_question: dict[Question, list[Evidence]] = {}
    for item in evidence:
        if item.question is not None and item.llr is not None:
            by_question.setdefault(item.question, []).append(item)
    for items in by_question.values():
        for high in items:
            for low in items:
                if high.group != low.group and (high.llr or 0) >= 2 and (low.llr or 0) <= -2:
                    found.append(
                        Conflict(
                            between=(high.id, low.id),
                            because="Two independent tests of the same question disagree.",
                        )
                    )
    return tuple(found)


def decide(
    evidence: Sequence[Evidence],
    hypotheses: Sequence[Hypothesis],
    refusals: Sequence[NotApplicable],
    conflicts: Sequence[Conflict],
    probability: float | None,
    sensitivity: Sensitivity = Sensitivity.STANDARD,
) -> Ruling:
    """Apply the policy of this module."""
    verdict, headline, reasons = _rule(
        evidence, hypotheses, refusals, conflicts, probability, sensitivity
    )
    reasons += [f"Not tested: {_WHAT[h.question]}." for h in hypotheses if not h.tested]
    return Ruling(
        verdict=verdict,
        headline=headline,
        reasons=tuple(dict.fromkeys(reasons)),
        decision=_error_rates(evidence, hypotheses, sensitivity),
    )


def _rule(
    evidence: Sequence[Evidence],
    hypotheses: Sequence[Hypothesis],
    refusals: Sequence[NotApplicable],
    conflicts: Sequence[Conflict],
    probability: float | None,
    sensitivity: Sensitivity,
) -> tuple[Verdict, str, list[str]]:
    decisive = [e for e in evidence if e.strength is Strength.DECISIVE]
    strong = [e for e in evidence if e.strength is Strength.STRONG]
    flagged = [e for e in evidence if _flagged(e)]
    conflicting = {i for c in conflicts for i in c.between}

    verdicts = {e.claim for e in decisive if e.claim is not Claim.NEUTRAL}
    if verdicts:
        reasons = [e.because for e in decisive]
        if len(verdicts) > 1 or (
            verdicts == {Claim.AUTHENTIC} and any(e.id in conflicting for e in decisive)
        ):
            return (
                Verdict.INCONCLUSIVE,
                "The evidence contradicts itself; a person has to decide.",
                [*reasons, *(c.because for c in conflicts)],
            )
        claim = next(iter(verdicts))
        words = {
            Claim.AUTHENTIC: "A valid signature of a trusted signer says that this is a capture "
            "and that it was not changed since.",
            Claim.SYNTHETIC: "A valid signature of a trusted signer says that this was generated.",
            Claim.MANIPULATED: "A valid signature of a trusted signer says that this was altered "
            "by a generator.",
        }
        return Verdict(claim.value), words[claim], reasons

    for claim in (Claim.SYNTHETIC, Claim.MANIPULATED):
        declared = [e for e in strong if e.claim is claim and e.kind is Kind.PROVENANCE]
        if declared and all(e.code == "credentials.changed" for e in declared):
            return (
                Verdict.MANIPULATED,
                "The content is not what a trusted signer signed; it was changed since.",
                [e.because for e in declared],
            )
        if declared:
            word = "generated" if claim is Claim.SYNTHETIC else "altered"
            return (
                Verdict(claim.value),
                f"The file itself declares that it was {word}. No trusted signature protects "
                "that statement.",
                [e.because for e in declared],
            )

    if flagged and probability is not None:
        leading = max(
            (h for h in hypotheses if any(e.question is h.question for e in flagged)),
            key=lambda h: (h.llr, h.share),
        )
        reasons = [e.because for e in flagged]
        if probability >= _CONVICT:
            verdict = Verdict.SYNTHETIC if leading.question in _SYNTHETIC else Verdict.MANIPULATED
            return verdict, f"Strong signs of {_WHAT[leading.question]}.", reasons
        return (
            Verdict.SUSPICIOUS,
            f"Signs of {_WHAT[leading.question]}, not enough for a verdict.",
            reasons,
        )

    doubts = [e for e in strong if e.claim in (Claim.MANIPULATED, Claim.SYNTHETIC)]
    if sensitivity is Sensitivity.HIGH:
        doubts += [e for e in evidence if _flagged(e, sensitivity)]
    if doubts or (probability is not None and probability >= _SUSPICIOUS):
        leading_doubts = doubts or [e for e in evidence if (e.llr or 0) >= _CLEAR]
        return (
            Verdict.SUSPICIOUS,
            "There are signs that need a closer look, not enough for a verdict.",
            [e.because for e in leading_doubts],
        )

    if probability is None:
        reasons = [r.reason for r in refusals if r.question is not None]
        if strong:
            return (
                Verdict.INCONCLUSIVE,
                "The file makes statements about its origin, but no test could check them.",
                [e.because for e in strong] + reasons,
            )
        return (
            Verdict.NOT_APPLICABLE,
            "No test of this program applies to this file.",
            reasons or ["No calibrated test applied."],
        )

    complete = all(h.tested for h in hypotheses)
    if complete and probability <= _AUTHENTIC and _all_in_low_band(evidence):
        return (
            Verdict.AUTHENTIC,
            "All tests that apply found what is usual for genuine recordings.",
            [e.because for e in evidence if e.llr is not None and e.llr < 0],
        )
    if probability <= 0.5:
        return (
            Verdict.INCONCLUSIVE,
            "Nothing was found that speaks against this file, and nothing that proves it.",
            ["The tests that ran are not strong enough to vouch for it."],
        )
    return (
        Verdict.INCONCLUSIVE,
        "The evidence is too weak to say.",
        [e.because for e in evidence if (e.llr or 0) > 0],
    )


def _points(item: Evidence) -> OperatingPoints | None:
    if item.curve is None or item.kind is not Kind.MODEL:
        return None
    return card(item.curve).points


def _flagged(item: Evidence, sensitivity: Sensitivity = Sensitivity.STANDARD) -> bool:
    points = _points(item)
    if points is None or item.raw_score is None:
        return False
    strict = sensitivity is Sensitivity.STANDARD
    return item.raw_score >= (points.fpr_1pct if strict else points.fpr_5pct)


def _all_in_low_band(evidence: Sequence[Evidence]) -> bool:
    return all(
        e.raw_score <= points.low_band
        for e in evidence
        if e.raw_score is not None and (points := _points(e)) is not None
    )


def _error_rates(
    evidence: Sequence[Evidence], hypotheses: Sequence[Hypothesis], sensitivity: Sensitivity
) -> Decision:
    """Rates of the networks that spoke: false alarms add up, misses are averaged by share.

    Several faces are several chances of a false alarm, hence the count of tested items.
    """
    fpr = 0.0
    caught = 0.0
    seen: dict[Question, float] = {}
    for item in evidence:
        points = _points(item)
        if points is None or item.question is None or item.raw_score is None:
            continue
        fpr += 0.01 if sensitivity is Sensitivity.STANDARD else 0.05
        seen[item.question] = max(seen.get(item.question, 0.0), points.tpr_at_fpr_1pct)
    if not seen:
        return Decision(policy=POLICY, stated_fpr=None, stated_fnr=None, sensitivity=sensitivity)
    for hypothesis in hypotheses:
        caught += hypothesis.share * seen.get(hypothesis.question, 0.0)
    return Decision(
        policy=POLICY,
        stated_fpr=min(1.0, fpr),
        # Cards state how many fakes are caught at the 1 % point only.
        stated_fnr=1.0 - caught if sensitivity is Sensitivity.STANDARD else None,
        sensitivity=sensitivity,
    )
