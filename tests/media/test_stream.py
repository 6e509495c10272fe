"""Sound from real pipes, encoded by FFmpeg, and what is no sound."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from assay.errors import Corrupt, MediaError, NotMedia
from assay.media import Audio, decode
from assay.media.stream import Pcm, Pipe, sound_blocks

RATE = 16_000
NAME = Path("standard input")
Sound = NDArray[np.float32]


@pytest.fixture(scope="module")
def speech() -> Sound:
    found = decode(Path(__file__).parent / "samples" / "speech.flac")
    assert isinstance(found, Audio)
    return found.samples(RATE)


def pcm(x: Sound) -> bytes:
    return np.round(np.clip(x, -1, 1) * 32767).astype("<i2").tobytes()


def container(x: Sound, name: str, codec: str) -> bytes:
    box = io.BytesIO()
    with av.open(box, "w", format=name) as out:
        stream = out.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.frombuffer(pcm(x), np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        mixer = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=RATE,
            frame_size=stream.codec_context.frame_size or 0,
        )  # fmt: skip
        for part in (*mixer.resample(frame), *mixer.resample(None)):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return box.getvalue()


def through_pipe(data: bytes, rate: int = RATE, form: Pcm | None = None) -> Sound:
    """The blocks of ``data`` written into a pipe in small pieces, joined."""
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb", buffering=0) as end:
            try:
                for at in range(0, len(data), 1777):
                    end.write(data[at : at + 1777])
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        return _joined(sound_blocks(Pipe(reading), NAME, rate, form))
    finally:
        os.close(reading)
        thread.join()


def _joined(blocks: Iterator[Sound]) -> Sound:
    return np.concatenate([np.zeros(0, np.float32), *blocks])


@pytest.mark.parametrize(
    ("name", "codec", "like"),
    [("wav", "pcm_s16le", 0.999), ("ogg", "libopus", 0.9), ("mp3", "libmp3lame", 0.9),
     ("adts", "aac", 0.9), ("matroska", "libopus", 0.9), ("mpegts", "aac", 0.9),
     ("flac", "flac", 0.999)],
)  # fmt: skip
def test_containers(name: str, codec: str, like: float, speech: Sound) -> None:
    data = container(speech, name, codec)
    if name == "wav":  # as a live encoder writes it: without lengths
        at = data.index(b"data") + 4
        data = data[:4] + b"\xff" * 4 + data[8:at] + b"\xff" * 4 + data[at + 4 :]
    if name == "mp3":  # a cover picture in front
        size = 100_000
        tag = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
        data = b"ID3\x03\0\0" + tag + b"\0" * size + data
    heard = through_pipe(data)
    assert len(heard) == pytest.approx(len(speech), abs=0.2 * RATE)
    overlap = np.fft.irfft(
        np.fft.rfft(heard, 1 << 17) * np.fft.rfft(speech, 1 << 17).conj(), 1 << 17
    )
    assert overlap.max() / (np.linalg.norm(heard) * np.linalg.norm(speech)) > like


def test_it_decodes_as_a_file_is_decoded(tmp_path: Path, speech: Sound) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(container(speech, "wav", "pcm_s16le"))
    media = decode(path)
    assert isinstance(media, Audio)
    for rate in (RATE, 8_000):
        assert np.allclose(through_pipe(path.read_bytes(), rate), media.samples(rate), atol=1e-6)


def test_samples_without_a_header(speech: Sound) -> None:
    whole = np.frombuffer(pcm(speech), "<i2")
    exact = (whole / 32768).astype(np.float32)
    assert np.array_equal(through_pipe(pcm(speech), form=Pcm("s16le")), exact)
    assert np.array_equal(through_pipe(whole.astype(">i2").tobytes(), form=Pcm("s16be")), exact)
    stereo = np.repeat(whole, 2).tobytes()
    assert np.array_equal(through_pipe(stereo, form=Pcm("s16le", channels=2)), exact)
    assert np.array_equal(through_pipe(exact.tobytes(), form=Pcm("f32le")), exact)
    phone = through_pipe(b"\xff" * 8000, form=Pcm("mulaw", rate=8_000))
    assert len(phone) == pytest.approx(RATE, abs=200)
    assert np.abs(phone).max() < 1e-3


def test_an_index_at_the_end_needs_a_file(tmp_path: Path, speech: Sound) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(container(speech, "mp4", "aac"))
    with pytest.raises(MediaError, match="standard input"):
        through_pipe(path.read_bytes())
    with path.open("rb") as file:
        assert len(_joined(sound_blocks(file, path, RATE))) > 2 * RATE


@pytest.mark.parametrize(
    ("data", "error", "cause"),
    [
        (b"", NotMedia, "nothing came"),
        (bytes(np.random.default_rng(0).integers(0, 256, 50_000, np.uint8)), NotMedia, "no known"),
        (b"dear diary, today I heard a voice\n" * 50, NotMedia, "a text"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + b"\xff" * 4000, MediaError, "standard input"),
        (b"OggS" + b"\0" * 5000, MediaError, "standard input"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, NotMedia, "a picture"),
        (b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + b"\0" * 500, MediaError, "standard input"),
        (b"#EXTM3U\nfile:///etc/passwd\n", NotMedia, "standard input"),
    ],
)
def test_garbage(data: bytes, error: type[MediaError], cause: str) -> None:
    with pytest.raises(error, match=cause):
        through_pipe(data)


def test_a_silent_film_holds_no_sound() -> None:
    box = io.BytesIO()
    with av.open(box, "w", format="matroska") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
        out.mux([*stream.encode(picture), *stream.encode(None)])
    with pytest.raises((NotMedia, Corrupt), match="no sound"):
        through_pipe(box.getvalue())


def test_damage_costs_packets_not_the_rest(speech: Sound) -> None:
    data = bytearray(container(np.tile(speech, 3), "mpegts", "aac"))
    for at in range(3000, len(data) - 3000, 4000):
        data[at : at + 60] = os.urandom(60)
    assert len(through_pipe(bytes(data))) > 4 * RATE


def test_bad_formats() -> None:
    for bad in ({"encoding": "s17le"}, {"encoding": "s16le", "rate": 0},
                {"encoding": "s16le", "channels": 0}):  # fmt: skip
        with pytest.raises(ValueError, match=r"possible|one of"):
            Pcm(**bad)  # type: ignore[arg-type]
