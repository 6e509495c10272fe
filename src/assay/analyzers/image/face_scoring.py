"""Puts face crops to the face network; shared by the image and the video analyzer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.image.face_detection import DetectedFace
from assay.findings import Claim, Grid, Json
from assay.models import Card, card, prepare
from assay.models.runtime import run

__all__ = ["LIMITS", "MODEL", "claim_of", "crop", "face_facts", "face_grid", "installed", "score"]

MODEL = "faces-v5"

LIMITS = (
    "A high score means that the face resembles manipulated or generated faces the network "
    "was trained on; filters, heavy retouching and strong compression can raise it.",
    "A low score does not prove that the face is authentic: unknown methods may pass.",
    "Drawings, paintings, statues, masks and dolls that are found as faces are scored too, "
    "and their score means nothing.",
)

_MEANING = (
    "High where the network would call the whole face manipulated if all of it looked like "
    "this place; it shows what moved the network, not the outline of an edit."
)


def crop(
    pixels: NDArray[np.uint8], face: DetectedFace, model: Card
) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
    """The square the network sees, uint8 [size, size, 3], and its box in the picture."""
    height, width = pixels.shape[:2]
    left, top, side = prepare.face_square(face.box, model.input.crop_margin, width, height)
    square = prepare.square_crop(pixels, left, top, side, model.input.height)
    return square, (left, top, side, side)


def score(
    crops: Sequence[NDArray[np.uint8]], model: Card
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Logits [n] and, where the network has one, maps [n, rows, columns] of ``crops``.

    Raises:
        ModelError: the network is missing, altered or refuses the input.
    """
    tensor = prepare.picture_tensor(np.stack(crops), model.input)
    output = run(model.key, {model.input.name: tensor})
    logits = output[model.outputs.get("logit", "logit")].reshape(len(crops), -1)[:, 0]
    maps = output.get(model.outputs.get("map", "map"))
    return logits, None if maps is None else maps.reshape(len(crops), *maps.shape[-2:])


def face_grid(share: NDArray[np.float32]) -> Grid:
    """A network map (each place's share of the logit, [rows, columns]) as a grid in 0..1."""
    rows, columns = share.shape
    # As if every place were like this one: the logit of the whole face would be this.
    whole = np.clip(share.astype(np.float64) * (rows * columns), -30, 30)
    values = 1 / (1 + np.exp(-whole))
    return Grid(
        rows=rows,
        columns=columns,
        values=tuple(round(float(v), 4) for v in values.ravel()),
        meaning=_MEANING,
    )


def claim_of(logit: float, model: Card) -> Claim:
    """Direction of a logit by the card's operating points; neutral where it has none."""
    if model.points is None:
        return Claim.NEUTRAL
    if logit >= model.points.fpr_1pct:
        return Claim.MANIPULATED
    return Claim.AUTHENTIC if logit <= model.points.low_band else Claim.NEUTRAL


def face_facts(face: DetectedFace) -> dict[str, Json]:
    """Box, landmarks and confidence of a face for the technical appendix."""
    return {
        "face_box": [round(v, 1) for v in face.box],
        "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in face.landmarks],
        "detector_score": round(face.score, 4),
    }


def installed() -> Card:
    """The card of the face network.

    Raises:
        ModelError: it is not installed.
    """
    return card(MODEL)
