"""Films judged by the picture network, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data as photographs

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.image import synthetic
from assay.analyzers.video.synthetic import CARD, VideoSynthetic
from assay.findings import Claim, NotApplicable, Question
from assay.media import Video
from assay.models import available, card

Encode = Callable[..., Path]
Open = Callable[[Path], Video]
Frame = NDArray[np.uint8]

needs_models = pytest.mark.skipif(
    not {CARD, synthetic.MODEL} <= set(available()), reason="networks are not installed"
)


def pan(count: int = 16) -> list[Frame]:
    """A camera that pans over a photograph of a cup, 256 px."""
    picture = photographs.coffee()
    return [np.ascontiguousarray(picture[60:316, 2 * i : 256 + 2 * i]) for i in range(count)]


def chart(count: int = 16) -> list[Frame]:
    """A bar chart that grows on white."""
    frames = []
    for i in range(count):
        frame = np.full((256, 256, 3), 255, np.uint8)
        for bar in range(6):
            frame[250 - 10 * bar - 5 * i : 250, 20 + 40 * bar : 40 + 40 * bar] = (30, 90, 200)
        frames.append(frame)
    return frames


def test_contract() -> None:
    check_analyzer(VideoSynthetic())


@needs_models
def test_a_film_has_the_mean_score_of_its_frames(encode: Encode, open_video: Open) -> None:
    video = open_video(encode(pan(), crf="18"))
    answer = VideoSynthetic().analyze(video)
    assert isinstance(answer, tuple)
    check_answer(VideoSynthetic().info, video, answer)
    (found,) = answer
    assert found.code == "synthetic.film"
    assert found.question is Question.GENERATED_IMAGE
    assert found.curve == CARD
    assert found.series is not None
    assert len(found.series.values) == found.data["frames_judged"] == 8
    assert found.raw_score == pytest.approx(np.mean(found.series.values), abs=1e-3)
    model, times = card(synthetic.MODEL), found.series.times
    judged = [synthetic.judge(f.pixels, model) for f in video.frames(times)]
    alone = [j.seen.score for j in judged if not isinstance(j, NotApplicable)]
    assert found.series.values == pytest.approx(alone, abs=1e-3)
    assert found.claim is not Claim.SYNTHETIC


@needs_models
def test_what_is_drawn_is_not_judged(encode: Encode, open_video: Open) -> None:
    answer = VideoSynthetic().analyze(open_video(encode(chart(), crf="18")))
    assert isinstance(answer, NotApplicable)
    assert answer.question is Question.GENERATED_IMAGE
    assert answer.reason.startswith("8 of 8 frames: ")


@needs_models
def test_a_title_before_the_film_does_not_close_the_question(
    encode: Encode, open_video: Open
) -> None:
    answer = VideoSynthetic().analyze(open_video(encode(chart(6) + pan(18), crf="18")))
    assert isinstance(answer, tuple)
    assert answer[0].data["frames_sampled"] == 8
    assert answer[0].data["frames_judged"] == 6


@needs_models
def test_a_small_film_is_left_with_the_reason(encode: Encode, open_video: Open) -> None:
    small = [np.ascontiguousarray(f[:96, :96]) for f in pan()]
    answer = VideoSynthetic().analyze(open_video(encode(small, crf="18")))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "too_small"
    assert "96 pixels" in answer.reason
