"""Was the whole picture made by a generator rather than by a camera?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image import picture_scope
from assay.analyzers.image.patches import Patches, native_patches
from assay.analyzers.image.picture_kind import MODEL, beyond, no_photograph
from assay.analyzers.image.resemblance import NEAREST, Resemblance, resemblance
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Grid, Kind, NotApplicable, Question
from assay.media import Image, Media, MediaKind
from assay.models import Card, card, prepare
from assay.models.runtime import run

__all__ = [
    "MODEL",
    "Answers",
    "Judged",
    "SyntheticImage",
    "claim_of",
    "installed",
    "judge",
    "look",
    "mix",
]

_LEAST_SIDE = 128  # px, when the card states none

LIMITS = (
    "A high score means that the picture resembles the generated pictures that the network "
    "was trained on; filters, strong retouching, upscaling by software, and "
    "computer graphics can raise it.",
    "A low score does not prove that a camera took the picture: new generators, small copies "
    "and repeated compression may leave no trace that the network knows.",
    "Only whole-picture generation is asked about; a small generated part may go unseen.",
)

_MEANING = (
    "One value for each place a patch was taken from: how much that patch alone looks generated "
    "to the network. Single patches are often wrong; high values do not outline an edit."
)

_OF_FAMILIES = (
    "The family is an estimate: of pictures of sources left out that were so named, 85 % were of "
    "that family. Generators it does not know can be taken for one that it knows; most pictures "
    "are not named.",
)

_INFO = AnalyzerInfo(
    name="image.synthetic",
    version=3,
    question="Was the picture made by a generator (GAN, diffusion, autoregressive)?",
    media=frozenset({MediaKind.IMAGE}),
    source="Heads on middle blocks of CLIP (Radford et al., 2021), after Koutlis and "
    "Papadopoulos, RINE, ECCV 2024",
    limitations=(
        *LIMITS,
        "Drawings, paintings, renders, graphics, text, charts, scans, blank and very small "
        "pictures are not judged; some pass for photographs.",
    ),
    bears_on=frozenset({Question.GENERATED_IMAGE}),
    models=(MODEL,),
)


class SyntheticImage:
    """One finding for the picture: patches at native resolution, and the whole made small."""

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
        judged = judge(media.pixels, model)
        if isinstance(judged, NotApplicable):
            return judged
        statistics, patches, seen = judged
        logits, raw = seen.patches, seen.score
        claim = claim_of(raw, model)
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
                    "whole_score": round(seen.whole, 4),
                    "patch_boxes": [list(box) for box in patches.boxes],
                    "patch_scores": [round(float(v), 4) for v in logits],
                    "flat_share": round(statistics.flat, 4),
                    "distinct_colours": statistics.colours,
                    "unlike_a_photograph": round(float(beyond(seen.kinds)), 4),
                    "ood_score": round(seen.like.ood_score, 4),
                },
            ),
            *_resembles(seen.like, claim, model),
        )


def installed() -> Card:
    """The card of the network.

    Raises:
        ModelError: it is not installed.
    """
    return card(MODEL)


class Judged(NamedTuple):
    """A picture in scope: what it is made of, where it was looked at, and what was seen."""

    statistics: picture_scope.PictureStatistics
    patches: Patches
    seen: Answers


def judge(pixels: NDArray[np.uint8], model: Card) -> Judged | NotApplicable:
    """Look at RGB ``pixels`` [h, w, 3], or say why such a picture is not judged.

    Raises:
        ModelError: the network is missing, altered or refuses the input.
    """
    least = int(model.gates.get("min_side_px", _LEAST_SIDE))
    if min(pixels.shape[:2]) < least:
        return _left(
            "too_small",
            f"The shorter side of the picture has {min(pixels.shape[:2])} pixels; "
            f"at least {least} are needed to look for traces of a generator.",
        )
    statistics = picture_scope.measure(pixels)
    outside = picture_scope.out_of_scope(statistics)
    if outside is not None:
        return _left(*outside)
    patches = native_patches(pixels, model.input.height)
    seen = look(pixels, patches.pixels, model)
    outside = no_photograph(seen.kinds, model)
    return Judged(statistics, patches, seen) if outside is None else _left(*outside)


class Answers(NamedTuple):
    """What the network says of a picture.

    ``patches`` [n]: logits of patches at native resolution; ``whole``: logit of the whole made
    small; ``score``: both mixed; ``kinds`` [kinds]: what kind of picture it is, see
    :mod:`assay.analyzers.image.picture_kind`; ``like``: what it resembles.
    """

    patches: NDArray[np.float32]
    whole: float
    score: float
    kinds: NDArray[np.float32]
    like: Resemblance


def look(pixels: NDArray[np.uint8], patches: NDArray[np.uint8], model: Card) -> Answers:
    """Run the network on RGB ``pixels`` [h, w, 3] and its ``patches`` [n, size, size, 3].

    Raises:
        ModelError: the network is missing, altered or refuses the input.
    """
    whole = prepare.whole_picture(pixels, model.input.height)
    tensor = prepare.picture_tensor(np.concatenate([patches, whole[None]]), model.input)
    output = run(model.key, {model.input.name: tensor})
    logits = output[model.outputs["logit"]].reshape(-1)[:-1]
    of_whole = float(output[model.outputs["whole"]].reshape(-1)[-1])
    near = float(np.mean(logits.astype(np.float64)))
    score = mix(near, of_whole, model.gates["share_of_the_whole"])
    kinds = output[model.outputs["scope"]][-1]
    return Answers(logits, of_whole, score, kinds, resemblance(output, -1, model))


def mix(patches: float, whole: float, share: float) -> float:
    """The score of a picture from the mean logit of its patches and that of the whole."""
    return (1 - share) * patches + share * whole


def _resembles(like: Resemblance, claim: Claim, model: Card) -> tuple[Finding, ...]:
    """What is shown beside the score, without weight."""
    known = model.familiarity
    assert known is not None
    near = Finding(
        code="synthetic.nearest_known",
        kind=Kind.MODEL,
        claim=Claim.NEUTRAL,
        because=f"Of the {NEAREST} pictures most like it among {known.pictures} known ones, "
        f"{like.generated} are generated; of all known ones, {100 * known.generated:.0f} % are.",
        model=model.ref,
        limits=("Alike is what has a similar subject and style; that proves nothing.",),
        data={"nearest": NEAREST, "generated": like.generated, "known": known.pictures},
    )
    if claim is not Claim.SYNTHETIC:
        return (near,)
    family = Finding(
        code="synthetic.family",
        kind=Kind.MODEL,
        claim=Claim.NEUTRAL,
        because=f"Among the generators that the network knows, those of {like.family} make "
        "pictures like this one."
        if like.family
        else "Which generator made it cannot be told: the picture is not clearly like those of "
        "one family that the network knows.",
        model=model.ref,
        limits=_OF_FAMILIES,
        data={"family": like.family},
    )
    return (near, family)


def claim_of(raw: float, model: Card) -> Claim:
    """What a score says by the points of a card."""
    if model.points is None:
        return Claim.NEUTRAL
    if raw >= model.points.fpr_1pct:
        return Claim.SYNTHETIC
    return Claim.AUTHENTIC if raw <= model.points.low_band else Claim.NEUTRAL


def _sentence(claim: Claim) -> str:
    if claim is Claim.SYNTHETIC:
        return (
            "The picture and patches of it look to a trained network like generated pictures; "
            "at most about one in a hundred photographs of its validation looked so."
        )
    if claim is Claim.AUTHENTIC:
        return (
            "The picture shows a trained network few of the traces that it knows of "
            "generated pictures."
        )
    return (
        "The picture looks to a trained network neither clearly like photographs nor "
        "clearly like generated pictures."
    )


def _left(code: str, reason: str) -> NotApplicable:
    return NotApplicable(code=code, reason=reason, question=Question.GENERATED_IMAGE)
