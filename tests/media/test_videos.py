from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from assay.errors import Corrupt, TooLarge
from assay.limits import Limits
from assay.media import Audio, Image, Video, decode

Save = Callable[[str, bytes], Path]


def video(path: Path, limits: Limits | None = None) -> Video:
    media = decode(path, limits)
    assert isinstance(media, Video)
    return media


def packet_times(path: Path) -> list[float]:
    """Presentation times by PyAV alone, from 0."""
    with av.open(str(path)) as box:
        times = sorted(float(p.pts * p.time_base) for p in box.demux(video=0) if p.size)
    return [t - times[0] for t in times]


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a.astype(float) - b) ** 2).mean()))


def test_the_portrait(portrait_video: Path, make: ModuleType) -> None:
    got = video(portrait_video)
    assert (got.width, got.height, got.codec, got.pixel_format) == (320, 240, "h264", "yuv420p")
    assert got.duration == pytest.approx(4.0, abs=1e-6)
    assert got.frame_rate == pytest.approx(25.0)
    assert got.rotation == 0
    assert got.notes == ()
    assert [s.kind for s in got.streams] == ["video", "audio"]
    assert got.sound is not None
    assert got.sound.codec == "aac"
    assert got.sound.duration == pytest.approx(4.0, abs=0.15)
    assert got.encoder.startswith("Lavf")
    frames = list(got.frames())
    assert len(frames) == 100
    assert [f.time for f in frames] == pytest.approx(packet_times(portrait_video))
    assert all(f.pixels.shape == (240, 320, 3) and not f.pixels.flags.writeable for f in frames)
    for frame, original in zip(frames[::20], make.pan(100, 320, 240, step=1)[::20], strict=True):
        assert rms(frame.pixels, original) < 8
    packets = list(got.packets())
    assert len(packets) == 100
    assert [i for i, p in enumerate(packets) if p.keyframe] == [0, 25, 50, 75]
    assert sorted(p.time for p in packets if p.time is not None) == pytest.approx(
        packet_times(portrait_video)
    )
    assert sum(p.size for p in packets) * 8 / 4 == pytest.approx(got.bit_rate, rel=0.01)


CODECS: list[tuple[str, str, dict[str, object]]] = [
    ("h264.mp4", "libx264", {"options": {"g": "12", "bf": "3"}}),
    ("open.mp4", "libx264", {"options": {"g": "12", "x264-params": "open-gop=1:bframes=3"}}),
    ("h264.ts", "libx264", {"options": {"g": "12", "bf": "2"}}),
    ("hevc.mp4", "libx265", {"options": {"x265-params": "log-level=none:keyint=12"}}),
    ("mpeg4.avi", "mpeg4", {"options": {"g": "12"}}),
    ("vp9.webm", "libvpx-vp9", {"options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}),
    ("mjpeg.mov", "mjpeg", {"pixel_format": "yuvj420p"}),
    ("mpeg2.mpg", "mpeg2video", {"options": {"g": "12", "bf": "2"}}),
    ("ffv1.mkv", "ffv1", {}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "codec", "extra"), CODECS, ids=[c[0] for c in CODECS])
def test_frames_at_times_are_the_frames_shown_then(
    name: str, codec: str, extra: dict[str, object], tmp_path: Path, make: ModuleType
) -> None:
    """Decoding from keyframes must give, bit for bit, what decoding everything gives."""
    path = make.video(tmp_path / name, make.pan(60, 96, 64), codec=codec, **extra)
    got = video(path)
    every = list(got.frames())
    assert len(every) == 60
    times = [f.time for f in every]
    assert times[0] == pytest.approx(0, abs=1e-6)
    assert times == pytest.approx([i / 25 for i in range(60)], abs=0.0015)
    wanted = [0.0, 0.05, 0.43, 0.47, 0.49, 1.2, 1.21, 1.99, 2.3, 99.0]
    shown = []
    for t in wanted:
        index = max(i for i, at in enumerate(times) if at <= t + 1e-9)
        if index not in shown:
            shown.append(index)
    some = list(got.frames(wanted))
    assert [f.time for f in some] == [times[i] for i in shown]
    for frame, i in zip(some, shown, strict=True):
        assert np.array_equal(frame.pixels, every[i].pixels), i
    for single in (0.0, 1.0, 2.36):
        (frame,) = got.frames([single])
        index = max(i for i, at in enumerate(times) if at <= single + 1e-9)
        assert np.array_equal(frame.pixels, every[index].pixels)


def test_few_frames_cost_few_decodings(
    tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.media import videos

    path = make.video(tmp_path / "long.mp4", make.pan(200, 96, 64), options={"g": "10"})
    got = video(path)
    counted = []
    take = videos._Plan.take

    def counting(plan: object, frame: object, time: float) -> object:
        counted.append(time)
        return take(plan, frame, time)  # type: ignore[arg-type]

    monkeypatch.setattr(videos._Plan, "take", counting)
    (frame,) = got.frames([7.01])
    assert frame.time == pytest.approx(7.0)
    assert len(counted) < 40


@pytest.mark.parametrize(
    ("degrees", "corner"), [(0, "top left"), (90, "top right"), (180, "bottom right"), (270, "bl")]
)
def test_rotation(degrees: int, corner: str, tmp_path: Path, make: ModuleType) -> None:
    flat = np.full((64, 96, 3), 40, np.uint8)
    flat[:24, :24] = 230  # stored: top left
    path = make.rotated(make.video(tmp_path / "r.mp4", [flat] * 5), degrees)
    got = video(path)
    assert got.rotation == degrees
    frame = next(got.frames())
    assert (frame.width, frame.height) == (got.width, got.height)
    assert (frame.stored_width, frame.stored_height) == (96, 64)
    assert (got.width, got.height) == ((64, 96) if degrees in (90, 270) else (96, 64))
    bright = frame.pixels.mean(axis=2) > 150
    rows, columns = np.nonzero(bright)
    top, left = rows.mean() < got.height / 2, columns.mean() < got.width / 2
    assert (top, left) == {
        0: (True, True),
        90: (True, False),
        180: (False, False),
        270: (False, True),
    }[degrees]
    # PyAV counts counter-clockwise
    with av.open(str(path)) as box:
        assert -next(box.decode(video=0)).rotation % 360 == degrees


@pytest.mark.parametrize(
    ("space", "height"), [("bt709", 64), ("smpte170m", 64), ("bt709", 720), (None, 720), (None, 64)]
)
@pytest.mark.parametrize("full", [False, True])
def test_colours(space: str | None, height: int, full: bool, tmp_path: Path) -> None:
    """Against the matrices of BT.709 and BT.601, by hand."""
    kr, kb = (0.2126, 0.0722) if space == "bt709" or (space is None and height >= 720) else (
        0.299, 0.114)  # fmt: skip
    rgb = np.array([200.0, 60.0, 90.0]) / 255
    y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]
    cb, cr = (rgb[2] - y) / (2 * (1 - kb)), (rgb[0] - y) / (2 * (1 - kr))
    values = (255 * y, 255 * cb + 128, 255 * cr + 128) if full else (
        219 * y + 16, 224 * cb + 128, 224 * cr + 128)  # fmt: skip
    path = tmp_path / "c.mp4"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv444p"
        if space:
            stream.codec_context.colorspace = {"bt709": 1, "smpte170m": 6}[space]
        stream.codec_context.color_range = 2 if full else 1
        for i in range(3):
            planes = np.stack([np.full((height, 64), round(v), np.uint8) for v in values])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
            frame.pts = i
            frame.color_range = 2 if full else 1
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    pixel = next(video(path).frames()).pixels[30, 30]
    assert np.abs(pixel - 255 * rgb).max() <= 2, (pixel, rgb * 255)


def test_variable_frame_rate(tmp_path: Path, make: ModuleType) -> None:
    ticks = [0, 1, 2, 10, 11, 40, 41, 42, 43, 80]
    path = make.video(tmp_path / "v.mp4", make.pan(10, 96, 64), ticks=ticks)
    got = video(path)
    assert [f.time for f in got.frames()] == pytest.approx([t / 25 for t in ticks], abs=1e-4)
    shown = [f.time for f in got.frames([0.3, 0.45, 1.5, 3.0])]
    assert shown == pytest.approx([2 / 25, 11 / 25, 43 / 25], abs=1e-4)


def test_cover_art_is_not_the_video(tmp_path: Path, make: ModuleType, astronaut_png: Path) -> None:
    path = tmp_path / "song.mp3"
    make.sound(path, make.tone(2, 44100), 44100, "libmp3lame")
    picture = astronaut_png.read_bytes()[:200_000]
    body = b"\0image/png\0\x03\0" + picture
    size = len(body) + 10
    quads = bytes(size >> s & 127 for s in (21, 14, 7, 0))
    tag = b"ID3\x03\0\0" + quads + b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    path.write_bytes(tag + path.read_bytes())
    got = decode(path)
    assert isinstance(got, Audio)
    assert got.source.format == "mp3"
    assert got.codec == "mp3"


def test_sound_alone_in_mp4_is_a_sound(tmp_path: Path, make: ModuleType) -> None:
    path = make.sound(tmp_path / "s.mp4", make.tone(1, 44100), 44100, "aac")
    assert isinstance(decode(path), Audio)


def test_the_largest_of_several_videos(tmp_path: Path, make: ModuleType) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as box:
        streams = []
        for width, height in ((64, 48), (96, 64)):
            stream = box.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for i in range(10):
            for stream in streams:
                pixels = np.zeros((stream.height, stream.width, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = i
                box.mux(stream.encode(frame))
        for stream in streams:
            box.mux(stream.encode(None))
    got = video(path)
    assert (got.width, got.height) == (96, 64)
    assert len(got.streams) == 2
    assert any("2 videos" in note for note in got.notes)


def test_animated_gif_is_a_video_and_a_still_one_a_picture(
    tmp_path: Path, make: ModuleType
) -> None:
    from PIL import Image as Pillow

    frames = [Pillow.fromarray(p) for p in make.pan(6, 96, 64, step=8)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120)
    got = video(path)
    shown = list(got.frames())
    assert [f.time for f in shown] == pytest.approx([i * 0.12 for i in range(6)])
    assert got.duration == pytest.approx(0.72)
    with Pillow.open(path) as im:
        im.seek(4)
        wanted = np.asarray(im.convert("RGB"))
    assert np.array_equal(shown[4].pixels, wanted)
    (late,) = got.frames([0.5])
    assert np.array_equal(late.pixels, wanted), "a GIF frame builds on those before it"
    frames[0].save(path)
    still = decode(path)
    assert isinstance(still, Image)
    assert still.source.format == "gif"


def test_what_is_left_of_a_video(save: Save, tmp_path: Path, make: ModuleType) -> None:
    path = make.video(
        tmp_path / "f.mp4", make.pan(60, 96, 64), container_options={"movflags": "faststart"}
    )
    data = path.read_bytes()
    got = video(save("cut.mp4", data[: len(data) * 2 // 3]))
    assert any("breaks off" in note for note in got.notes)
    frames = list(got.frames())
    assert 20 < len(frames) < 60
    assert len(list(got.frames())) == len(frames)
    assert got.duration < 2.2
    plain = make.video(tmp_path / "p.mp4", make.pan(60, 96, 64)).read_bytes()
    with pytest.raises(Corrupt, match="moov"):
        decode(save("no.mp4", plain[: len(plain) // 2]))


def test_a_damaged_middle(save: Save, tmp_path: Path, make: ModuleType) -> None:
    path = make.video(tmp_path / "d.ts", make.pan(60, 96, 64), options={"g": "10"})
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 2000] = np.random.default_rng(0).bytes(2000)
    got = video(save("d.ts", bytes(data)))
    frames = list(got.frames())
    assert 30 < len(frames) <= 60
    times = [f.time for f in frames if f.time is not None]
    assert times == sorted(times)
    again = list(got.frames())
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(frames, again, strict=True))


def test_limits(portrait_video: Path) -> None:
    got = video(portrait_video, Limits(max_decoded_frames=30))
    assert any("first 30 frames" in note for note in got.notes)
    assert len(list(got.frames())) == 30
    assert len(list(got.packets())) == 30
    got = video(portrait_video, Limits(max_video_seconds=1.0))
    assert got.duration == pytest.approx(1.0, abs=0.05)
    assert any("first 1 s" in note for note in got.notes)
    frames = list(got.frames())
    assert 20 <= len(frames) <= 26
    assert all(f.time is not None and f.time <= 1.0 for f in frames)
    with pytest.raises(TooLarge, match="320 x 240"):
        decode(portrait_video, Limits(max_pixels=320 * 240 - 1))
    with pytest.raises(TooLarge, match="streams"):
        decode(portrait_video, Limits(max_streams=1))


def test_no_times_no_frames(portrait_video: Path) -> None:
    got = video(portrait_video)
    assert list(got.frames([])) == []
    assert [f.time for f in got.frames([-5.0])] == [0.0]
    assert len(list(got.frames(got.sample_times(7)))) == 7


def test_frames_let_go_early(portrait_video: Path) -> None:
    got = video(portrait_video)
    frames = got.frames()
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert next(got.frames()).time == 0.0


def test_the_file_must_not_change(save: Save, portrait_video: Path) -> None:
    path = save("v.mp4", portrait_video.read_bytes())
    got = video(path)
    path.write_bytes(b"short")
    with pytest.raises(Corrupt, match="changed"):
        list(got.frames())


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [("rgb.avi", "rawvideo", "bgr24"), ("rle.mov", "qtrle", "rgb24"), ("png.mov", "png", "rgba")],
)
def test_lossless_frames_are_exact(
    name: str, codec: str, form: str, tmp_path: Path, make: ModuleType
) -> None:
    frames = make.pan(5, 96, 64)
    path = make.video(tmp_path / name, frames, codec=codec, pixel_format=form)
    for frame, original in zip(video(path).frames(), frames, strict=True):
        assert np.array_equal(frame.pixels, original)


def test_deep_and_odd_frames(tmp_path: Path, make: ModuleType) -> None:
    frames = make.pan(5, 95, 63)
    path = make.video(tmp_path / "d.mkv", frames, codec="ffv1", pixel_format="yuv444p10le")
    got = video(path)
    assert (got.width, got.height, got.pixel_format) == (95, 63, "yuv444p10le")
    for frame, original in zip(got.frames(), frames, strict=True):
        assert rms(frame.pixels, original) < 1.5


def test_high_dynamic_range_is_declared(tmp_path: Path, make: ModuleType) -> None:
    path = make.video(
        tmp_path / "hdr.mp4",
        make.pan(5, 96, 64),
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"x265-params": "log-level=none:colorprim=bt2020:transfer=smpte2084"},
    )
    assert any("PQ" in note for note in video(path).notes)


def test_codecs_that_are_not_allowed(tmp_path: Path, make: ModuleType) -> None:
    from assay.errors import Unsupported

    path = make.video(tmp_path / "j.mov", make.pan(3, 96, 64), codec="jpeg2000")
    with pytest.raises(Unsupported, match="jpeg2000"):
        decode(path)


def test_a_fragmented_recording_that_breaks_off(
    save: Save, tmp_path: Path, make: ModuleType
) -> None:
    path = make.video(
        tmp_path / "f.mp4",
        make.pan(60, 96, 64),
        options={"g": "10", "bf": "0"},
        container_options={"movflags": "frag_keyframe+empty_moov"},
    )
    data = path.read_bytes()
    assert len(list(video(path).frames())) == 60
    got = video(save("cut.mp4", data[: len(data) * 2 // 3]))
    assert any("breaks off" in note for note in got.notes)
    assert 30 <= len(list(got.frames())) < 60


def test_a_long_still_is_declared(tmp_path: Path, make: ModuleType) -> None:
    """Evenly spread samples of such a video all show the same frame."""
    path = make.video(tmp_path / "s.mp4", make.pan(5, 96, 64), ticks=[0, 1, 2, 3, 5000])
    got = video(path)
    assert got.duration > 199
    assert any("one frame is shown" in note for note in got.notes)
