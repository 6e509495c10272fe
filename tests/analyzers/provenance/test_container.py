"""Containers written by FFmpeg and by hand; nothing here speaks against a file."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from assay.analyzers.checks import check_analyzer, check_answer
from assay.analyzers.provenance.boxes import read_boxes
from assay.analyzers.provenance.container import Container
from assay.analyzers.provenance.container_texts import read_texts
from assay.findings import Claim, Finding, Strength
from assay.media import decode

from .conftest import scene

pytestmark = pytest.mark.disable_socket

Write = Callable[[bytes, str], Path]


def findings(path: Path) -> dict[str, Finding]:
    analyzer = Container()
    media = decode(path)
    answer = analyzer.analyze(media)
    check_answer(analyzer.info, media, answer)
    assert isinstance(answer, tuple)
    assert all(f.claim in (Claim.NEUTRAL, Claim.AUTHENTIC) for f in answer)
    return {f.code.removeprefix("container."): f for f in answer}


def video(path: Path, form: str, options: dict[str, str] | None = None, **tags: str) -> Path:
    with av.open(str(path), "w", format=form, options=options or {}) as file:
        file.metadata.update(tags)
        stream = file.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.asarray(scene(64, 48)), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def sound(path: Path, form: str, codec: str, **tags: str) -> Path:
    with av.open(str(path), "w", format=form) as file:
        file.metadata.update(tags)
        stream = file.add_stream(codec, rate=48000, layout="mono")
        x = (np.sin(np.arange(48000) / 20) * 8000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(x, format="s16", layout="mono")
        frame.sample_rate = 48000
        resampler = av.AudioResampler(stream.codec_context.format, "mono", 48000)
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size, partial=True)) is not None:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path


def test_the_contract() -> None:
    check_analyzer(Container())


def test_mp4_of_ffmpeg(tmp_path: Path) -> None:
    found = findings(video(tmp_path / "a.mp4", "mp4"))
    assert found["writer"].data["programs"] == ["FFmpeg"]
    assert "nothing against it" in found["writer"].because
    assert "index after the content" in found["layout"].because
    assert "dates" not in found


def test_index_first_and_fragments(tmp_path: Path) -> None:
    first = findings(video(tmp_path / "a.mp4", "mp4", {"movflags": "faststart"}))["layout"]
    assert "index first" in first.because
    options = {"movflags": "frag_keyframe+empty_moov"}
    parts = findings(video(tmp_path / "b.mp4", "mp4", options))["layout"]
    assert parts.data["fragmented"] is True


def test_creation_time(tmp_path: Path) -> None:
    found = findings(video(tmp_path / "a.mov", "mov", creation_time="2021-03-04T05:06:07Z"))
    assert found["created"].data["created"] == "2021-03-04T05:06:07+00:00"
    ahead = datetime.now(UTC) + timedelta(days=400)
    later = findings(
        video(tmp_path / "b.mov", "mov", creation_time=ahead.strftime("%Y-%m-%dT00:00:00Z"))
    )
    assert "future" in later["dates"].because


def test_recorder_is_weak(tmp_path: Path) -> None:
    keys = {"com.apple.quicktime.make": "Examplephone", "com.apple.quicktime.model": "P 1"}
    path = video(tmp_path / "a.mov", "mov", {"movflags": "use_metadata_tags"}, **keys)
    found = findings(path)["recorder"]
    assert (found.claim, found.strength) == (Claim.AUTHENTIC, Strength.WEAK)
    assert "Examplephone P 1" in found.because


def test_editing_software_is_named(tmp_path: Path) -> None:
    tag = {"com.apple.quicktime.software": "DaVinci Resolve 20"}
    path = video(tmp_path / "a.mov", "mov", {"movflags": "use_metadata_tags"}, **tag)
    found = findings(path)["writer"]
    assert found.data["editors"] == ["DaVinci Resolve"]
    assert found.claim is Claim.NEUTRAL


@pytest.mark.parametrize("form", ["matroska", "webm"])
def test_matroska(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.mkv"
    if form == "webm":
        path = sound(tmp_path / "a.webm", "webm", "libopus")
    else:
        video(path, form)
    assert findings(path)["writer"].data["programs"] == ["FFmpeg"]
    with path.open("rb") as file:
        keys = [k for k, _ in read_texts(file, path.stat().st_size, "matroska")]
    assert "muxing application" in keys
    assert "writing application" in keys


@pytest.mark.parametrize(
    ("name", "form", "codec"),
    [
        ("a.wav", "wav", "pcm_s16le"),
        ("a.mp3", "mp3", "libmp3lame"),
        ("a.flac", "flac", "flac"),
        ("a.ogg", "ogg", "libopus"),
        ("a.m4a", "ipod", "aac"),
    ],
)
def test_sounds_of_ffmpeg(tmp_path: Path, name: str, form: str, codec: str) -> None:
    found = findings(sound(tmp_path / name, form, codec))
    assert "FFmpeg" in str(found["writer"].data["programs"])


def test_plain_wave_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    assert findings(path) == {}


def test_broadcast_wave() -> None:
    body = b"d".ljust(256, b"\0") + b"Recorder 7".ljust(32, b"\0") + bytes(32) + b"2024-05-06"
    body = body.ljust(602, b"\0") + b"A=PCM,F=48000"
    chunk = b"bext" + struct.pack("<I", len(body)) + body
    data = b"RIFF" + struct.pack("<I", len(chunk) + 5) + b"WAVE" + chunk + b"\0"
    texts = dict(read_texts(BytesIO(data), len(data), "wav"))
    assert texts["originator"] == "Recorder 7"
    assert texts["date"] == "2024-05-06"
    assert texts["coding history"] == "A=PCM,F=48000"


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def test_edit_list_and_user_data_by_hand() -> None:
    edits = box(b"elst", bytes(4), struct.pack(">I", 1), struct.pack(">Iii", 900, 2500, 65536))
    header = box(b"mdhd", bytes(12), struct.pack(">I", 1000), bytes(8))
    tool = box(b"\xa9too", struct.pack(">HH", 9, 0), b"Encoder 9")
    data = box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + box(
        b"moov",
        box(b"trak", box(b"edts", edits), box(b"mdia", header)),
        box(b"udta", tool, bytes(4)),
    )
    found = read_boxes(BytesIO(data), len(data))
    assert found.edits == [[(900, 2500, 65536)]]
    assert found.track_scales == [1000]
    assert ("©too", "Encoder 9") in found.texts
    assert not found.damaged


def test_hidden_start_is_reported(tmp_path: Path) -> None:
    """The edit list that FFmpeg wrote, set to begin two seconds in."""
    path = video(tmp_path / "a.mp4", "mp4")
    data = bytearray(path.read_bytes())
    at = data.find(b"elst")
    scale = read_boxes(BytesIO(bytes(data)), len(data)).track_scales[0]
    struct.pack_into(">i", data, at + 4 + 4 + 4 + 4, 2 * scale)
    media = decode(path)
    path.write_bytes(bytes(data))
    answer = Container().analyze(media)
    assert isinstance(answer, tuple)
    (found,) = [f for f in answer if f.code == "container.edit_list"]
    assert found.data["hidden_seconds"] == 2.0


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I4s", 1, b"moov"),  # 64-bit size announced, missing
        struct.pack(">I4sQ", 1, b"moov", 3),  # smaller than its own head
        struct.pack(">I4sQ", 1, b"moov", 2**63),  # beyond any file
        struct.pack(">I4s", 2**31, b"moov") + bytes(20),
        box(b"moov", struct.pack(">I4s", 4, b"trak")),
    ],
)
def test_lying_sizes_end_and_are_noted(data: bytes) -> None:
    assert read_boxes(BytesIO(data), len(data)).damaged


def test_deep_and_many_boxes_are_bounded() -> None:
    deep = b""
    for _ in range(3000):
        deep = box(b"moov", deep)
    assert read_boxes(BytesIO(deep), len(deep)) is not None
    many = box(b"free") * 100_000
    found = read_boxes(BytesIO(many), len(many))
    assert found.damaged
    assert len(found.order) <= 64
