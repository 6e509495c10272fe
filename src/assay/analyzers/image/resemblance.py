"""What a picture resembles: how familiar it is, and of which family of generators it could be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assay.models import Card

__all__ = ["NEAREST", "Resemblance", "resemblance"]

NEAREST = 10
"""Known pictures that the network compares a picture with."""


class Resemblance(NamedTuple):
    """``ood_score``: share of known photographs that lie nearer to known pictures of other
    sources than this one does, 0..1; ``generated``: how many of its ``NEAREST`` known pictures
    are generated; ``family``: the family of generators it would be named after, "" for none.
    """

    ood_score: float
    generated: int
    family: str


def resemblance(output: dict[str, NDArray[np.float32]], row: int, model: Card) -> Resemblance:
    """Read it from the outputs of the network for picture ``row``."""
    assert model.familiarity is not None
    scores = output[model.outputs["family"]][row]
    best = int(np.argmax(scores))
    least = model.families[best].least
    named = least is not None and float(scores[best]) >= least
    return Resemblance(
        model.familiarity(float(output[model.outputs["distance"]][row])),
        round(NEAREST * float(output[model.outputs["neighbours"]][row])),
        model.families[best].name if named else "",
    )
