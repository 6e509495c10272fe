from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.image import picture_scope, synthetic
from assay.analyzers.image.patches import native_patches
from assay.analyzers.image.resemblance import resemblance
from assay.analyzers.image.synthetic import SyntheticImage
from assay.findings import Claim, NotApplicable, Question
from assay.media import Image
from assay.models import Calibration, Card, InputSpec, OperatingPoints, available
from assay.models.card import Familiarity, Family
from assay.models.golden import check_golden

Pixels = NDArray[np.uint8]
Load = Callable[[str], Pixels]
Make = Callable[..., Image]

INSTALLED = synthetic.MODEL in available()
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.fixture
def brightness(monkeypatch: pytest.MonkeyPatch) -> Card:
    """In place of the network: the logit of a patch is its mean brightness / 10 - 10."""
    card = Card(
        name="image",
        version=1,
        task="",
        question="generated_image",
        licence="none",
        summary="",
        file="",
        sha256="",
        size=0,
        created="",
        origin="",
        input=InputSpec(height=64, width=64),
        outputs={
            "logit": "patch",
            "whole": "whole",
            "scope": "scope",
            "scope_kinds": "photograph chart drawing",
            "family": "family",
            "distance": "distance",
            "neighbours": "neighbours",
        },
        gates={"min_side_px": 100.0, "scope_threshold": 0.0, "share_of_the_whole": 0.25},
        calibration=Calibration(score=(-5, 5), llr=(-2, 2), n_real=100, n_fake=100),
        points=OperatingPoints(fpr_1pct=4.0, fpr_5pct=3.0, low_band=-4.0),
        metrics=(),
        data=(),
        limits=("This is a test.",),
        folder=Path(),
        families=(Family(name="Bright", least=8.0), Family(name="Dark")),
        familiarity=Familiarity(distance=(5.0, 15.0), share=(0.0, 1.0), pictures=99, generated=0.4),
    )

    def run(key: str, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        assert key == card.key
        (seen,) = inputs.values()
        assert seen.shape[1:] == (3, 64, 64)
        level = seen.mean((1, 2, 3)) * 25.5 - 10
        drawn = seen.std((1, 2, 3)) * 255 - 60  # a photograph has less contrast than that
        return {
            "patch": level,
            "whole": level,
            "scope": np.c_[0 * drawn, drawn - 9, drawn],
            "family": np.c_[level, -level],
            "distance": level,
            "neighbours": np.full(len(level), 0.3, np.float32),
        }

    monkeypatch.setattr(synthetic, "installed", lambda: card)
    monkeypatch.setattr(synthetic, "run", run)
    return card


def ramp(low: float, high: float, side: int = 240) -> Pixels:
    """A noisy ramp from left to right: photograph-like to the scope gate."""
    rng = np.random.default_rng(1)
    base = np.linspace(low, high, side)[None, :, None] + rng.normal(0, 8, (side, side, 3))
    return np.clip(base, 0, 255).astype(np.uint8)


@pytest.mark.skipif(not INSTALLED, reason="the network is not installed")
def test_contract() -> None:
    check_analyzer(SyntheticImage())


@pytest.mark.skipif(not INSTALLED, reason="the network is not installed")
def test_golden() -> None:
    assert check_golden(synthetic.MODEL) >= 6


@pytest.mark.skipif(not INSTALLED, reason="the network is not installed")
@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("quality", [None, 80])
def test_real_photographs_are_not_accused(
    photograph: Load, picture: Make, name: str, quality: int | None
) -> None:
    media = picture(photograph(name), quality)
    answer = SyntheticImage().analyze(media)
    assert isinstance(answer, tuple)
    assert answer[0].claim is not Claim.SYNTHETIC
    check_answer(SyntheticImage().info, media, answer)


def test_score_mixes_the_patches_with_the_whole(picture: Make, brightness: Card) -> None:
    answer = SyntheticImage().analyze(picture(ramp(60, 200)))
    assert isinstance(answer, tuple)
    finding, near = answer
    assert near.code == "synthetic.nearest_known"
    scores = finding.data["patch_scores"]
    assert isinstance(scores, list)
    assert len(scores) == 4
    whole = finding.data["whole_score"]
    assert whole == pytest.approx(130 / 10 - 10, abs=0.1)
    mixed = 0.75 * float(np.mean(scores)) + 0.25 * whole  # type: ignore[arg-type, operator]
    assert finding.raw_score == pytest.approx(mixed, abs=1e-3)
    assert finding.curve == brightness.key
    assert finding.question is Question.GENERATED_IMAGE
    assert finding.grid is not None
    grid = np.array(finding.grid.values).reshape(finding.grid.rows, finding.grid.columns)
    assert (np.diff(grid, axis=1) > 0).all()  # brighter to the right, and so is the map
    for box in finding.data["patch_boxes"]:  # type: ignore[union-attr]
        assert box[2:] == [64.0, 64.0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("low", "high", "claim"),
    [(180, 240, Claim.SYNTHETIC), (20, 60, Claim.AUTHENTIC), (90, 110, Claim.NEUTRAL)],
)
def test_claims_follow_the_operating_points(
    picture: Make, brightness: Card, low: float, high: float, claim: Claim
) -> None:
    answer = SyntheticImage().analyze(picture(ramp(low, high)))
    assert isinstance(answer, tuple)
    assert answer[0].claim is claim
    assert answer[0].limits


@pytest.mark.parametrize(
    ("low", "high", "family", "ood"), [(200, 255, "Bright", 0.75), (150, 200, "", 0.25)]
)
def test_a_family_is_named_where_its_output_is_high(
    picture: Make, brightness: Card, low: float, high: float, family: str, ood: float
) -> None:
    answer = SyntheticImage().analyze(picture(ramp(low, high)))
    assert isinstance(answer, tuple)
    whole, near, named = answer
    assert whole.claim is Claim.SYNTHETIC
    assert named.code == "synthetic.family"
    assert named.data["family"] == family
    assert (family or "cannot be told") in named.because
    assert near.data == {"nearest": 10, "generated": 3, "known": 99}
    assert {f.curve for f in (near, named)} == {None}
    assert whole.data["ood_score"] == pytest.approx(ood, abs=0.05)


def test_a_family_that_was_never_told_apart_is_not_named(brightness: Card) -> None:
    output = {
        "family": np.array([[-9.0, 9.0]], np.float32),
        "distance": np.array([99.0], np.float32),
        "neighbours": np.array([1.0], np.float32),
    }
    assert resemblance(output, 0, brightness) == (1.0, 10, "")


def test_what_looks_drawn_is_left_with_its_kind(picture: Make, brightness: Card) -> None:
    """Rich enough for the statistics, but not for the network."""
    pixels = ramp(-80, 330)
    assert picture_scope.out_of_scope(picture_scope.measure(pixels)) is None
    answer = SyntheticImage().analyze(picture(pixels))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "drawing"
    assert "drawn" in answer.reason


@pytest.mark.skipif(not INSTALLED, reason="the network is not installed")
def test_a_drawing_is_not_called_authentic(picture: Make) -> None:
    """Soft shading, outlines and flat fields, as in a cartoon: gated, or at least not cleared."""
    answer = SyntheticImage().analyze(picture(cartoon()))
    if not isinstance(answer, NotApplicable):
        assert answer[0].claim is not Claim.AUTHENTIC


def cartoon() -> Pixels:
    page = Pillow.new("RGB", (640, 480))
    page.paste(Pillow.linear_gradient("L").resize((640, 480)).convert("RGB"))
    pen = ImageDraw.Draw(page)
    for k, colour in enumerate([(250, 200, 160), (90, 160, 240), (240, 90, 90), (120, 200, 90)]):
        box = (40 + 130 * k, 90 + 20 * k, 220 + 130 * k, 380 - 10 * k)
        pen.ellipse(box, fill=colour, outline=(20, 20, 30), width=6)
        pen.arc((70 + 130 * k, 200, 170 + 130 * k, 300), 20, 160, fill=(20, 20, 30), width=5)
    return np.asarray(page)


def poster() -> Pixels:
    page = Pillow.new("RGB", (400, 300), (250, 250, 250))
    pen = ImageDraw.Draw(page)
    for row in range(6):
        pen.text((20, 20 + 40 * row), f"Line {row} of a page of text", fill=(0, 0, 0))
    return np.asarray(page)


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (ramp(60, 200, 90), "too_small"),
        (np.full((300, 300, 3), 128, np.uint8), "blank"),
        (poster(), "graphics"),
    ],
)
def test_what_is_no_photograph_is_left(
    picture: Make, brightness: Card, pixels: Pixels, code: str
) -> None:
    answer = SyntheticImage().analyze(picture(pixels))
    assert isinstance(answer, NotApplicable)
    assert answer.code == code
    assert answer.question is Question.GENERATED_IMAGE


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_are_in_scope(photograph: Load, name: str) -> None:
    assert picture_scope.out_of_scope(picture_scope.measure(photograph(name))) is None


def test_few_colours_are_out_of_scope() -> None:
    rng = np.random.default_rng(0)
    two = np.where(rng.random((200, 200, 1)) < 0.5, 0, 255).astype(np.uint8).repeat(3, 2)
    found = picture_scope.out_of_scope(picture_scope.measure(two))
    assert found is not None
    assert found[0] == "few_colours"


def test_grey_photographs_are_in_scope(photograph: Load) -> None:
    grey = photograph("astronaut").mean(2).astype(np.uint8)[..., None].repeat(3, 2)
    assert picture_scope.out_of_scope(picture_scope.measure(grey)) is None


@pytest.mark.parametrize("shape", [(168, 168), (100, 900), (500, 130), (2000, 3000), (96, 96)])
def test_patches_are_unscaled_cuts_of_the_picture(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = native_patches(pixels, 168)
    assert found.pixels.shape == (found.rows * found.columns, 168, 168, 3)
    assert len(found.boxes) == len(found.pixels) <= 9
    for patch, (left, top, width, height) in zip(found.pixels, found.boxes, strict=True):
        x, y, w, h = int(left), int(top), int(width), int(height)
        assert x + w <= shape[1]
        assert y + h <= shape[0]
        dx, dy = (168 - w) // 2, (168 - h) // 2
        assert np.array_equal(patch[dy : dy + h, dx : dx + w], pixels[y : y + h, x : x + w])


def test_patches_prefer_texture_and_are_deterministic(photograph: Load) -> None:
    pixels = np.full((600, 600, 3), 200, np.uint8)
    pixels[:160, :160] = photograph("chelsea")[60:220, 60:220]
    before = pixels.copy()
    one, two = native_patches(pixels, 96), native_patches(pixels, 96)
    assert np.array_equal(one.pixels, two.pixels)
    assert one.pixels[0].std() > 10
    assert np.array_equal(pixels, before)
