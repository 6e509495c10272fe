"""The report: one frozen document that outlives the program that made it.

Field names and meanings are part of the published schema. A change that an old reader
would misread raises the major number of :data:`SCHEMA_VERSION`; an added optional field
raises the minor one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.findings import ModelRef
from assay.fusion.outcome import (
    Conflict,
    Decision,
    Evidence,
    Hypothesis,
    Interval,
    Scope,
    Verdict,
)

__all__ = [
    "SCHEMA_VERSION",
    "Analysed",
    "Attribution",
    "Audit",
    "Conflict",
    "Coverage",
    "Decision",
    "Engine",
    "Evidence",
    "Face",
    "Hypothesis",
    "Interval",
    "MediaFacts",
    "Picture",
    "ProvenanceSummary",
    "Report",
    "Scope",
    "Skipped",
    "Span",
    "Stability",
    "Variant",
    "Verdict",
]

SCHEMA_VERSION = "1.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What was analysed. Sizes in pixels, bytes, seconds, Hz, 1/s; absent = not that kind."""

    name: str
    sha256: str
    kind: str
    format: str
    mime: str
    bytes: int
    extension_matches: bool
    codec: str = ""
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    frame_rate: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    pdq: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysed:
    """An analyzer that looked, how long it took (seconds) and how much it said."""

    analyzer: str
    version: int
    question: str
    seconds: float
    findings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that was not looked at, and why. ``code`` is stable."""

    what: str
    code: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    analysed: tuple[Analysed, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    truncated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Which generator: ``top`` by facts in the file; ``likely``, without such facts, the family
    that a network takes it for, an estimate; ``unknown`` when there is neither."""

    top: tuple[str, ...] = ()
    likely: tuple[str, ...] = ()
    unknown: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time (seconds) to which evidence ``evidence`` points."""

    start: float
    end: float
    evidence: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One person: box (left, top, width, height; pixels), and what was found.

    ``llr`` is ``None`` when the face could not be judged; ``reason`` then says why.
    """

    id: int
    evidence: str
    box: tuple[float, float, float, float]
    time: float | None = None
    llr: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceSummary:
    """C2PA state in three separate answers, plus what the file declares itself to be.

    ``c2pa_state``: ``absent``, ``invalid``, ``valid`` or ``trusted``.
    """

    c2pa_state: str = "absent"
    signer: str = ""
    digital_source_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A small picture kept for the renderings.

    ``role`` is ``preview``, ``frame``, ``waveform`` or ``spectrogram``; ``data`` is base64;
    ``time`` in seconds for frames; ``scale`` is picture pixels per media pixel, for sound
    picture pixels per second; ``top_hz`` is the frequency of the upper edge of a
    spectrogram, which is linear and begins at 0.
    """

    role: str
    mime: str
    width: int
    height: int
    data: str
    time: float | None = None
    scale: float = 1.0
    caption: str = ""
    top_hz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    version: str
    config_sha256: str
    models: tuple[ModelRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """``prev_hash`` chains reports of a case; ``signature`` is detached. Both optional."""

    prev_hash: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The file as it might be passed on, and what the same tests say of that."""

    code: str
    what: str
    verdict: Verdict
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Whether the estimates survive what happens to files; facts of origin are left out.

    ``verdict`` is that of the estimates on the file itself, ``low`` and ``high`` the
    extremes of the probability over file and variants, ``flips`` the codes of variants
    with another verdict.
    """

    verdict: Verdict
    low: float
    high: float
    flips: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole answer about one media item."""

    schema_version: str
    analysis_id: str
    created_at: str
    media: MediaFacts
    verdict: Verdict
    headline: str
    """The verdict in one honest sentence."""
    probability: float | None
    """Probability that the item is not authentic, given ``prior``; ``None`` when no
    calibrated test applied."""
    interval: Interval | None
    prior: float
    decision: Decision
    reasons: tuple[str, ...]
    scope: Scope
    coverage: Coverage
    hypotheses: tuple[Hypothesis, ...]
    evidence: tuple[Evidence, ...]
    conflicts: tuple[Conflict, ...]
    attribution: Attribution
    timeline: tuple[Span, ...]
    faces: tuple[Face, ...]
    provenance: ProvenanceSummary
    pictures: tuple[Picture, ...]
    engine: Engine
    timing: dict[str, float]
    """Seconds by stage."""
    audit: Audit = field(default_factory=Audit)
    stability: Stability | None = None
    """``None`` when it was not asked for or cannot be measured."""
