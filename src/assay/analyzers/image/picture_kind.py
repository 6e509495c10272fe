"""What kind of picture is it, by the network's own features: a photograph, or something drawn?

The statistics of :mod:`assay.analyzers.image.picture_scope` know flat graphics; a drawing,
a painting or a render can be as rich as a photograph. The network was trained to tell
generated pictures from photographs, so of these its score would mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from assay.models import Card

__all__ = ["beyond", "no_photograph"]

_REASONS: Mapping[str, str] = {
    "drawing": "The picture looks drawn, like a cartoon or an illustration",
    "painting": "The picture looks like a painting",
    "screenshot": "The picture looks like a screenshot or computer graphics",
    "document": "The picture looks like a scanned document",
    "chart": "The picture looks like a chart",
    "render": "The picture looks like a computer rendering",
}


def beyond(scope: NDArray[np.floating]) -> float:
    """How much more like anything else than like a photograph; ``scope`` [kinds] of the whole.

    The first kind is the photograph.
    """
    return float(np.max(scope[1:]) - scope[0])


def no_photograph(scope: NDArray[np.floating], model: Card) -> tuple[str, str] | None:
    """Code and sentence when the picture is gated, else None.

    The threshold in the card gates one photograph in 100 of sources left out in training.
    """
    if beyond(scope) <= model.gates["scope_threshold"]:
        return None
    kinds = model.outputs["scope_kinds"].split()
    kind = kinds[1 + int(np.argmax(scope[1:]))]
    return kind, f"{_REASONS[kind]}; generated pictures can only be told from photographs."
