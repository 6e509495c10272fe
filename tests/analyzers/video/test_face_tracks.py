"""Tracking and pooling on short videos made of a real photograph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.image import face_scoring
from assay.analyzers.image.face_detection import DetectedFace
from assay.analyzers.video.face_tracks import follow, likeness, look
from assay.analyzers.video.faces import VideoFaces, trimmed_mean
from assay.findings import Claim, NotApplicable
from assay.media import Image, Source, Video, decode
from assay.models import Calibration, Card, InputSpec, OperatingPoints, available

Pixels = NDArray[np.uint8]

INSTALLED = face_scoring.MODEL in available()


def head(mirrored: bool = False) -> Pixels:
    """The astronaut's head, 200 px; ``mirrored`` and tinted stands for somebody else."""
    from skimage import data

    pixels = data.astronaut()[20:220, 120:320]
    if mirrored:
        pixels = np.clip(pixels[:, ::-1] * np.array([0.5, 0.9, 1.2]), 0, 255)
    return np.asarray(pixels, np.uint8)


def frame(time: float, *placed: tuple[Pixels, int, int], level: int = 110) -> Image:
    pixels = np.full((360, 640, 3), level, np.uint8)
    for part, top, left in placed:
        pixels[top : top + part.shape[0], left : left + part.shape[1]] = part
    pixels.setflags(write=False)
    source = Source(
        path=Path("none"), sha256="", size=0, format="mp4", mime="", extension_matches=True
    )
    return Image(source=source, pixels=pixels, stored_width=640, stored_height=360, time=time)


def whole(pixels: Pixels, face: DetectedFace) -> tuple[Pixels, tuple[float, float, float, float]]:
    return pixels[:8, :8], face.box


def test_two_moving_faces_are_two_tracks() -> None:
    frames = [
        frame(i * 0.2, (head(), 60, 20 + 6 * i), (head(mirrored=True), 80, 400 - 6 * i))
        for i in range(12)
    ]
    tracks, count, cuts = follow(frames, whole)
    assert count == 12
    assert cuts == ()
    assert [len(t.sightings) for t in tracks] == [12, 12]
    for track, step in zip(
        sorted(tracks, key=lambda t: t.sightings[0].face.box), (6, -6), strict=True
    ):
        xs = [s.face.box[0] for s in track.sightings]
        assert np.diff(xs) == pytest.approx(step, abs=4)


def test_cut_ends_a_track_even_at_the_same_place() -> None:
    before = [frame(i * 0.2, (head(), 60, 200)) for i in range(5)]
    after = [frame(1 + i * 0.2, (head(mirrored=True), 60, 200), level=230) for i in range(5)]
    tracks, _, cuts = follow([*before, *after], whole)
    assert cuts == (1.0,)
    assert [(t.start, t.end) for t in tracks] == [(0.0, 0.8), (1.0, pytest.approx(1.8))]


def test_other_person_at_the_same_place_is_another_track() -> None:
    frames = [frame(i * 0.2, (head(mirrored=i >= 5), 60, 200)) for i in range(10)]
    tracks, _, _ = follow(frames, whole)
    assert [len(t.sightings) for t in tracks] == [5, 5]


def test_short_gap_is_bridged_and_long_gap_is_not() -> None:
    seen = frame(0.0, (head(), 60, 200))
    for gap, expected in ((1.0, 1), (5.0, 2)):
        times = [0.0, 0.2, 0.2 + gap / 2, 0.2 + gap, 0.4 + gap]
        frames = [frame(t, (head(), 60, 200)) if i != 2 else frame(t) for i, t in enumerate(times)]
        # The empty frame itself must not count as a cut.
        assert likeness(look(seen.pixels), look(frames[2].pixels)) > 0.6
        tracks, _, _ = follow(frames, whole)
        assert len(tracks) == expected


def test_trimmed_mean_agrees_with_scipy() -> None:
    from scipy.stats import trim_mean

    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 9, 16):
        values = rng.normal(0, 3, n).astype(np.float32)
        assert trimmed_mean(values) == pytest.approx(trim_mean(values.astype(float), 0.2))


@pytest.fixture
def video(tmp_path: Path) -> Callable[[Sequence[Pixels]], Video]:
    """A video file of the given frames at 10 a second, decoded by the product."""

    def make(frames: Sequence[Pixels]) -> Video:
        import av

        path = tmp_path / "video.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=Fraction(10))
            stream.width, stream.height = frames[0].shape[1], frames[0].shape[0]
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            for pixels in frames:
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        media = decode(path)
        assert isinstance(media, Video)
        return media

    return make


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
        input=InputSpec(height=64, width=64, crop_margin=1.0),
        outputs={},
        gates={"min_face_px": 48.0},
        calibration=Calibration(score=(-5, 5), llr=(-2, 2), n_real=100, n_fake=100),
        points=OperatingPoints(fpr_1pct=4.0, fpr_5pct=3.0, low_band=-4.0),
        metrics=(),
        data=(),
        limits=(),
        folder=Path(),
    )

    def score(crops: Sequence[Pixels], model: Card) -> tuple[NDArray[np.float32], None]:
        assert len(crops) <= 16
        return np.array([c.mean() / 10 - 10 for c in crops], np.float32), None

    monkeypatch.setattr(face_scoring, "installed", lambda: card)
    monkeypatch.setattr(face_scoring, "score", score)
    return card


def test_one_finding_a_person(video: Callable[[Sequence[Pixels]], Video], brightness: Card) -> None:
    small = np.ascontiguousarray(head(mirrored=True)[::4, ::4])
    frames = [frame(0, (head(), 60, 20 + 4 * i), (small, 80, 560)).pixels for i in range(30)]
    media = video(frames)
    analyzer = VideoFaces(frames=20)
    answer = analyzer.analyze(media)
    assert isinstance(answer, tuple)
    check_answer(analyzer.info, media, answer)
    judged = [f for f in answer if f.code == "faces.track"]
    assert len(judged) == 1
    finding = judged[0]
    assert finding.curve == brightness.key
    assert finding.series is not None
    assert len(finding.series.times) == 16
    assert finding.raw_score == pytest.approx(trimmed_mean(np.float32(finding.series.values)))
    assert finding.where.start == pytest.approx(0.0, abs=0.2)
    assert finding.where.end == pytest.approx(2.9, abs=0.2)
    rest = [f for f in answer if f.code == "faces.not_judged"]
    assert all(f.data["not_applicable"] == "face_too_small" for f in rest)
    assert all(f.claim is Claim.NEUTRAL and f.raw_score is None for f in rest)
    assert analyzer.analyze(media) == answer


def test_video_without_faces(video: Callable[[Sequence[Pixels]], Video], brightness: Card) -> None:
    answer = VideoFaces(frames=8).analyze(video([frame(0).pixels] * 12))
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_face"


@pytest.mark.skipif(not INSTALLED, reason="the face network is not installed")
def test_contract() -> None:
    check_analyzer(VideoFaces())


@pytest.mark.skipif(not INSTALLED, reason="the face network is not installed")
def test_real_face_is_not_accused(video: Callable[[Sequence[Pixels]], Video]) -> None:
    frames = [frame(0, (head(), 60, 20 + 4 * i)).pixels for i in range(20)]
    answer = VideoFaces(frames=10).analyze(video(frames))
    assert isinstance(answer, tuple)
    assert all(f.claim is not Claim.MANIPULATED for f in answer)


def test_a_long_video_keeps_its_faces(make: ModuleType, tmp_path: Path) -> None:
    """Samples of a long video lie further apart than a face may be out of sight in a short one."""
    path = make.video(
        tmp_path / "long.mp4",
        make.pan(60, 320, 240, step=1),
        ticks=[150 * n for n in range(60)],  # six seconds apart
    )
    media = decode(path)
    assert isinstance(media, Video)
    assert media.duration > 300
    answer = VideoFaces().analyze(media)
    assert isinstance(answer, tuple)
    assert [f.code for f in answer] == ["faces.track"]
    start, end = answer[0].where.start, answer[0].where.end
    assert start is not None
    assert end is not None
    assert end - start > 300
