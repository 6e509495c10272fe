"""The speech cache, from a mirror made here to samples read back."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest

from assay_lab.data import speech as s

soundfile = pytest.importorskip("soundfile")
RATE = s.RATE


def tone(seconds: float, hz: float, rate: int = RATE) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * hz * t) * (1 + 0.5 * np.sin(9 * t))).astype(np.float32)


def wav(x: np.ndarray, rate: int = RATE, kind: str = "WAV") -> bytes:
    box = io.BytesIO()
    soundfile.write(box, x, rate, format=kind)
    return box.getvalue()


RECIPE = (
    "source\trole\trepository\tref\tlicence\tlanguage\torder\tpattern\tlabel\tsystem\tyear\ttype\n"
    "page\ttrain\to/page\tHEAD\tMIT\ten\t1\t/vits/\tspoof\tVITS\t2021\ttts\n"
    "page\ttrain\to/page\tHEAD\tMIT\ten\t0\t/gt/|odd\tbona fide\tbooks\t\t\n"
    "page\ttrain\to/page\tHEAD\tMIT\ten\t2\t/new/\tspoof\tNew\t2024\ttts\n"
    "page\ttrain\to/page\tHEAD\tMIT\ten\t3\t.\tskip\t\t\t\n"
    "held\ttest\to/held\tHEAD\tMIT\ten\t0\t.\tspoof\tX\t\ttts\n"
)


@pytest.fixture
def page(tmp_path: Path) -> tuple[s.Page, Path]:
    (tmp_path / "recipe.tsv").write_text(RECIPE)
    files = {
        "a/gt/1.wav": wav(tone(2.0, 300)),
        "a/gt/long.flac": wav(tone(30.0, 350), kind="FLAC"),
        "a/vits/1.wav": wav(tone(2.0, 500, 22_050), 22_050),
        "a/vits/odd.wav": wav(tone(2.0, 510)),  # the first rule that fits wins
        "a/new/1.wav": wav(tone(2.0, 520)),
        "a/new/copy_of_gt.wav": wav(tone(2.0, 300)),  # same sound under both labels
        "a/new/short.wav": wav(tone(0.4, 530)),
        "a/new/broken.wav": b"RIFF\0\0\0\0WAVEjunk",
        "a/new/excluded.wav": wav(tone(2.0, 540)),
        "a/other/1.wav": wav(tone(2.0, 550)),
        "a/gt/readme.txt": b"text",
    }
    work = tmp_path / "work"
    for name, data in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(data)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(work)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    (found,) = s.read_recipe([tmp_path / "recipe.tsv"])
    return found, work / ".git"


def test_first_rule_wins_and_test_pages_are_left_out(page: tuple[s.Page, Path]) -> None:
    rules = page[0]
    assert [r.label for r in rules.rules] == ["bona fide", "spoof", "spoof", "skip"]
    assert rules.match("a/vits/odd.wav").label == "bona fide"  # type: ignore[union-attr]
    assert rules.match("a/vits/1.wav").system == "VITS"  # type: ignore[union-attr]
    assert rules.match("a/other/1.wav") is None


def test_cache_round_trip(page: tuple[s.Page, Path], tmp_path: Path) -> None:
    excluded = {("o/page", "a/new/excluded.wav")}
    batch = s.harvest(page[0], page[1], excluded, frozenset({"VITS"}), s.Caps())
    counts = s.write_cache([batch, batch], tmp_path / "cache")
    cache = s.SpeechCache(tmp_path / "cache")
    paths = [r["path"] for r in cache.rows]
    assert "a/vits/1.wav" not in paths  # dropped system
    assert "a/new/excluded.wav" not in paths
    assert "a/gt/1.wav" not in paths  # carried both labels
    assert counts["conflicts"] == 1
    assert paths.count("a/gt/long.flac") == s.Caps().segments
    assert sorted(set(paths)) == ["a/gt/long.flac", "a/new/1.wav", "a/vits/odd.wav"]
    assert (
        len(cache)
        == counts["real"] + counts["fake"]
        == len(set(map(tuple, (r.items() for r in cache.rows))))
    )
    i = paths.index("a/new/1.wav")
    clip = cache.clip(i)
    assert cache.labels[i] == 1
    assert abs(int(np.abs(clip).max()) - 0.6 * 32767) < 2
    spectrum = np.abs(np.fft.rfft(clip))
    assert abs(float(np.argmax(spectrum)) * RATE / clip.size - 520) < 3
    assert np.array_equal(cache.clip(i, 100, 50), clip[100:150])


def test_resampling_keeps_the_pitch() -> None:
    x, rate = s.decode(wav(tone(1.0, 1000, 44_100), 44_100))
    assert rate == 44_100
    assert abs(x.size - RATE) <= 2
    assert abs(float(np.argmax(np.abs(np.fft.rfft(x)))) * RATE / x.size - 1000) < 3


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF" + b"\0" * 40, b"ID3" + b"\xff" * 200])
def test_what_is_no_sound_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        s.decode(data)


def test_trim_cuts_silence_at_the_ends_only() -> None:
    pause = np.zeros(RATE, np.float32)
    x = np.concatenate([pause, tone(1.0, 300), pause, tone(1.0, 300), pause])
    y = s.trim(x)
    assert abs(y.size - 3.2 * RATE) < 0.05 * RATE
    assert s.trim(tone(0.02, 300)).size == int(0.02 * RATE)


def test_silence_is_refused() -> None:
    with pytest.raises(ValueError, match="silent"):
        s.to_int16(np.zeros(1000, np.float32))


def test_a_recording_is_known_again_through_a_codec_and_another_is_not() -> None:
    from assay_lab.data import speech_overlap as overlap
    from assay_lab.data.sound_corruptions import NARROW, telephone, through_codec

    path = Path(__file__).parents[1] / "media" / "samples" / "speech.flac"
    x, _ = s.decode(path.read_bytes())
    made = overlap.template(x[: 2 * RATE])
    assert made is not None
    assert overlap.template(x[:RATE]) is None
    templates = made[None]
    assert overlap.likeness(templates, x)[0] > 0.99
    part = x[1137:28_000]
    coded = through_codec(part, NARROW[2], 12_200, 8_000)
    for heard in (part, 0.2 * part, coded, telephone(part)):
        assert overlap.likeness(templates, heard)[0] > overlap.ALIKE
    assert overlap.likeness(templates, x[26_500:])[0] < overlap.ALIKE - 0.1
    assert overlap.likeness(templates, x[:3000])[0] == 0
