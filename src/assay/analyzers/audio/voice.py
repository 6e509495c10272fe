"""Where somebody speaks, and windows that hold speech only.

Frames of 512 samples at 16 kHz (32 ms) with the Silero VAD network; pauses longer than a
breath are left out of the windows, as in the training of ``speech``. Everything is
streamed: memory does not grow with the length of the sound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.audio.windows import clean_blocks
from assay.models import runtime

__all__ = [
    "FRAME",
    "MODEL",
    "RATE",
    "SpeechWindows",
    "VoiceActivity",
    "Window",
    "windows_of_speech",
]

MODEL = "voice-activity-v1"
RATE = 16_000
FRAME = 512
SECONDS = FRAME / RATE
_CONTEXT = 64
_CHUNK = 512  # frames a network call
SPEECH = 0.5
_REACH = 8  # frames (0.26 s) kept on either side of speech
_SIZE = 125  # frames a window: exactly 4 s

Sound = NDArray[np.float32]


class VoiceActivity:
    """Stateful probability of speech, frame by frame; one instance a sound."""

    def __init__(self) -> None:
        self._h = np.zeros((1, 1, 128), np.float32)
        self._c = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def __call__(self, frames: Sound) -> Sound:
        """Probabilities [n] for consecutive ``frames`` [n, 512], float32 in -1..1."""
        out = [np.zeros(0, np.float32)]
        for start in range(0, len(frames), _CHUNK):
            part = frames[start : start + _CHUNK]
            before = np.concatenate([self._context[None], part[:-1, -_CONTEXT:]])
            answer = runtime.run(
                MODEL,
                {"input": np.concatenate([before, part], 1), "h": self._h, "c": self._c},
                batch=len(part),
            )
            self._h, self._c = answer["hn"], answer["cn"]
            self._context = part[-1, -_CONTEXT:].copy()
            out.append(answer["speech_probs"])
        return np.concatenate(out)


@dataclass(frozen=True, slots=True)
class Window:
    """Four seconds of speech: ``samples`` [64000], and the time it spans in the sound.

    ``filled`` is the share that is not repetition (1 except for very short speech).
    """

    samples: Sound
    start: float
    end: float
    filled: float = 1.0


class SpeechWindows:
    """Push blocks of 16 kHz mono, get windows of speech; then read the totals.

    ``hop`` is the distance of windows in frames of speech. Windows appear about a quarter
    of a second after their last sample was pushed. With ``span`` the totals are those of the
    last ``span`` frames, for sounds without an end.
    """

    def __init__(self, hop: int = 100, span: int | None = None) -> None:
        if not 1 <= hop <= _SIZE:
            raise ValueError("hop must be 1 to 125 frames")
        if span is not None and span < 1:
            raise ValueError("span must be at least one frame")
        self._hop = hop
        # (power if speech, power if pause) of the frames that the totals are about
        self._recent: deque[tuple[float | None, float | None]] | None = (
            None if span is None else deque(maxlen=span)
        )
        self._voice = VoiceActivity()
        self._rest = np.zeros(0, np.float32)
        self._waiting: list[tuple[int, Sound]] = []  # frames whose neighbours are not known yet
        self._until = -1  # frames up to this index are kept
        self._kept: list[tuple[int, Sound]] = []
        self._fresh = 0  # kept frames that no window covers yet
        self._emitted = False
        self.frames = 0
        self.speech_frames = 0
        self._speech_power = 0.0
        self._other: list[float] = []

    @property
    def speech_seconds(self) -> float:
        """Seconds of frames in which somebody speaks."""
        if self._recent is not None:
            return sum(loud is not None for loud, _ in self._recent) * SECONDS
        return self.speech_frames * SECONDS

    @property
    def pause_seconds(self) -> float:
        """Seconds since somebody last spoke; 0 before anybody did."""
        last = self._until - _REACH
        return (self.frames - 1 - last) * SECONDS if last >= 0 else 0.0

    @property
    def snr_db(self) -> float | None:
        """Mean power of speech over that of the pauses (20th percentile); None with < 15 frames."""
        if self._recent is None:
            other, power, count = self._other, self._speech_power, self.speech_frames
        else:
            other = [quiet for _, quiet in self._recent if quiet is not None]
            spoken = [loud for loud, _ in self._recent if loud is not None]
            power, count = sum(spoken), len(spoken)
        if len(other) < 15 or not count:
            return None
        noise = float(np.percentile(other, 20))
        speech = power / count
        return float(10 * np.log10(max(speech - noise, 1e-12) / max(noise, 1e-12)))

    def push(self, block: Sound) -> Iterator[Window]:
        """Windows that became complete with ``block`` (float32 mono at 16 kHz, any length)."""
        data = np.concatenate([self._rest, block])
        count = len(data) // FRAME
        frames, self._rest = data[: count * FRAME].reshape(count, FRAME), data[count * FRAME :]
        for frame, p in zip(frames, self._voice(np.clip(frames, -1, 1)), strict=True):
            yield from self._add(frame, bool(p >= SPEECH), bool(p < 0.2))

    def finish(self) -> Iterator[Window]:
        """The last window, aligned with the end of the speech; short speech is repeated."""
        if self._kept and not self._emitted:
            samples = np.concatenate([f for _, f in self._kept])
            filled = len(samples) / (_SIZE * FRAME)
            yield self._window(np.resize(samples, _SIZE * FRAME), self._kept, filled)
        elif self._fresh >= self._hop // 2:
            yield self._window(np.concatenate([f for _, f in self._kept]), self._kept)
        self._fresh = 0

    def _add(self, frame: Sound, speech: bool, quiet: bool) -> Iterator[Window]:
        index = self.frames
        self.frames += 1
        power = float(np.square(frame, dtype=np.float64).mean())
        if self._recent is not None:
            self._recent.append((power if speech else None, power if quiet else None))
        if speech:
            self.speech_frames += 1
            self._speech_power += power
            for item in self._waiting:
                yield from self._keep(item)
            self._waiting.clear()
            self._until = index + _REACH
        elif quiet and self._recent is None and len(self._other) < 20_000:
            self._other.append(power)
        if index <= self._until:
            yield from self._keep((index, frame.copy()))
        else:
            self._waiting.append((index, frame.copy()))
            if len(self._waiting) > _REACH:
                del self._waiting[0]

    def _keep(self, item: tuple[int, Sound]) -> Iterator[Window]:
        self._kept.append(item)
        self._fresh += 1
        if len(self._kept) > _SIZE:
            del self._kept[0]
        if len(self._kept) == _SIZE and (not self._emitted or self._fresh >= self._hop):
            self._emitted = True
            self._fresh = 0
            yield self._window(np.concatenate([f for _, f in self._kept]), self._kept)

    @staticmethod
    def _window(samples: Sound, frames: list[tuple[int, Sound]], filled: float = 1.0) -> Window:
        return Window(
            samples=samples,
            start=frames[0][0] * SECONDS,
            end=(frames[-1][0] + 1) * SECONDS,
            filled=filled,
        )


def windows_of_speech(blocks: Iterable[Sound], into: SpeechWindows) -> Iterator[Window]:
    """All windows of a whole sound, in order; ``into`` holds the totals afterwards."""
    for block in clean_blocks(blocks):
        # Bounded pieces, whatever the size of the blocks.
        for start in range(0, len(block), 160_000):
            yield from into.push(block[start : start + 160_000])
    yield from into.finish()
