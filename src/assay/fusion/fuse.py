"""Findings in, outcome out: the one place where evidence meets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from assay.findings import Finding, Kind, NotApplicable, Question, Where
from assay.fusion.calibration import evidence_llr, posterior, question_llrs, shares, spread
from assay.fusion.outcome import Evidence, Hypothesis, Interval, Outcome, Sensitivity
from assay.fusion.scope import applicable, scope_of
from assay.fusion.verdict import conflicts_in, decide
from assay.media import MediaKind

__all__ = ["fuse"]

_KINDS = tuple(Kind)


def fuse(
    kind: MediaKind,
    findings: Sequence[tuple[str, Finding]],
    refusals: Sequence[NotApplicable] = (),
    *,
    asked: Iterable[Question] = (),
    prior: float = 0.5,
    sensitivity: Sensitivity = Sensitivity.STANDARD,
) -> Outcome:
    """Weigh ``findings``, given as (analyzer name, finding), about one item.

    The result does not depend on the order of ``findings``, and the probability never
    falls when a ratio rises.

    Args:
        kind: what the item is.
        findings: everything the analyzers said.
        refusals: analyzers that had nothing to look at; they drop their question, unless
            it is among ``asked``.
        asked: questions that some analyzer looked into, with or without a finding.
        prior: probability, before looking, that such an item is not authentic; in (0, 1).
        sensitivity: from which operating point of a network the item is flagged.

    Raises:
        ValueError: ``prior`` is not strictly between 0 and 1.
        ModelError: a finding names a calibration curve that is not installed.
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"the prior must lie strictly between 0 and 1, got {prior!r}")
    evidence = _weigh(findings)
    by_question: dict[Question, list[Evidence]] = {}
    for item in evidence:
        if item.question is not None and item.llr is not None:
            by_question.setdefault(item.question, []).append(item)
    ratios = question_llrs(by_question)
    hypotheses = tuple(
        Hypothesis(
            question=question,
            tested=question in ratios,
            share=share,
            llr=ratios.get(question, 0.0),
        )
        for question, share in shares(applicable(kind, by_question, refusals, asked)).items()
    )
    scope = scope_of(evidence, refusals, frozenset(by_question), asked)
    probability = interval = None
    if by_question:
        probability, nats = posterior(hypotheses, prior), spread(scope.ood_score)
        interval = Interval(
            low=posterior(hypotheses, prior, shift=-nats),
            high=posterior(hypotheses, prior, shift=+nats),
        )
    conflicts = conflicts_in(evidence)
    ruling = decide(evidence, hypotheses, refusals, conflicts, probability, sensitivity)
    return Outcome(
        verdict=ruling.verdict,
        headline=ruling.headline,
        probability=probability,
        interval=interval,
        prior=prior,
        decision=ruling.decision,
        reasons=ruling.reasons,
        scope=scope,
        hypotheses=hypotheses,
        evidence=evidence,
        conflicts=conflicts,
    )


def _weigh(findings: Sequence[tuple[str, Finding]]) -> tuple[Evidence, ...]:
    """Evidence in an order that depends on its content only: by kind, then weight."""
    weighed = [(name, finding, evidence_llr(finding)) for name, finding in findings]
    weighed.sort(
        key=lambda w: (
            _KINDS.index(w[1].kind),
            -abs(w[2] or 0.0),
            w[0],
            w[1].code,
            _place(w[1].where),
            repr(w[1]),
        )
    )
    return tuple(
        Evidence(
            id=f"e{number}",
            analyzer=name,
            code=finding.code,
            kind=finding.kind,
            claim=finding.claim,
            because=finding.because,
            strength=finding.strength,
            question=finding.question,
            group=finding.group,
            raw_score=finding.raw_score,
            curve=finding.curve,
            llr=llr,
            where=finding.where,
            model=finding.model,
            limits=finding.limits,
            grid=finding.grid,
            series=finding.series,
            # As it will stand in the report: tuples become lists.
            data=json.loads(json.dumps(finding.data, allow_nan=False)),
        )
        for number, (name, finding, llr) in enumerate(weighed, start=1)
    )


def _place(where: Where) -> tuple[float, ...]:
    box = where.box or (-1.0, -1.0, -1.0, -1.0)
    rest = (where.start, where.end, where.face, where.track, where.speaker)
    return (*box, *(-1.0 if v is None else float(v) for v in rest))
