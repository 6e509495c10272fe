from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from assay.errors import MediaError
from assay.limits import Limits
from assay.media import Audio, Video, decode

Save = Callable[[str, bytes], Path]


def sound(path: Path, limits: Limits | None = None) -> Audio:
    media = decode(path, limits)
    assert isinstance(media, Audio)
    return media


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_samples_are_those_of_soundfile(subtype: str, channels: int, tmp_path: Path) -> None:
    x = np.random.default_rng(2).uniform(-1, 1, (9001, channels))
    path = tmp_path / "x.wav"
    soundfile.write(path, x, 22050, subtype=subtype)
    got = sound(path)
    wanted, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert (got.rate, got.channels) == (rate, channels)
    assert got.duration == pytest.approx(9001 / 22050, abs=1e-6)
    values = got.samples(mono=False)
    assert values.dtype == np.float32
    assert np.array_equal(values, wanted)
    assert np.array_equal(got.samples(), wanted.mean(axis=1))
    assert got.notes == ()


@pytest.mark.parametrize(
    ("name", "subtype"), [("x.flac", "PCM_16"), ("x.flac", "PCM_24"), ("x.aiff", "PCM_16"),
                          ("x.caf", "PCM_16"), ("x.au", "PCM_16"), ("x.w64", "PCM_16"),
                          ("x.rf64", "PCM_16")]
)  # fmt: skip
def test_other_lossless_files(name: str, subtype: str, tmp_path: Path) -> None:
    x = np.random.default_rng(2).uniform(-1, 1, (20_000, 2))
    path = tmp_path / name
    soundfile.write(path, x, 48000, subtype=subtype)
    wanted, _ = soundfile.read(path, dtype="float32", always_2d=True)
    got = sound(path)
    assert np.array_equal(got.samples(mono=False), wanted)
    assert got.duration == pytest.approx(20_000 / 48000, abs=1e-4)


def test_the_speech(speech_flac: Path, speech_wav: Path) -> None:
    a, b = sound(speech_flac), sound(speech_wav)
    assert a.duration == pytest.approx(3.0)
    assert (a.rate, a.channels, a.codec, b.codec) == (16000, 1, "flac", "pcm_s16le")
    assert np.array_equal(a.samples(), b.samples())
    assert a.samples().shape == (48_000,)


@pytest.mark.parametrize("seconds", [0.01, 0.33, 1.0, 10.0])
@pytest.mark.parametrize("rate", [None, 8000, 16000, 44100])
def test_blocks_join_to_the_whole(seconds: float, rate: int | None, speech_flac: Path) -> None:
    got = sound(speech_flac)
    blocks = list(got.blocks(rate, seconds=seconds))
    size = round(seconds * (rate or 16000))
    assert {len(b) for b in blocks[:-1]} <= {size}
    assert 0 < len(blocks[-1]) <= size
    assert np.array_equal(np.concatenate(blocks), got.samples(rate))


@pytest.mark.parametrize(
    ("have", "want"), [(44100, 16000), (48000, 16000), (8000, 16000), (16000, 48000)]
)
def test_resampling_against_scipy(have: int, want: int, tmp_path: Path, make: ModuleType) -> None:
    x = make.tone(2, have, 997, 0.4) + make.tone(2, have, 3001, 0.2)
    path = make.wav(tmp_path / "t.wav", x, have)
    got = sound(path).samples(want)
    common = np.gcd(have, want)
    wanted = resample_poly(x.astype(float), want // common, have // common)
    assert abs(len(got) - len(wanted)) <= 1
    inner = slice(want // 10, want * 2 - want // 10)
    assert np.abs(got[inner] - wanted[inner]).max() < 2e-3


def test_what_the_new_rate_cannot_hold_is_filtered(tmp_path: Path, make: ModuleType) -> None:
    path = make.wav(tmp_path / "t.wav", make.tone(2, 48000, 11_000, 0.5), 48000)
    got = sound(path).samples(16000)
    assert np.abs(got[1000:-1000]).max() < 1e-3, "an alias"


@pytest.mark.parametrize(
    ("name", "codec", "rate", "form"),
    [("s.mp3", "libmp3lame", 44100, "mp3"), ("s.m4a", "aac", 44100, "m4a"),
     ("s.ogg", "libopus", 48000, "ogg"), ("s.opus", "libopus", 48000, "ogg"),
     ("s.aac", "aac", 44100, "aac"), ("s.mka", "flac", 44100, "matroska"),
     ("s.webm", "libopus", 48000, "webm"), ("s.wma", "wmav2", 44100, "asf"),
     ("s.mp2", "mp2", 44100, "mp3")],
)  # fmt: skip
def test_lossy_files(
    name: str, codec: str, rate: int, form: str, tmp_path: Path, make: ModuleType
) -> None:
    x = make.tone(2, rate, 440, 0.3)
    path = make.sound(tmp_path / name, x, rate, codec, bit_rate=128_000 if codec == "wmav2" else 0)
    got = sound(path)
    assert got.source.format == form
    assert got.source.extension_matches
    assert got.rate == rate
    assert got.duration == pytest.approx(2, abs=0.15)
    y = got.samples()
    assert abs(len(y) - len(x)) < 0.1 * rate
    spectrum = np.abs(np.fft.rfft(y[rate // 2 : rate // 2 * 3]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)
    assert np.abs(y).max() == pytest.approx(0.3, abs=0.08)


def test_the_sound_of_a_video(portrait_video: Path, make: ModuleType) -> None:
    media = decode(portrait_video)
    assert isinstance(media, Video)
    assert media.sound is not None
    y = media.sound.samples()
    x, rate = make.speech()
    assert media.sound.rate == rate
    near = [float(np.corrcoef(x[:40_000], y[s : s + 40_000])[0, 1]) for s in range(2050)]
    assert max(near) > 0.98
    assert np.argmax(near) < 50, "the encoder's delay is taken off"


def test_values_stay_in_range(tmp_path: Path) -> None:
    x = np.array([0.5, 7.0, -9.0, np.nan, np.inf, -np.inf, 0.25], np.float32)
    path = tmp_path / "wild.wav"
    soundfile.write(path, x, 8000, subtype="FLOAT")
    assert sound(path).samples().tolist() == [0.5, 1.0, -1.0, 0.0, 0.0, 0.0, 0.25]


def test_headers_that_lie(save: Save, speech_wav: Path) -> None:
    data = bytearray(speech_wav.read_bytes())
    for declared in (0xFFFFFFFF, 0x7FFFFFFF, 10_000_000):
        struct.pack_into("<I", data, 40, declared)
        assert len(sound(save("a.wav", bytes(data))).samples()) == 48_000
    got = sound(save("b.wav", speech_wav.read_bytes()[:50_044]))
    assert len(got.samples()) == 25_000
    assert got.duration == pytest.approx(25_000 / 16000)
    assert any("breaks off" in note for note in got.notes)


def test_limits(speech_flac: Path) -> None:
    got = sound(speech_flac, Limits(max_audio_seconds=1.0))
    assert len(got.samples()) == 16_000
    assert got.duration == pytest.approx(1.0)
    assert any("first 1 s" in note for note in got.notes)
    assert len(sound(speech_flac).samples(max_seconds=0.5)) == 8000


def test_wrong_arguments(speech_flac: Path) -> None:
    got = sound(speech_flac)
    with pytest.raises(ValueError, match="rate"):
        got.blocks(-1)
    with pytest.raises(ValueError, match="blocks"):
        got.blocks(seconds=0)


def test_no_samples_at_all(save: Save, speech_wav: Path) -> None:
    data = bytearray(speech_wav.read_bytes()[:44])
    struct.pack_into("<I", data, 40, 0)
    struct.pack_into("<I", data, 4, 36)
    with pytest.raises(MediaError):
        decode(save("none.wav", bytes(data)))


def test_many_channels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 6))
    path = tmp_path / "six.wav"
    soundfile.write(path, x, 48000)
    got = sound(path)
    wanted, _ = soundfile.read(path, dtype="float32")
    assert np.array_equal(got.samples(mono=False), wanted)
    assert got.samples(16_000, mono=False).shape == (1333, 6)
    assert np.allclose(got.samples(), wanted.mean(axis=1), atol=1e-6)
