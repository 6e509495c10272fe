from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.video import shots
from assay.analyzers.video.editing import VideoEditing
from assay.findings import Claim, Finding, NotApplicable
from assay.media import Image, Video

Encode = Callable[..., Path]
Open = Callable[[Path], Video]
Scene = Callable[..., list[np.ndarray]]


def _findings(video: Video) -> dict[str, Finding]:
    answer = VideoEditing().analyze(video)
    assert isinstance(answer, tuple)
    check_answer(VideoEditing().info, video, answer)
    found: dict[str, Finding] = {}
    for f in answer:
        found.setdefault(f.code.rsplit(".", 1)[1], f)
    return found


def test_contract() -> None:
    check_analyzer(VideoEditing())


def test_fingerprint_agrees_with_pillow() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)
    luma, blocks, histogram = shots._fingerprint(pixels)
    theirs = np.asarray(Pillow.fromarray(pixels).convert("L"), np.float32)
    assert np.abs(luma - theirs).max() <= 1.0
    small = np.asarray(Pillow.fromarray(luma).resize((32, 18), Pillow.Resampling.BOX))
    assert np.allclose(blocks.reshape(18, 32), small, atol=1e-3)
    theirs_h, _ = np.histogramdd(pixels.reshape(-1, 3), bins=(4, 4, 4), range=((0, 256),) * 3)
    assert np.allclose(histogram, theirs_h.ravel() / 14_400)


def test_an_uncut_take_is_not_accused(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    for seed in range(4):
        found = _findings(open_video(encode(make_scene(90, seed))))
        assert set(found) == {"cuts"}
        assert found["cuts"].claim is Claim.NEUTRAL
        assert found["cuts"].data["cut_count"] == 0


def test_cuts_are_found_where_they_are(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    frames = make_scene(40, 1) + make_scene(30, 2) + make_scene(50, 3)
    found = _findings(open_video(encode(frames)))["cuts"]
    cuts = found.data["cuts"]
    assert isinstance(cuts, list)
    assert [c["time"] for c in cuts] == pytest.approx([40 / 30, 70 / 30], abs=0.001)
    assert found.claim is Claim.NEUTRAL
    assert "2 cuts, at 1.3, 2.3 seconds" in found.because


def test_a_flash_is_no_cut(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    frames = make_scene(60, 4)
    frames[30] = np.full_like(frames[30], 250)
    assert _findings(open_video(encode(frames)))["cuts"].data["cut_count"] == 0


def test_a_loop_is_found(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    take = make_scene(90, 5)
    found = _findings(open_video(encode(take[:70] + take[20:55])))["repeated"]
    assert found.claim is Claim.MANIPULATED
    assert found.where.start == pytest.approx(70 / 30, abs=0.2)
    assert found.where.end == pytest.approx(104 / 30, abs=0.07)
    assert found.data["original_start"] == pytest.approx(20 / 30, abs=0.2)


def test_duplicated_frames(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    take = make_scene(60, 6)
    found = _findings(open_video(encode([*take[:30], take[29], take[29], *take[30:]])))
    assert found["duplicates"].claim is Claim.NEUTRAL
    assert found["duplicates"].where.start == pytest.approx(29 / 30, abs=0.04)
    assert found["duplicates"].data["count"] == 2
    assert found["duplicates"].data["regular"] is False


def test_frame_rate_conversion(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    take = make_scene(60, 7)
    spread = [f for i, f in enumerate(take) for _ in range(2 if i % 4 == 3 else 1)]
    found = _findings(open_video(encode(spread)))["duplicates"]
    assert found.data["regular"] is True
    assert "Every 5 frames" in found.because


def test_freeze(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    take = make_scene(60, 8)
    found = _findings(open_video(encode([*take[:30], *[take[29]] * 30, *take[30:]])))["freeze"]
    assert found.claim is Claim.NEUTRAL
    assert found.where.start == pytest.approx(29 / 30, abs=0.07)
    assert found.where.end == pytest.approx(59 / 30, abs=0.07)


def test_a_noisy_scene_at_rest_is_no_freeze(encode: Encode, open_video: Open) -> None:
    rng = np.random.default_rng(9)
    rest = rng.uniform(60, 180, (108, 192, 3))
    frames = [
        np.clip(rest + rng.normal(0, 4, rest.shape), 0, 255).astype(np.uint8) for _ in range(60)
    ]
    assert set(_findings(open_video(encode(frames, crf="18")))) == {"cuts"}


def test_dropped_frames(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    ticks = [t for t in range(66) if t not in (30, 31, 32)]
    found = _findings(open_video(encode(make_scene(63, 10), ticks=ticks)))["time_gap"]
    assert found.claim is Claim.NEUTRAL
    assert found.where.start == pytest.approx(29 / 30, abs=0.001)
    assert found.where.end == pytest.approx(33 / 30, abs=0.001)
    assert "about 3 frames at 0.97 seconds" in found.because


def test_only_so_many_frames_are_decoded_and_it_is_said(
    encode: Encode, open_video: Open, make_scene: Scene
) -> None:
    video = open_video(encode(make_scene(60)))
    decoded = 0

    def counting(times: object) -> Iterator[Image]:
        nonlocal decoded
        for frame in video.frames():
            decoded += 1
            yield frame

    answer = VideoEditing(20).analyze(replace(video, _frames=counting))
    assert decoded == 21
    assert isinstance(answer, tuple)
    assert answer[0].data["cut_short"] is True
    assert answer[0].data["frames_compared"] == 20
    assert "in the first 1 of 2 seconds" in answer[0].because


@pytest.mark.parametrize("count", [0, 1])
def test_no_neighbours(encode: Encode, open_video: Open, make_scene: Scene, count: int) -> None:
    video = open_video(encode(make_scene(1)))
    few = replace(video, _frames=lambda times: iter(list(video.frames())[:count]))
    answer = VideoEditing().analyze(few)
    assert isinstance(answer, NotApplicable)
    assert answer.code == ("one_frame" if count else "no_frames")


@pytest.mark.parametrize("value", [0, 255])
def test_one_colour_throughout(
    encode: Encode, open_video: Open, make_scene: Scene, value: int
) -> None:
    frames = [np.full((64, 64, 3), value, np.uint8)] * 40
    assert set(_findings(open_video(encode(frames)))) == {"cuts"}


def test_searching_repetitions_is_bounded() -> None:
    rng = np.random.default_rng(0)
    n = 1500
    for blocks in (np.cumsum(rng.normal(0, 1, (n, 576)), axis=0), np.zeros((n, 576))):
        table = shots.FrameTable(
            np.arange(n) / 30, np.ones(n, np.float32), np.zeros(n, np.float32),
            np.zeros(n, np.float32), blocks.astype(np.float16), False,
        )  # fmt: skip
        started = time.process_time()
        assert shots.repetitions(table) == []
        assert time.process_time() - started < 3.0


def test_a_second_of_full_hd_is_quick() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    started = time.process_time()
    for _ in range(30):
        shots._fingerprint(pixels)
    assert time.process_time() - started < 0.5
