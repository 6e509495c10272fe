"""Which questions apply to an item, and whether we were able to judge it at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from assay.findings import NotApplicable, Question
from assay.fusion.outcome import Evidence, Scope
from assay.media import MediaKind

__all__ = ["UNLIKE_KNOWN", "applicable", "scope_of"]

UNFAMILIAR, UNLIKE_KNOWN = 0.99, "unlike_known_media"
"""``ood_score`` from which up an item gets this flag."""

_BY_KIND: Mapping[MediaKind, frozenset[Question]] = {
    MediaKind.IMAGE: frozenset(
        {Question.FACE_MANIPULATION, Question.GENERATED_IMAGE, Question.LOCAL_EDIT}
    ),
    # Cuts are ordinary film grammar: VIDEO_EDIT is reported and weighed only when tested.
    MediaKind.VIDEO: frozenset(
        {Question.FACE_MANIPULATION, Question.GENERATED_IMAGE, Question.SYNTHETIC_SPEECH}
    ),
    MediaKind.AUDIO: frozenset({Question.SYNTHETIC_SPEECH, Question.AUDIO_EDIT}),
}


def applicable(
    kind: MediaKind,
    tested: Iterable[Question],
    refusals: Sequence[NotApplicable],
    asked: Iterable[Question] = (),
) -> frozenset[Question]:
    """Questions that make sense for this item.

    A question that an analyzer declared not to apply (no face, no speech) is dropped,
    unless another analyzer did look into it (``asked``), whether or not it found anything.
    """
    refused = {r.question for r in refusals if r.question is not None}
    return (_BY_KIND[kind] - (refused - frozenset(asked))) | frozenset(tested)


def scope_of(
    evidence: Sequence[Evidence],
    refusals: Sequence[NotApplicable],
    tested: frozenset[Question],
    asked: Iterable[Question] = (),
) -> Scope:
    """In scope when at least one calibrated test gave an answer.

    The flags are the codes for which a question was left open: of the analyzers, where
    none looked into it, and of single faces that could not be judged; ``unlike_known_media`` for an
    item farther from all known ones than 99 of 100 known authentic ones are.
    """
    looked = frozenset(asked)
    flags = {r.code for r in refusals if r.question is not None and r.question not in looked}
    for item in evidence:
        reason = item.data.get("not_applicable")
        if isinstance(reason, str):
            flags.add(reason)
    scores = [s for e in evidence if isinstance(s := e.data.get("ood_score"), float)]
    ood_score = max(scores, default=None)
    if ood_score is not None and ood_score >= UNFAMILIAR:
        flags.add(UNLIKE_KNOWN)
    return Scope(in_scope=bool(tested), ood_score=ood_score, quality_flags=tuple(sorted(flags)))
