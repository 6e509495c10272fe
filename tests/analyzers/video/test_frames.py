from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.video.frames import DEFAULT_QUESTIONS, VideoFrames
from assay.findings import Claim, Finding, Kind, NotApplicable, Question, Where
from assay.media import Image, Media, MediaKind, Video

Encode = Callable[..., Path]
Open = Callable[[Path], Video]
Scene = Callable[..., list[np.ndarray]]


class Brightness:
    """Calls bright pictures manipulated, and marks their left half."""

    def __init__(self, refuse: bool = False) -> None:
        self.refuse = refuse
        self.sizes: set[tuple[int, int]] = set()

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="image.brightness", version=1, question="Is it bright?",
            media=frozenset({MediaKind.IMAGE}), source="none", limitations=("Only a test.",),
            bears_on=frozenset({Question.LOCAL_EDIT}), models=("m-v1",),
        )  # fmt: skip

    def analyze(self, media: Media) -> Answer:
        assert isinstance(media, Image)
        if self.refuse:
            return NotApplicable(code="dark", reason="It is night.")
        self.sizes.add((media.width, media.height))
        mean = float(media.pixels.mean())
        if mean < 20:
            return ()
        return (
            Finding(
                code="brightness.level", kind=Kind.STRUCTURE,
                claim=Claim.MANIPULATED if mean > 128 else Claim.NEUTRAL,
                because="The picture has light.", question=Question.LOCAL_EDIT,
                raw_score=mean, limits=("Only a test.",),
                where=Where(box=(0.0, 0.0, media.width / 2, media.height)),
            ),
        )  # fmt: skip


def _grey(levels: list[int], size: tuple[int, int] = (64, 64)) -> list[np.ndarray]:
    return [np.full((*size, 3), v, np.uint8) for v in levels]


def test_contract() -> None:
    check_analyzer(VideoFrames([Brightness()]))
    check_analyzer(VideoFrames())


def test_the_median_frame_speaks(encode: Encode, open_video: Open) -> None:
    video = open_video(encode(_grey([60] * 40 + [200] * 80), crf="10"))
    answer = VideoFrames([Brightness()], 12).analyze(video)
    assert isinstance(answer, tuple)
    check_answer(VideoFrames([Brightness()]).info, video, answer)
    (found,) = answer
    assert found.code == "video.frames.brightness.level"
    assert found.claim is Claim.MANIPULATED
    assert found.question is Question.VIDEO_EDIT
    assert found.curve is None
    assert found.raw_score == pytest.approx(200, abs=3)
    assert found.where.start == pytest.approx(40 / 30, abs=0.35)
    assert found.where.end == pytest.approx(115 / 30, abs=0.1)
    assert found.where.box == (0.0, 0.0, 32.0, 64.0)
    assert found.series is not None
    assert len(found.series.times) == 12
    assert found.data["share"] == pytest.approx(8 / 12, abs=1e-3)


def test_one_odd_frame_proves_nothing(encode: Encode, open_video: Open) -> None:
    few = open_video(encode(_grey([60] * 100 + [200] * 20), crf="10"))
    (found,) = VideoFrames([Brightness()], 12).analyze(few)  # type: ignore[misc]
    assert found.claim is Claim.NEUTRAL
    assert found.raw_score == pytest.approx(60, abs=3)
    rare = open_video(encode(_grey([0] * 100 + [200] * 20), crf="10"))
    assert VideoFrames([Brightness()], 12).analyze(rare) == ()


def test_reasons_of_refusal_are_passed_on(encode: Encode, open_video: Open) -> None:
    video = open_video(encode(_grey([60] * 5)))
    answer = VideoFrames([Brightness(refuse=True)], 3).analyze(video)
    assert answer == NotApplicable(code="no_question_applies", reason="It is night.")
    assert VideoFrames([], 3).analyze(video) == ()
    none = replace(video, _frames=lambda times: iter(()))
    answer = VideoFrames([Brightness()], 3).analyze(none)
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_frames"


def test_huge_frames_are_cut_to_their_middle(encode: Encode, open_video: Open) -> None:
    video = open_video(encode(_grey([100], (1400, 4000)), preset="ultrafast"))
    analyzer = Brightness()
    (found,) = VideoFrames([analyzer], 1).analyze(video)  # type: ignore[misc]
    ((width, height),) = analyzer.sizes
    assert width * height <= 4_000_000
    left, top, w, _ = found.where.box
    assert (left % 8, top % 8) == (0, 0)
    assert left > 0
    assert top > 0
    assert w == width / 2


def test_the_usual_questions_hold_on_a_clean_take(
    encode: Encode, open_video: Open, make_scene: Scene
) -> None:
    video = open_video(encode(make_scene(30)))
    analyzer = VideoFrames(count=4)
    assert len(DEFAULT_QUESTIONS) >= 1
    answer = analyzer.analyze(video)
    check_answer(analyzer.info, video, answer)
    if isinstance(answer, tuple):
        assert all(f.claim is Claim.NEUTRAL for f in answer)


def test_count_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        VideoFrames([], 0)
