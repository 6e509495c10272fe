from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.image import face_scoring, picture_kind
from assay.analyzers.image.face_detection import DetectedFace
from assay.analyzers.image.faces import Faces
from assay.errors import ModelError
from assay.findings import Claim, NotApplicable, Question
from assay.media import Image
from assay.models import Calibration, Card, InputSpec, OperatingPoints, available

Pixels = NDArray[np.uint8]
Load = Callable[[str], Pixels]
Make = Callable[..., Image]

INSTALLED = face_scoring.MODEL in available()


@pytest.fixture
def brightness(monkeypatch: pytest.MonkeyPatch) -> Card:
    """In place of the network: the logit is the crop's mean brightness / 10 - 10."""
    card = Card(
        name="faces",
        version=1,
        task="",
        question="face_manipulation",
        licence="none",
        summary="",
        file="",
        sha256="",
        size=0,
        created="",
        origin="",
        input=InputSpec(height=64, width=64, crop_margin=1.3),
        outputs={"logit": "logit", "map": "map"},
        gates={"min_face_px": 48.0},
        calibration=Calibration(score=(-5, 5), llr=(-2, 2), n_real=100, n_fake=100),
        points=OperatingPoints(fpr_1pct=4.0, fpr_5pct=3.0, low_band=-4.0),
        metrics=(),
        data=(),
        limits=("This is a test.",),
        folder=Path(),
    )

    def score(
        crops: Sequence[Pixels], model: Card
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert all(c.shape == (64, 64, 3) and c.dtype == np.uint8 for c in crops)
        light = np.array([c.mean() / 10 - 10 for c in crops], np.float32)
        return light, np.repeat(light, 4).reshape(-1, 2, 2) / 4

    monkeypatch.setattr(face_scoring, "installed", lambda: card)
    monkeypatch.setattr(face_scoring, "score", score)
    monkeypatch.setattr(picture_kind, "drawn", lambda pixels: None)
    return card


@pytest.mark.skipif(not INSTALLED, reason="the face network is not installed")
def test_contract() -> None:
    check_analyzer(Faces())


@pytest.mark.skipif(not INSTALLED, reason="the face network is not installed")
def test_real_photograph_is_not_accused(photograph: Load, picture: Make) -> None:
    answer = Faces().analyze(picture(photograph("astronaut")))
    assert isinstance(answer, tuple)
    (finding,) = answer
    assert finding.claim is not Claim.MANIPULATED
    assert finding.curve == face_scoring.MODEL
    assert finding.model is not None
    check_answer(Faces().info, picture(photograph("astronaut")), answer)


def test_one_finding_a_face(photograph: Load, picture: Make, brightness: Card) -> None:
    pixels = np.tile(photograph("astronaut")[20:220, 120:320], (1, 3, 1)).copy()
    pixels[:, 400:] = np.minimum(pixels[:, 400:].astype(int) + 60, 255)
    image = picture(pixels)
    answer = Faces().analyze(image)
    assert isinstance(answer, tuple)
    check_answer(Faces().info, image, answer)
    assert [f.where.face for f in answer] == [0, 1, 2]
    assert all(f.question is Question.FACE_MANIPULATION and f.group == "faces" for f in answer)
    assert all(f.curve == brightness.key and f.grid is not None for f in answer)
    brightest = max(answer, key=lambda f: f.raw_score or 0)
    assert brightest.where.box is not None
    assert brightest.where.box[0] > 380
    assert brightest.claim is Claim.MANIPULATED


def test_claims_follow_the_points_of_the_card(brightness: Card) -> None:
    assert face_scoring.claim_of(4.0, brightness) is Claim.MANIPULATED
    assert face_scoring.claim_of(0.0, brightness) is Claim.NEUTRAL
    assert face_scoring.claim_of(-4.0, brightness) is Claim.AUTHENTIC


def test_small_face_is_not_judged(photograph: Load, picture: Make, brightness: Card) -> None:
    small = np.ascontiguousarray(photograph("astronaut")[::4, ::4])
    answer = Faces().analyze(picture(small))
    assert isinstance(answer, tuple)
    (finding,) = answer
    assert finding.code == "faces.not_judged"
    assert finding.data["not_applicable"] == "face_too_small"
    assert finding.raw_score is None
    assert finding.claim is Claim.NEUTRAL


def test_painted_faces_are_not_judged(
    photograph: Load, picture: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_kind, "drawn", lambda pixels: "The picture looks like a painting")
    answer = Faces().analyze(picture(photograph("astronaut")))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_photograph"
    assert answer.question is Question.FACE_MANIPULATION
    assert answer.reason.startswith("The picture looks like a painting;")


@pytest.mark.skipif(picture_kind.MODEL not in available(), reason="the network is not installed")
def test_photographs_are_not_taken_for_drawings(photograph: Load) -> None:
    for name in ("astronaut", "chelsea", "coffee"):
        assert picture_kind.drawn(photograph(name)) is None
        assert picture_kind.drawn(photograph(name)[::8, ::8]) is None  # too small to say


def test_no_face_needs_no_network(
    photograph: Load, picture: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Card:
        raise AssertionError

    monkeypatch.setattr(face_scoring, "installed", refuse)
    answer = Faces().analyze(picture(photograph("coffee")))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_face"


def test_missing_network_is_a_model_error(
    photograph: Load, picture: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_scoring, "MODEL", "faces-v999")
    with pytest.raises(ModelError, match="faces-v999"):
        Faces().analyze(picture(photograph("astronaut")))


def test_too_many_faces_are_declared(photograph: Load, picture: Make, brightness: Card) -> None:
    crowd = np.tile(photograph("astronaut")[20:220:2, 120:320:2], (5, 6, 1))
    answer = Faces().analyze(picture(crowd))
    assert isinstance(answer, tuple)
    assert answer[-1].code == "faces.left_out"
    assert answer[-1].data["faces_judged"] == 24


@pytest.mark.parametrize("box", [(0, 0, 90, 110), (400, 390, 112, 122), (178, 57, 95, 120)])
def test_crop_lies_in_the_picture(
    photograph: Load, brightness: Card, box: tuple[float, float, float, float]
) -> None:
    face = DetectedFace(box, np.zeros((5, 2), np.float32), 1.0)
    pixels = photograph("astronaut")
    square, (left, top, wide, high) = face_scoring.crop(pixels, face, brightness)
    assert square.shape == (64, 64, 3)
    assert wide == high == pytest.approx(1.3 * max(box[2:]))
    assert left >= 0
    assert top >= 0
    assert left + wide <= 512
    assert top + high <= 512


def test_grid_says_what_the_whole_face_would_score() -> None:
    share = np.array([[1.0, -1.0], [0.0, 0.0]], np.float32)
    grid = face_scoring.face_grid(share)
    assert grid.values == (0.982, 0.018, 0.5, 0.5)  # logistic of 4 * share
