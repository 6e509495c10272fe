"""Puts media facts and an outcome together into the report document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.findings import Claim, Kind, ModelRef
from assay.fusion import Evidence, Outcome
from assay.media import Audio, Image, Media, Video, kind_of
from assay.report.document import (
    SCHEMA_VERSION,
    Attribution,
    Coverage,
    Engine,
    Face,
    MediaFacts,
    Picture,
    ProvenanceSummary,
    Report,
    Span,
    Stability,
)

__all__ = ["media_facts", "models_in", "pictures_of", "report"]

_MAX_FRAMES = 8


def report(
    outcome: Outcome,
    media: Media,
    *,
    analysis_id: str,
    created_at: str,
    coverage: Coverage,
    pictures: Sequence[Picture],
    engine: Engine,
    timing: Mapping[str, float],
    stability: Stability | None = None,
) -> Report:
    """The document about ``media``; everything in it that can be derived is derived here."""
    evidence = outcome.evidence
    return Report(
        schema_version=SCHEMA_VERSION,
        analysis_id=analysis_id,
        created_at=created_at,
        media=media_facts(media),
        verdict=outcome.verdict,
        headline=outcome.headline,
        probability=outcome.probability,
        interval=outcome.interval,
        prior=outcome.prior,
        decision=outcome.decision,
        reasons=outcome.reasons,
        scope=outcome.scope,
        coverage=coverage,
        hypotheses=outcome.hypotheses,
        evidence=evidence,
        conflicts=outcome.conflicts,
        attribution=_attribution(evidence),
        timeline=_timeline(evidence),
        faces=_faces(evidence),
        provenance=_provenance(evidence),
        pictures=tuple(pictures),
        engine=engine,
        timing=dict(timing),
        stability=stability,
    )


def media_facts(media: Media) -> MediaFacts:
    """What the file is, in numbers."""
    source = media.source
    width = height = sample_rate = channels = None
    duration = frame_rate = None
    codec = ""
    pdq = None
    if isinstance(media, Image):
        pdq = _pdq(media)
        width, height, codec = media.width, media.height, source.format
    elif isinstance(media, Video):
        width, height, codec = media.width, media.height, media.codec
        duration, frame_rate = media.duration, media.frame_rate or None
        if media.sound is not None:
            sample_rate, channels = media.sound.rate, media.sound.channels
    else:
        codec, duration = media.codec, media.duration
        sample_rate, channels = media.rate, media.channels
    return MediaFacts(
        name=source.name,
        sha256=source.sha256,
        kind=kind_of(media).value,
        format=source.format,
        mime=source.mime,
        bytes=source.size,
        extension_matches=source.extension_matches,
        codec=codec,
        width=width,
        height=height,
        duration=duration,
        frame_rate=frame_rate,
        sample_rate=sample_rate,
        channels=channels,
        pdq=pdq,
    )


def _pdq(image: Image) -> str | None:
    """PDQ perceptual hash (Facebook, 2019) as 64 hexadecimal digits, for matching copies.

    ``None`` for pictures with too little structure, whose hashes match by accident
    (quality below 50 of 100, the threshold its authors give).
    """
    import numpy as np
    import pdqhash
    from PIL import Image as PillowImage

    small = PillowImage.fromarray(image.pixels)
    small.thumbnail((512, 512))
    bits, quality = pdqhash.compute(np.asarray(small))
    return np.packbits(bits).tobytes().hex() if quality >= 50 else None


def pictures_of(media: Media, evidence: Sequence[Evidence] = ()) -> tuple[Picture, ...]:
    """The small pictures that the renderings show in place of the media.

    Of a video also the frames in which a person was boxed, so that boxes have a picture.
    """
    from assay.report import pictures

    if isinstance(media, Image):
        return (pictures.preview(media),)
    if isinstance(media, Audio):
        return tuple(pictures.sound(media))
    boxed = [f.time + 0.001 for f in _faces(evidence) if f.time is not None]  # rounded down
    shown = list(pictures.frames(media, _MAX_FRAMES, also=boxed[:_MAX_FRAMES]))
    if media.sound is not None:
        shown += pictures.sound(media.sound)
    return tuple(shown)


def models_in(evidence: Sequence[Evidence]) -> tuple[ModelRef, ...]:
    """Every network that spoke, once, by name."""
    refs = {(e.model.name, e.model.version): e.model for e in evidence if e.model is not None}
    return tuple(refs[key] for key in sorted(refs))


def _faces(evidence: Sequence[Evidence]) -> tuple[Face, ...]:
    faces = []
    for item in evidence:
        number = item.where.face if item.where.face is not None else item.where.track
        if number is None or item.where.box is None or item.kind is not Kind.MODEL:
            continue
        reason = item.data.get("not_applicable", "")
        faces.append(
            Face(
                id=number,
                evidence=item.id,
                box=item.where.box,
                time=_number(item.data.get("box_time")),
                llr=item.llr,
                reason=item.because if reason else "",
            )
        )
    return tuple(sorted(faces, key=lambda f: (f.id, f.evidence)))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _timeline(evidence: Sequence[Evidence]) -> tuple[Span, ...]:
    """Evidence about a stretch of time that points at something, in order of time."""
    spans = [
        Span(start=e.where.start, end=e.where.end, evidence=e.id, label=e.code)
        for e in evidence
        if e.where.start is not None and e.where.end is not None and e.claim is not Claim.AUTHENTIC
    ]
    return tuple(sorted(spans, key=lambda s: (s.start, s.end, s.evidence)))


def _attribution(evidence: Sequence[Evidence]) -> Attribution:
    """Generators named by facts in the file; failing these, the family a network names."""
    named, guessed = [], []
    for item in evidence:
        name = item.data.get("generator")
        if item.claim is Claim.SYNTHETIC and item.kind is Kind.PROVENANCE and isinstance(name, str):
            named.append(name)
        family = item.data.get("family")
        if item.kind is Kind.MODEL and isinstance(family, str) and family:
            guessed.append(family)
    top = tuple(dict.fromkeys(named))
    likely = () if top else tuple(dict.fromkeys(guessed))
    return Attribution(top=top, likely=likely, unknown=not (top or likely))


def _provenance(evidence: Sequence[Evidence]) -> ProvenanceSummary:
    state, signer, source_type = "absent", "", ""
    for item in evidence:
        if item.analyzer == "provenance.credentials" and "c2pa_state" in item.data:
            state = str(item.data["c2pa_state"])
            signer = str(item.data.get("signer", "") or "")
        declared = item.data.get("digital_source_type")
        if isinstance(declared, str) and not source_type:
            source_type = declared
    return ProvenanceSummary(c2pa_state=state, signer=signer, digital_source_type=source_type)
