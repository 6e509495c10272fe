"""Golden outputs: a network must answer seeded inputs as it did when it was released.

Refresh only with a new model version; ``golden.json`` is written by the lab's export.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.errors import ModelError
from assay.models import runtime
from assay.models.card import InputSpec
from assay.models.store import card

__all__ = ["check_golden", "seeded_input"]


def seeded_input(recipe: str, seed: int, spec: InputSpec) -> NDArray[np.float32]:
    """The input of one golden case, rebuilt from its seed.

    ``blocks``: 6 x 6 coarse blocks with fine noise, [1, 3, height, width].
    ``hum``: three sines with noise at 16 bit-like loudness, [1, samples].
    """
    r = np.random.RandomState(seed)
    if recipe == "blocks":
        blocks = r.uniform(-1, 1, (1, 3, 6, 6))
        tall, wide = -(-spec.height // 6), -(-spec.width // 6)
        x = np.repeat(np.repeat(blocks, tall, axis=2), wide, axis=3)
        x = x[:, :, : spec.height, : spec.width]
        noise = 0.1 * r.uniform(-1, 1, (1, 3, spec.height, spec.width))
        return np.asarray(x + noise, np.float32)
    if recipe == "hum":
        t = np.arange(spec.samples) / spec.rate
        x = 0.1 * np.sin(2 * np.pi * r.uniform(80, 3000, (3, 1)) * t).sum(axis=0)
        noise = 0.02 * r.uniform(-1, 1, spec.samples)
        return np.asarray((x + noise)[None], np.float32)
    raise ModelError(f"unknown golden recipe {recipe!r}")


def check_golden(key: str) -> int:
    """Run the golden cases of ``key``; returns how many there are (0 without a golden file).

    Raises:
        ModelError: an unreadable golden file, or an output is off by more than its tolerance.
    """
    found = card(key)
    path = found.folder / "golden.json"
    try:
        golden: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
        cases, tolerance = golden["cases"], float(golden["tolerance"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: not a golden file: {error}") from error
    output = found.outputs.get("logit", "logit")
    for case in cases:
        x = seeded_input(case["input"], int(case["seed"]), found.input)
        got = float(runtime.run(key, {found.input.name: x})[output].reshape(-1)[0])
        if not abs(got - float(case["logit"])) <= tolerance:
            raise ModelError(
                f"model {key!r}, golden case {case['seed']}: {got:.6f}, not {case['logit']:.6f}"
            )
    return len(cases)
