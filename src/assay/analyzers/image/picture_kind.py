"""What kind of picture is it, by the network's own features: a photograph, or something drawn?

The statistics of :mod:`assay.analyzers.image.picture_scope` know flat graphics; a drawing,
a painting or a render can be as rich as a photograph. The network was trained to tell
generated pictures from photographs, so of these its score would mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from assay.models import Card, card, prepare
from assay.models.runtime import run

__all__ = ["MODEL", "beyond", "drawn", "no_photograph"]

MODEL = "image-v7"
_DRAWN = frozenset({"drawing", "painting", "render"})

_REASONS: Mapping[str, str] = {
    "drawing": "The picture looks drawn, like a cartoon or an illustration",
    "painting": "The picture looks like a painting",
    "screenshot": "The picture looks like a screenshot or computer graphics",
    "document": "The picture looks like a scanned document",
    "chart": "The picture looks like a chart",
    "render": "The picture looks like a computer rendering",
}


def beyond(scope: NDArray[np.floating]) -> NDArray[np.floating]:
    """How much more like anything else than like a photograph, ``[...]``.

    ``scope`` [..., kinds] of whole pictures; the first kind is the photograph.
    """
    return np.asarray(scope[..., 1:].max(-1) - scope[..., 0])


def no_photograph(scope: NDArray[np.floating], model: Card) -> tuple[str, str] | None:
    """Code and sentence when the picture is gated, else None.

    The threshold in the card gates one photograph in 100 of sources left out in training.
    """
    if beyond(scope) <= model.gates["scope_threshold"]:
        return None
    kinds = model.outputs["scope_kinds"].split()
    kind = kinds[1 + int(np.argmax(scope[1:]))]
    return kind, f"{_REASONS[kind]}; generated pictures can only be told from photographs."


def drawn(pixels: NDArray[np.uint8]) -> str | None:
    """Why RGB ``pixels`` [h, w, 3] as a whole look drawn, painted or rendered, else None.

    Pictures too small for the network are let pass.

    Raises:
        ModelError: the network is missing or altered.
    """
    model = card(MODEL)
    if min(pixels.shape[:2]) < model.gates["min_side_px"]:
        return None
    whole = prepare.whole_picture(pixels, model.input.height)
    tensor = prepare.picture_tensor(whole[None], model.input)
    scope = run(model.key, {model.input.name: tensor})[model.outputs["scope"]][0]
    outside = no_photograph(scope, model)
    return _REASONS[outside[0]] if outside is not None and outside[0] in _DRAWN else None
