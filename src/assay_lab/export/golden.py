"""Inputs that a test rebuilds from a seed, and what a model answers to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.models import InputSpec, golden
from assay_lab.export.onnx_graph import run_onnx

RECIPE = (
    "r = numpy.random.RandomState(seed); a = r.uniform(-1, 1, (1, 3, 6, 6)); "
    "repeat each cell ceil(H/6) x ceil(W/6) times (numpy.repeat on both axes), cut to H x W; "
    "add 0.1 * r.uniform(-1, 1, (1, 3, H, W)); float32"
)


def seeded_input(seed: int, height: int, width: int) -> NDArray[np.float32]:
    """Coarse blocks with fine noise, ``[1, 3, H, W]`` float32."""
    return golden.seeded_input("blocks", seed, InputSpec(height=height, width=width))


def write_golden(model: Path, side: int, tolerance: float) -> None:
    """Write ``golden.json`` beside ``model``: seeds, the logit (and sum of the map) for each.

    ``tolerance``: how far another processor may be off. Networks that round what they
    multiply with (``four_bits``) can differ in the last level.
    """
    cases: list[dict[str, Any]] = []
    for seed in range(6):
        found = run_onnx(model, seeded_input(seed, side, side))
        case = {"input": "blocks", "seed": seed, "logit": float(found[0].reshape(-1)[0])}
        cases.append(case | ({"map_sum": float(found[1].sum())} if len(found) == 2 else {}))
    document = {
        "model": model.parent.name,
        "recipe": RECIPE,
        "height": side,
        "width": side,
        "cases": cases,
        "tolerance": tolerance,
    }
    (model.parent / "golden.json").write_text(json.dumps(document, indent=1) + "\n")
