"""The lab's fit of fusion: it finds what made the scores, and says what the product says."""

from __future__ import annotations

import numpy as np
import pytest

from assay.findings import Claim, Kind, Question
from assay.fusion import Evidence, Hypothesis
from assay.fusion import calibration as fusion
from assay_lab.train.fusion import ALONE, Seen, fit, probability, report

FACE, WHOLE, LOCAL = (
    Question.FACE_MANIPULATION,
    Question.GENERATED_IMAGE,
    Question.LOCAL_EDIT,
)


def product(seen: Seen) -> float:
    """The probability of the product from the same ratios."""
    said = [(FACE, seen.face), (WHOLE, seen.picture)]
    evidence = {
        q: [Evidence(id="e", analyzer="a", code="c", kind=Kind.MODEL, claim=Claim.NEUTRAL,
                     because="", question=q, llr=v)]
        for q, v in said
        if v is not None
    }  # fmt: skip
    found = fusion.question_llrs(evidence)
    hypotheses = [
        Hypothesis(question=q, tested=q in found, share=share, llr=found.get(q, 0.0))
        for q, share in fusion.shares((FACE, WHOLE, LOCAL)).items()
    ]
    return fusion.posterior(hypotheses, 0.5)


def drawn(count: int = 3000) -> list[Seen]:
    """Two tests of one picture with unit noise of their own and half of one that both share."""
    rng = np.random.default_rng(0)
    seen = []
    for n in range(count):
        fake = n % 2 == 0
        shared = rng.normal()
        face, picture = (2 * (fake - 0.5) + rng.normal() + 0.5 * shared for _ in range(2))
        seen.append(Seen(f"s{n % 7}", fake, fake, float(face), float(face), float(picture)))
    return seen


@pytest.mark.parametrize("face", [None, -2.0, 0.3, 2.5])
@pytest.mark.parametrize("picture", [None, -3.0, 0.1, 4.0])
def test_the_lab_says_what_the_product_says(face: float | None, picture: float | None) -> None:
    seen = Seen("s", True, True, face, face, picture)
    numbers = (fusion._OF_PICTURE, fusion._OF_FACES, fusion._OF_BOTH)
    assert probability(seen, numbers) == pytest.approx(product(seen))


def test_the_fit_finds_the_numbers_of_gaussian_scores() -> None:
    of_picture, of_faces, added = fit(drawn())
    # of two scores with means -+1, variance 1.25 and covariance .25: 2 / (1.25 + .25) each
    assert of_picture == pytest.approx(4 / 3, abs=0.12)
    assert of_faces == pytest.approx(4 / 3, abs=0.12)
    assert added == pytest.approx(0, abs=0.12)


def test_the_report_says_that_two_tests_rank_better_than_one() -> None:
    swaps = [Seen("swaps", True, False, v, v, 0.0) for v in (-1.0, 0.5, 2.0)]
    found = report([*drawn(900), *swaps])["wholly generated"]
    both = found["faces count for the picture"]
    assert both["auc"] > found["the question of faces alone"]["auc"] + 0.02
    assert both["log loss"] < found["each question by its own tests"]["log loss"]


def test_local_fakes_do_not_enter_the_fit() -> None:
    seen = drawn(900)
    swaps = [Seen("swaps", True, False, 3.0, 3.0, -4.0)] * 200
    assert fit(seen) == fit([*seen, *swaps])
    assert probability(swaps[0], ALONE) > 0.8
