"""The streaming judge against the one for files, on recorded speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.analyzers.audio.live import Listener
from assay.analyzers.audio.synthetic import SyntheticSpeech
from assay.analyzers.audio.voice import FRAME, SpeechWindows
from assay.findings import Finding, NotApplicable
from assay.media import Audio, decode

Sound = NDArray[np.float32]
RATE = 16_000
SPEECH = Path(__file__).parents[2] / "media" / "samples" / "speech.flac"


@pytest.fixture(scope="module")
def speech() -> Sound:
    found = decode(SPEECH)
    assert isinstance(found, Audio)
    return found.samples(RATE)


def listen(x: Sound, piece: int, **options: float) -> Listener:
    listener = Listener(**options)  # type: ignore[arg-type]
    for at in range(0, len(x), piece):
        listener.push(x[at : at + piece])
    return listener


def whole(answer: object) -> Finding:
    assert isinstance(answer, tuple)
    found = answer[0]
    assert isinstance(found, Finding)
    return found


def test_it_says_what_the_file_analyzer_says(
    speech: Sound, make_audio: Callable[..., Audio]
) -> None:
    for repeats in (1, 4):
        x = np.tile(speech, repeats)
        file = whole(SyntheticSpeech().analyze(make_audio(x, RATE)))
        live = listen(x, 3000, hop=100)
        live.finish()
        stream = whole(live.answer())
        assert stream.raw_score == pytest.approx(file.raw_score, abs=1e-4)
        assert stream.where == file.where
        assert stream.data["windows"] == file.data["windows"]


def test_the_size_of_the_pieces_changes_nothing(speech: Sound) -> None:
    x = np.tile(speech, 3)
    fine, coarse = listen(x, 700), listen(x, 40_000)
    fine.finish()
    coarse.finish()
    assert [(w.start, w.end) for w in fine.windows] == [(w.start, w.end) for w in coarse.windows]
    logits = [[w.logit for w in listener.windows] for listener in (fine, coarse)]
    assert np.allclose(*logits, atol=1e-3)


def test_it_keeps_up_with_speech(speech: Sound) -> None:
    listener = Listener()
    for at in range(0, 5 * len(speech), 1600):
        listener.push(np.tile(speech, 5)[at : at + 1600])
        if listener.heard > 6.0:
            assert listener.heard - listener.windows[-1].end < 2.5


def test_memory_and_answer_are_those_of_the_last_seconds(speech: Sound) -> None:
    listener = Listener(span=8.0)
    sizes = []
    for _ in range(12):
        listener.push(speech)
        sizes.append(len(listener.windows))
        assert listener.speech_seconds <= 8.0 + FRAME / RATE
    assert max(sizes[5:]) <= 8
    assert listener.windows[0].end >= listener.heard - 8.0
    listener.push(np.zeros(10 * RATE, np.float32))
    assert not listener.windows
    answer = listener.answer()
    assert isinstance(answer, NotApplicable)
    assert answer.code == "no_speech"


def test_what_was_said_before_a_pause_is_scored(speech: Sound) -> None:
    listener = Listener()
    listener.push(speech)
    answer = listener.answer()
    assert isinstance(answer, NotApplicable)
    assert answer.code == "listening"
    listener.push(np.zeros(3 * RATE, np.float32))
    assert len(listener.windows) == 1
    assert whole(listener.answer()).raw_score is not None
    listener.finish()
    assert len(listener.windows) == 1


def test_hostile_samples_and_bad_spans(speech: Sound) -> None:
    listener = Listener()
    listener.push(np.full(RATE, np.nan, np.float32))
    listener.push(np.full(RATE, np.inf, np.float32))
    listener.push(np.zeros(0, np.float32))
    assert isinstance(listener.answer(), NotApplicable)
    for span in (0.0, float("nan")):
        with pytest.raises(ValueError, match="span"):
            Listener(span)
    with pytest.raises(ValueError, match="span"):
        SpeechWindows(span=0)
