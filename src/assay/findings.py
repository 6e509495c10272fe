"""What an analyzer says: findings, and where in the media they lie.

A finding is a statement with a direction, a place, a plain sentence and its own
limits. It carries a *raw* score at most; turning scores into likelihood ratios is
the business of :mod:`assay.fusion`, which keeps raw score, ratio and verdict apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

__all__ = [
    "Claim",
    "Finding",
    "Grid",
    "Json",
    "Kind",
    "ModelRef",
    "NotApplicable",
    "Question",
    "Series",
    "Step",
    "Strength",
    "Where",
]

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None


class Kind(StrEnum):
    """What sort of evidence a finding is. Kinds are never averaged with one another."""

    PROVENANCE = "provenance"  # signed or unsigned statements carried by the file
    WATERMARK = "watermark"
    STRUCTURE = "structure"  # traces in file structure or signal, found without a trained network
    MODEL = "model"  # estimate of a trained network
    MATCH = "match"  # equals or resembles a known item
    HUMAN = "human"


class Claim(StrEnum):
    """The direction in which a finding points."""

    AUTHENTIC = "authentic"
    MANIPULATED = "manipulated"
    SYNTHETIC = "synthetic"
    NEUTRAL = "neutral"  # a fact worth reporting that points neither way


class Strength(StrEnum):
    """How much a *fact* (provenance, watermark, match, human) weighs in the verdict.

    Estimates (``STRUCTURE`` and ``MODEL``) leave this at ``NONE``: their weight comes
    from a measured calibration curve.
    """

    DECISIVE = "decisive"  # settles the question unless another decisive fact contradicts it
    STRONG = "strong"  # reliable unless somebody planted it
    WEAK = "weak"  # a hint
    NONE = "none"


class Question(StrEnum):
    """The hypotheses that evidence can bear on, one per way of not being authentic."""

    FACE_MANIPULATION = "face_manipulation"
    GENERATED_IMAGE = "generated_image"
    LOCAL_EDIT = "local_edit"
    SYNTHETIC_SPEECH = "synthetic_speech"
    AUDIO_EDIT = "audio_edit"
    VIDEO_EDIT = "video_edit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place in the media. All parts are optional; an empty ``Where`` means the whole.

    ``box`` is (left, top, width, height) in pixels of the upright picture.
    ``start`` and ``end`` are seconds from the beginning. ``face``, ``track`` and
    ``speaker`` number people from 0.
    """

    box: tuple[float, float, float, float] | None = None
    start: float | None = None
    end: float | None = None
    face: int | None = None
    track: int | None = None
    speaker: int | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            if len(self.box) != 4 or not all(math.isfinite(v) for v in self.box):
                raise ValueError(f"box must be four finite numbers, got {self.box!r}")
            if self.box[2] < 0 or self.box[3] < 0:
                raise ValueError(f"box has a negative size: {self.box!r}")
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite time >= 0, got {value!r}")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A coarse map over the picture (or over ``where.box``), row by row from the top.

    ``values`` has ``rows * columns`` numbers in 0..1; ``meaning`` says in one sentence
    what a high value does and does not mean.
    """

    rows: int
    columns: int
    values: tuple[float, ...]
    meaning: str

    def __post_init__(self) -> None:
        if not (1 <= self.rows <= 256 and 1 <= self.columns <= 256):
            raise ValueError("a grid has 1 to 256 rows and columns")
        if len(self.values) != self.rows * self.columns:
            raise ValueError("a grid needs rows * columns values")
        if not all(0.0 <= v <= 1.0 for v in self.values):  # also refuses NaN
            raise ValueError("grid values lie in 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A quantity over time: ``times`` in seconds (increasing), ``values`` as raw scores."""

    times: tuple[float, ...]
    values: tuple[float, ...]
    meaning: str

    def __post_init__(self) -> None:
        if len(self.times) != len(self.values):
            raise ValueError("a series needs as many values as times")
        if not all(math.isfinite(v) for v in (*self.times, *self.values)):
            raise ValueError("a series holds finite numbers")
        if any(b < a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("times of a series must not decrease")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which trained network spoke."""

    name: str
    version: int
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement of one analyzer about one media item.

    ``code`` is stable and documented (``"jpeg.ghost"``). ``because`` is a plain
    sentence for a reader who is not an examiner. ``raw_score`` is in the unit of the
    analyzer (for networks: the logit) and ``curve`` names the calibration that turns it
    into a log-likelihood ratio; without a curve the finding is shown but weighs nothing.
    Findings of one ``question`` that share a ``group`` look at the same trace and are
    counted once. ``data`` holds JSON facts for the technical appendix.
    """

    code: str
    kind: Kind
    claim: Claim
    because: str
    strength: Strength = Strength.NONE
    question: Question | None = None
    group: str = ""
    raw_score: float | None = None
    curve: str | None = None
    where: Where = field(default_factory=Where)
    model: ModelRef | None = None
    limits: tuple[str, ...] = ()
    grid: Grid | None = None
    series: Series | None = None
    data: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.code or not self.because:
            raise ValueError("a finding needs a code and a reason")
        if self.raw_score is not None and not math.isfinite(self.raw_score):
            raise ValueError(f"{self.code}: raw_score must be finite, got {self.raw_score!r}")
        if self.curve is not None and (self.raw_score is None or self.question is None):
            raise ValueError(f"{self.code}: a curve needs a raw_score and a question")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplicable:
    """The analyzer has nothing to look at; ``reason`` is a plain sentence, ``code`` stable."""

    code: str
    reason: str
    question: Question | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far an analysis is: the stage that begins, the share done in [0, 1], and what the
    analyzer before it, ``analyzer``, has found. Before fusion nothing of it is a verdict."""

    stage: str
    share: float
    analyzer: str = ""
    found: tuple[Mapping[str, str], ...] = ()
    """Of each finding: ``code``, ``kind``, ``claim``, ``because``."""
