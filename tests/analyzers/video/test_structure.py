from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.video.packets import gaps, read_packets
from assay.analyzers.video.recompression import group_comb
from assay.analyzers.video.structure import VideoStructure
from assay.findings import Claim, Finding, NotApplicable
from assay.media import Packet, Video

Encode = Callable[..., Path]
Open = Callable[[Path], Video]
Scene = Callable[..., list[np.ndarray]]


def _findings(video: Video) -> dict[str, Finding]:
    answer = VideoStructure().analyze(video)
    assert isinstance(answer, tuple)
    check_answer(VideoStructure().info, video, answer)
    assert all(f.claim is Claim.NEUTRAL for f in answer)
    return {f.code.rsplit(".", 1)[1]: f for f in answer}


def test_contract() -> None:
    check_analyzer(VideoStructure())


def test_groups_agree_with_the_picture_types(
    encode: Encode, open_video: Open, make_scene: Scene
) -> None:
    path = encode(make_scene(75), g="20", sc_threshold="0", b_frames=2)
    found = _findings(open_video(path))["groups"]
    with av.open(str(path)) as box:
        types = [PictureType(f.pict_type).name for f in box.decode(video=0)]
    at = [i for i, t in enumerate(types) if t == "I"]
    assert found.data["groups"] == np.diff([*at, len(types)]).tolist() == [20, 20, 20, 15]
    assert found.data["reordered"] is True
    assert found.data["key_frames"] == 4
    assert found.data["packets"] == 75
    assert found.data["bit_rate"] == pytest.approx(8 * path.stat().st_size / 2.5, rel=0.1)
    assert "every 20 frames without exception" in found.because


def test_encoder_strings(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    video = open_video(encode(make_scene(5)))
    found = _findings(video)["encoder"]
    assert found.data["programs"] == ["FFmpeg"]
    hostile = replace(video, encoder="HandBrake " + "x" * 10_000)
    assert _findings(hostile)["encoder"].data["programs"] == ["HandBrake"]
    assert len(_findings(hostile)["encoder"].because) < 600
    assert "encoder" not in _findings(replace(video, encoder=" "))


def test_uneven_frame_rate(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    rng = np.random.default_rng(0)
    ticks = np.cumsum(rng.integers(2, 6, 60)).tolist()
    uneven = open_video(encode(make_scene(60), ticks=ticks, rate=90))
    assert "variable_rate" in _findings(uneven)
    assert "variable_rate" not in _findings(open_video(encode(make_scene(60))))


@pytest.mark.parametrize("period", [9, 12])
def test_earlier_key_frames(
    encode: Encode, open_video: Open, make_scene: Scene, period: int
) -> None:
    once = encode(make_scene(140), g=str(period), sc_threshold="0", crf="30")
    frames = [f.pixels for f in open_video(once).frames()]
    twice = _findings(open_video(encode(frames, crf="20", g="250", sc_threshold="0")))
    assert twice["earlier_compression"].data["period"] == period
    fresh = open_video(encode(make_scene(140), crf="20", g="250", sc_threshold="0"))
    assert "earlier_compression" not in _findings(fresh)


def test_noise_has_no_comb() -> None:
    rng = np.random.default_rng(1)
    key = np.zeros(400, bool)
    key[0] = True
    for _ in range(20):
        comb = group_comb(np.exp(rng.normal(8, 0.3, 400)).astype(np.int64), key)
        assert comb is None or comb.score < 5
    assert group_comb(np.full(10, 5), np.zeros(10, bool)) is None
    assert group_comb(np.zeros(400, np.int64), key) is None


def test_gaps() -> None:
    times = np.delete(np.arange(100) / 25, [40, 41, 70])
    usual, found = gaps(times)
    assert usual == pytest.approx(0.04)
    assert [(round(t, 2), round(s, 2)) for t, s in found] == [(1.56, 0.12), (2.76, 0.08)]
    assert gaps(np.array([0.0, 1.0])) == (0.0, [])
    assert gaps(np.zeros(9)) == (0.0, [])


def test_missing_and_false_times_do_no_harm() -> None:
    bad = [
        Packet(time=t, decode_time=None, duration=None, size=s, keyframe=False)
        for t, s in ((None, 5), (float("nan"), -1), (float("inf"), 2**40), (1.0, 3), (0.5, 3))
    ]
    table = read_packets(bad)
    assert table.shown.tolist() == [0.5, 1.0]
    assert table.size.min() == 0
    assert read_packets(bad, most=3).cut_short
    assert not read_packets(bad, most=5).cut_short


def test_no_packet_is_not_applicable(encode: Encode, open_video: Open, make_scene: Scene) -> None:
    empty = replace(open_video(encode(make_scene(2))), _packets=lambda: iter(()))
    answer = VideoStructure().analyze(empty)
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_packets"
