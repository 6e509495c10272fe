"""The shipped face model reproduces its golden outputs and its card adds up.

Refresh golden.json with ``python -m assay_lab.export.faces`` (a new version folder
once the model has been released).
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from assay.analyzers.image.face_scoring import MODEL as KEY
from assay.models import card, model_path
from assay.models.golden import seeded_input
from assay.models.runtime import run


def test_golden_outputs() -> None:
    found = card(KEY)
    golden = json.loads((found.folder / "golden.json").read_text("utf-8"))
    assert golden["model"] == KEY
    cases = golden["cases"]
    assert (golden["height"], golden["width"]) == (found.input.height, found.input.width)
    x = np.concatenate([seeded_input("blocks", c["seed"], found.input) for c in cases])
    out = run(KEY, {"input": x})
    expected = [c["logit"] for c in cases]
    np.testing.assert_allclose(out["logit"], expected, atol=golden["tolerance"])
    sums = out["map"].sum((1, 2))
    np.testing.assert_allclose(sums, [c["map_sum"] for c in cases], atol=golden["tolerance"])


def test_map_is_the_logit_without_its_bias() -> None:
    side = card(KEY).input.height
    x = np.random.RandomState(9).uniform(-1, 1, (4, 3, side, side)).astype(np.float32)
    out = run(KEY, {"input": x})
    bias = out["logit"] - out["map"].sum((1, 2))
    np.testing.assert_allclose(bias, bias[0], atol=1e-3)
    one = run(KEY, {"input": x[2:3]})
    np.testing.assert_allclose(one["logit"][0], out["logit"][2], atol=1e-4)


def test_card_holds_together() -> None:
    found = card(KEY)
    assert model_path(KEY).stat().st_size == found.size < 25_000_000
    assert found.calibration is not None
    assert found.points is not None
    assert found.points.low_band < found.points.fpr_5pct <= found.points.fpr_1pct
    bound = np.log(min(found.calibration.n_real, found.calibration.n_fake) / 10)
    assert max(abs(v) for v in found.calibration.llr) <= bound + 1e-4
    assert {m.source for m in found.metrics if m.set == "test"} >= {"dfdc", "ciplab", "hardfake"}
    assert all(d["licence"] for d in found.data)
    assert found.limits


@pytest.mark.parametrize("seed", [0, 1])
def test_answers_are_deterministic(seed: int) -> None:
    x = seeded_input("blocks", seed, card(KEY).input)
    np.testing.assert_array_equal(run(KEY, {"input": x})["logit"], run(KEY, {"input": x})["logit"])
