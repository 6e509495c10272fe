"""Raw scores to likelihood ratios, and ratios to a probability.

The alternative to "authentic" is a mixture: *if* the item is not authentic, it is so in
one of the ways of :class:`assay.findings.Question`, each with a prior share. So

    odds = prior / (1 - prior) * sum(share[q] * exp(llr[q]))

A question nobody tested keeps its share at a ratio of 1. Good marks on one question
can therefore never wash away the others, and asking many questions does not add up
false alarms: each is diluted by its share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from assay.errors import ModelError
from assay.findings import Finding, Question
from assay.fusion.outcome import Evidence, Hypothesis
from assay.models import card

__all__ = ["evidence_llr", "posterior", "question_llrs", "shares", "spread"]

_SPREAD = 1.0
"""Half-width, in nats, by which every tested ratio is moved to get the interval.

Calibration on one set of sources is off on the next by more than sampling error; one
nat (a factor of 2.7) is our judgement of that shift, to be replaced by the measured
spread between validation sources.
"""

# How people actually fake a given kind of media is not known; these shares are a
# stated judgement. They matter little once a test speaks clearly.
_SHARES: Mapping[Question, float] = {
    Question.FACE_MANIPULATION: 3.0,
    Question.GENERATED_IMAGE: 4.0,
    Question.LOCAL_EDIT: 2.0,
    Question.SYNTHETIC_SPEECH: 4.0,
    Question.AUDIO_EDIT: 1.0,
    Question.VIDEO_EDIT: 1.0,
}

_OF_PICTURE, _OF_FACES, _OF_BOTH = 1.0, 0.5, -0.5
"""Where a picture and its faces were judged: how the ratios of both count for a generated picture.

A generator makes the faces of its picture too, and both networks partly see the same: together
they say less than the product of their ratios. Fitted on pictures of sources that neither network
learned from (docs/decisions/0014).
"""


def spread(ood_score: float | None) -> float:
    """Half-width of the interval in nats: ``_SPREAD``, and up to twice that for an item
    farther from all known ones than 95 of 100 known authentic ones are.

    Among validation pictures the distance does not tell where a score errs
    (docs/decisions/0007), so the wider interval is caution beyond what was measured.
    """
    beyond = 0.0 if ood_score is None else (ood_score - 0.95) / 0.05
    return _SPREAD * (1 + min(1.0, max(0.0, beyond)))


def shares(questions: Iterable[Question]) -> dict[Question, float]:
    """Prior shares of ``questions``, adding up to 1."""
    asked = sorted(set(questions))
    total = sum(_SHARES[q] for q in asked)
    return {q: _SHARES[q] / total for q in asked}


def evidence_llr(finding: Finding) -> float | None:
    """Natural-log likelihood ratio of one finding, ``None`` without a usable curve."""
    if finding.curve is None or finding.raw_score is None:
        return None
    calibration = card(finding.curve).calibration
    if calibration is None:
        raise ModelError(f"model {finding.curve!r} has no calibration curve")
    return calibration(finding.raw_score)


def question_llrs(
    evidence: Mapping[Question, Sequence[Evidence]],
) -> dict[Question, float]:
    """Pooled ratio of each question that was tested, from the evidence on all of them.

    A generated picture shows in its faces as well: where both were judged, its ratio comes from
    both, of several faces from their mean. It never falls when a ratio rises.
    """
    found = {question: _pooled(items) for question, items in evidence.items()}
    picture, face = Question.GENERATED_IMAGE, Question.FACE_MANIPULATION
    if picture in found and face in found:
        faces = [e.llr for e in evidence[face] if e.llr is not None]
        of_faces = math.fsum(faces) / len(faces)
        found[picture] = _OF_PICTURE * found[picture] + _OF_FACES * of_faces + _OF_BOTH
    return found


def _pooled(evidence: Sequence[Evidence]) -> float:
    """Pooled ratio of the evidence on one question.

    Within a group the *mean of the ratios* is taken: several faces ask "is one of them
    fake", several views of one trace must not count twice. Groups see different traces,
    so their ratios multiply.
    """
    groups: dict[str, list[float]] = {}
    for item in evidence:
        if item.llr is not None:
            groups.setdefault(item.group or item.code, []).append(item.llr)
    return math.fsum(
        math.log(math.fsum(math.exp(v) for v in sorted(llrs)) / len(llrs))
        for llrs in groups.values()
    )


def posterior(hypotheses: Sequence[Hypothesis], prior: float, *, shift: float = 0.0) -> float:
    """Probability that the item is not authentic; tested ratios moved by ``shift`` nats."""
    ratio = math.fsum(h.share * math.exp(h.llr + (shift if h.tested else 0.0)) for h in hypotheses)
    odds = prior / (1 - prior) * ratio
    return odds / (1 + odds)
