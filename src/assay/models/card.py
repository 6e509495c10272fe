"""Model cards: the facts about a model that the product acts on, read from TOML."""

from __future__ import annotations

import math
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from assay.errors import ModelError
from assay.findings import ModelRef

__all__ = [
    "Calibration",
    "Card",
    "Familiarity",
    "Family",
    "InputSpec",
    "Metric",
    "OperatingPoints",
    "read_card",
]


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How training and serving feed the network; unused fields keep their defaults."""

    name: str = "input"
    kind: str = "image"
    height: int = 0
    width: int = 0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 255.0
    crop_margin: float = 1.0
    """Side of the square crop = margin * longer side of the face box."""
    rate: int = 0
    samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Raw score to natural-log likelihood ratio: a monotone, bounded, piecewise linear curve.

    Outside the knots the ratio stays at that of the nearest knot: no claim goes beyond
    what was observed.
    """

    score: tuple[float, ...]
    llr: tuple[float, ...]
    n_real: int
    n_fake: int
    source: str = ""
    applies_to: str = ""

    def __post_init__(self) -> None:
        if len(self.score) != len(self.llr) or len(self.score) < 2:
            raise ValueError("a calibration needs at least two knots")
        if not all(math.isfinite(v) for v in (*self.score, *self.llr)):
            raise ValueError("calibration knots must be finite")
        if any(b <= a for a, b in zip(self.score, self.score[1:], strict=False)):
            raise ValueError("calibration scores must increase")
        if any(b < a for a, b in zip(self.llr, self.llr[1:], strict=False)):
            raise ValueError("calibration ratios must not decrease")

    def __call__(self, raw: float) -> float:
        """Natural-log likelihood ratio at raw score ``raw``."""
        return _between(raw, self.score, self.llr)


def _between(at: float, x: tuple[float, ...], y: tuple[float, ...]) -> float:
    """Piecewise linear through the knots ``x``, ``y``; constant beyond them."""
    if at <= x[0]:
        return y[0]
    if at >= x[-1]:
        return y[-1]
    i = bisect_right(x, at)
    return y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoints:
    """Thresholds on the raw score, chosen on validation sources never trained on.

    ``fpr_1pct``/``fpr_5pct``: at most that share of real items scores at or above.
    ``low_band``: about 2 % of fakes score below. ``tpr_at_fpr_1pct``: share of
    validation fakes at or above ``fpr_1pct``.
    """

    fpr_1pct: float
    fpr_5pct: float
    low_band: float
    tpr_at_fpr_1pct: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Performance on one source. Rates in 0..1; ``None`` where it was not measured."""

    set: str
    source: str
    real: int
    fake: int
    corruption: str = "none"
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    tpr_at_1fpr: float | None = None
    eer: float | None = None
    ece: float | None = None
    flagged_real_at_point: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of generators that the network has an output for, in their order.

    ``least``: the output from which up it is named; ``None``: never, it was not told well
    enough from the others on sources left out.
    """

    name: str
    least: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """How far pictures lie from the known ones of other sources: the ``share`` of known
    photographs, in 0..1, that lie nearer than ``distance``; both rise.

    ``pictures`` are known, a share ``generated`` of them generated.
    """

    distance: tuple[float, ...]
    share: tuple[float, ...]
    pictures: int
    generated: float

    def __post_init__(self) -> None:
        if len(self.distance) != len(self.share) or len(self.distance) < 2:
            raise ValueError("familiarity needs at least two distances")
        if any(b <= a for a, b in zip(self.distance, self.distance[1:], strict=False)):
            raise ValueError("distances must increase")

    def __call__(self, distance: float) -> float:
        """Share of the known photographs that lie nearer to known ones than ``distance``."""
        return _between(distance, self.distance, self.share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A model's card. ``file`` is empty for a calibration without a network."""

    name: str
    version: int
    task: str
    question: str
    licence: str
    summary: str
    file: str
    sha256: str
    size: int
    created: str
    origin: str
    input: InputSpec
    outputs: Mapping[str, str]
    gates: Mapping[str, float]
    calibration: Calibration | None
    points: OperatingPoints | None
    metrics: tuple[Metric, ...]
    data: tuple[Mapping[str, Any], ...]
    limits: tuple[str, ...]
    folder: Path = field(compare=False)
    families: tuple[Family, ...] = ()
    familiarity: Familiarity | None = None

    @property
    def key(self) -> str:
        """``faces-v2``: the folder name, by which findings and curves refer to it."""
        return f"{self.name}-v{self.version}"

    @property
    def ref(self) -> ModelRef:
        return ModelRef(
            name=self.name, version=self.version, sha256=self.sha256, licence=self.licence
        )

    def facts(self) -> dict[str, Any]:
        """What a user should know of it, JSON-safe."""
        return {
            "key": self.key,
            "task": self.task,
            "question": self.question,
            "licence": self.licence,
            "summary": self.summary,
            "sha256": self.sha256,
            "bytes": self.size,
            "created": self.created,
            "origin": self.origin,
            "limits": list(self.limits),
            "metrics": [
                {name: getattr(m, name) for name in m.__dataclass_fields__} for m in self.metrics
            ],
        }


def read_card(folder: Path) -> Card:
    """Read ``folder/card.toml``.

    Raises:
        ModelError: the card is missing, not TOML, or breaks the format.
    """
    path = folder / "card.toml"
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        model = raw["model"]
        result = Card(
            name=model["name"],
            version=int(model["version"]),
            task=model.get("task", ""),
            question=model.get("question", ""),
            licence=model["licence"],
            summary=model.get("summary", ""),
            file=model.get("file", ""),
            sha256=model.get("sha256", ""),
            size=int(model.get("bytes", 0)),
            created=str(model.get("created", "")),
            origin=model.get("origin", ""),
            input=InputSpec(**_known(InputSpec, raw.get("input", {}))),
            outputs={k: str(v) for k, v in raw.get("output", {}).items()},
            gates={k: float(v) for k, v in raw.get("gates", {}).items()},
            calibration=_calibration(raw.get("calibration")),
            points=_optional(OperatingPoints, raw.get("operating_points")),
            families=tuple(Family(**_known(Family, f)) for f in raw.get("families", ())),
            familiarity=_optional(Familiarity, raw.get("familiarity")),
            metrics=tuple(Metric(**_known(Metric, m)) for m in raw.get("metrics", ())),
            data=tuple(raw.get("data", ())),
            limits=tuple(raw.get("limits", {}).get("sentences", ())),
            folder=folder,
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a valid model card: {error}") from error
    if result.key != folder.name:
        raise ModelError(f"{path}: the card says {result.key}, the folder {folder.name}")
    if result.file and (Path(result.file).name != result.file or len(result.sha256) != 64):
        raise ModelError(f"{path}: a network needs a file name in its folder and a SHA-256")
    return result


def _known(cls: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that ``cls`` knows, lists made tuples; cards may say more than we act on."""
    names = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in names}


def _calibration(raw: Mapping[str, Any] | None) -> Calibration | None:
    if raw is None:
        return None
    if raw.get("kind") != "piecewise_linear":
        raise ValueError(f"unknown calibration kind {raw.get('kind')!r}")
    return Calibration(
        score=tuple(float(v) for v in raw["score"]),
        llr=tuple(float(v) for v in raw["llr"]),
        n_real=int(raw["n_real"]),
        n_fake=int(raw["n_fake"]),
        source=raw.get("source", ""),
        applies_to=raw.get("applies_to", ""),
    )


def _optional(cls: type[_T], raw: Mapping[str, Any] | None) -> _T | None:
    return None if raw is None else cls(**_known(cls, raw))
