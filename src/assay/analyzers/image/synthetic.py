"""Was the whole picture made by a generator rather than by a camera?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image import picture_scope
from assay.analyzers.image.patches import native_patches
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Grid, Kind, NotApplicable, Question
from assay.media import Image, Media, MediaKind
from assay.models import Card, card, prepare
from assay.models.runtime import run

__all__ = ["MODEL", "SyntheticImage", "installed", "pool", "score"]

MODEL = "image-v1"
_LEAST_SIDE = 128  # px, when the card states none

LIMITS = (
    "A high score means that patches of the picture resemble those of the generated pictures "
    "the network was trained on; filters, strong retouching, upscaling by software, and "
    "computer graphics can raise it.",
    "A low score does not prove that a camera took the picture: new generators, small copies "
    "and repeated compression may leave no trace that the network knows.",
    "Only whole-picture generation is asked about; a small generated part may go unseen.",
)

_MEANING = (
    "One value for each place a patch was taken from: how much that patch alone looks generated "
    "to the network. Single patches are often wrong; high values do not outline an edit."
)

_INFO = AnalyzerInfo(
    name="image.synthetic",
    version=1,
    question="Was the picture made by a generator (GAN, diffusion, autoregressive)?",
    media=frozenset({MediaKind.IMAGE}),
    source="Linear head on middle blocks of DINOv2 (Oquab et al., 2023), after Koutlis and "
    "Papadopoulos, RINE, ECCV 2024, and cosine frequencies, after Frank et al., ICML 2020",
    limitations=(
        *LIMITS,
        "Graphics, text, charts, blank and very small pictures are not judged.",
    ),
    bears_on=frozenset({Question.GENERATED_IMAGE}),
    models=(MODEL,),
)


class SyntheticImage:
    """One finding for the picture: the mean score of patches at native resolution."""

    @property
    def info(self) -> AnalyzerInfo:
        return _INFO

    def analyze(self, media: Media) -> Answer:
        """See :class:`assay.analyzers.protocol.Analyzer`.

        Raises:
            ModelError: the network is missing or altered.
        """
        assert isinstance(media, Image)
        model = installed()
        least = int(model.gates.get("min_side_px", _LEAST_SIDE))
        if min(media.width, media.height) < least:
            return _left(
                "too_small",
                f"The shorter side of the picture has {min(media.width, media.height)} pixels; "
                f"at least {least} are needed to look for traces of a generator.",
            )
        statistics = picture_scope.measure(media.pixels)
        outside = picture_scope.out_of_scope(statistics)
        if outside is not None:
            return _left(*outside)
        patches = native_patches(media.pixels, model.input.height)
        logits = score(patches.pixels, model)
        raw = pool(logits)
        claim = _claim_of(raw, model)
        values = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -30, 30)))
        return (
            Finding(
                code="synthetic.whole_picture",
                kind=Kind.MODEL,
                claim=claim,
                because=_sentence(claim),
                question=Question.GENERATED_IMAGE,
                group="network",
                raw_score=raw,
                curve=model.key if model.calibration is not None else None,
                model=model.ref,
                limits=(*LIMITS, *model.limits),
                grid=Grid(
                    rows=patches.rows,
                    columns=patches.columns,
                    values=tuple(round(float(v), 4) for v in values),
                    meaning=_MEANING,
                ),
                data={
                    "patches": len(logits),
                    "patch_px": model.input.height,
                    "patch_boxes": [list(box) for box in patches.boxes],
                    "patch_scores": [round(float(v), 4) for v in logits],
                    "flat_share": round(statistics.flat, 4),
                    "distinct_colours": statistics.colours,
                },
            ),
        )


def installed() -> Card:
    """The card of the network.

    Raises:
        ModelError: it is not installed.
    """
    return card(MODEL)


def score(patches: NDArray[np.uint8], model: Card) -> NDArray[np.float32]:
    """Logits [n] of patches uint8 [n, size, size, 3].

    Raises:
        ModelError: the network is missing, altered or refuses the input.
    """
    tensor = prepare.picture_tensor(patches, model.input)
    output = run(model.key, {model.input.name: tensor})
    return output[model.outputs.get("logit", "logit")].reshape(-1)


def pool(logits: NDArray[np.floating]) -> float:
    """The score of a picture from those of its patches: their mean."""
    return float(np.mean(logits.astype(np.float64)))


def _claim_of(raw: float, model: Card) -> Claim:
    if model.points is None:
        return Claim.NEUTRAL
    if raw >= model.points.fpr_1pct:
        return Claim.SYNTHETIC
    return Claim.AUTHENTIC if raw <= model.points.low_band else Claim.NEUTRAL


def _sentence(claim: Claim) -> str:
    if claim is Claim.SYNTHETIC:
        return (
            "Patches of the picture look to a trained network like those of generated pictures; "
            "at most about one in a hundred photographs of its validation looked so."
        )
    if claim is Claim.AUTHENTIC:
        return (
            "Patches of the picture show a trained network few of the traces that it knows of "
            "generated pictures."
        )
    return (
        "Patches of the picture look to a trained network neither clearly like photographs nor "
        "clearly like generated pictures."
    )


def _left(code: str, reason: str) -> NotApplicable:
    return NotApplicable(code=code, reason=reason, question=Question.GENERATED_IMAGE)
