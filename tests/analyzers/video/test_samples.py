"""The whole way from file to findings, on the shipped sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.analyzers.audio.bandwidth import Bandwidth
from assay.analyzers.audio.editing import AudioEditing
from assay.analyzers.audio.mains_hum import MainsHum
from assay.analyzers.checks import check_answer
from assay.analyzers.protocol import Analyzer
from assay.analyzers.video.editing import VideoEditing
from assay.analyzers.video.frames import VideoFrames
from assay.analyzers.video.structure import VideoStructure
from assay.findings import Claim
from assay.media import Video
from assay.media.decode import decode

SAMPLE = Path(__file__).parents[2] / "media" / "samples" / "portrait.mp4"


@pytest.fixture(scope="module")
def video() -> Video:
    media = decode(SAMPLE)
    assert isinstance(media, Video)
    return media


@pytest.mark.parametrize(
    "analyzer", [VideoStructure(), VideoEditing(), VideoFrames(count=6)], ids=lambda a: a.info.name
)
def test_the_picture_is_not_accused(video: Video, analyzer: Analyzer) -> None:
    answer = analyzer.analyze(video)
    check_answer(analyzer.info, video, answer)
    if isinstance(answer, tuple):
        assert all(f.claim is Claim.NEUTRAL for f in answer)


@pytest.mark.parametrize(
    "analyzer", [AudioEditing(), Bandwidth(), MainsHum()], ids=lambda a: a.info.name
)
def test_the_sound_is_not_accused(video: Video, analyzer: Analyzer) -> None:
    assert video.sound is not None
    answer = analyzer.analyze(video.sound)
    check_answer(analyzer.info, video.sound, answer)
    if isinstance(answer, tuple):
        assert all(f.claim is Claim.NEUTRAL for f in answer)
