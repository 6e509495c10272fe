"""Is the speech synthetic, while it is still being spoken?

The windows, the network, the gates and the findings are those of :mod:`synthetic`; here they are
about the last minute, so that a stream without an end costs no memory and an old sentence
does not answer for a new speaker.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from assay.analyzers.audio.synthetic import MODEL, ScoredWindow, findings, gate, scored
from assay.analyzers.audio.voice import RATE, SECONDS, SpeechWindows
from assay.analyzers.audio.windows import clean_blocks
from assay.analyzers.protocol import Answer
from assay.findings import NotApplicable, Question
from assay.models import store

__all__ = ["Listener"]

_HOP = 50  # frames of speech (1.6 s) between windows of 4 s
_PIECE = 16_000
_PAUSE = 2.0  # s; what was said before it is scored without waiting for more


class Listener:
    """Push a sound as it comes; ask at any time what its last ``span`` seconds say.

    A window is scored at most 1.9 s of speech after the one before it: its hop, and the quarter
    of a second in which it is decided whether somebody still speaks.
    """

    def __init__(self, span: float = 60.0, hop: int = _HOP) -> None:
        if not span >= 8.0:
            raise ValueError(f"the span must be at least 8 s, got {span!r}")
        self._span = span
        self._totals = SpeechWindows(hop, span=round(span / SECONDS))
        self._windows: deque[ScoredWindow] = deque()
        self._pushed = 0
        self._paused = False

    @property
    def heard(self) -> float:
        """Seconds pushed so far."""
        return self._pushed / RATE

    @property
    def speech_seconds(self) -> float:
        """Seconds of speech within the span."""
        return self._totals.speech_seconds

    @property
    def windows(self) -> tuple[ScoredWindow, ...]:
        """The scored windows within the span, in order."""
        return tuple(self._windows)

    def push(self, block: NDArray[np.float32]) -> None:
        """Take in mono sound at 16 kHz, float32 in -1..1, of any length."""
        for clean in clean_blocks([block]):
            for at in range(0, len(clean), _PIECE):
                piece = clean[at : at + _PIECE]
                self._pushed += len(piece)
                self._windows.extend(scored(self._totals.push(piece)))
                paused = self._totals.pause_seconds >= _PAUSE
                if paused and not self._paused:
                    self._windows.extend(scored(self._totals.finish()))
                self._paused = paused
                self._forget()

    def finish(self) -> None:
        """The sound has ended: score what no window covers yet."""
        if not self._paused:
            self._windows.extend(scored(self._totals.finish()))
            self._forget()

    def answer(self) -> Answer:
        """As :meth:`SyntheticSpeech.analyze` answers for a file, about the span.

        NotApplicable with code ``listening`` while there is speech but not a window of it.
        """
        card = store.card(MODEL)
        spoken = self._totals.speech_seconds
        if spoken >= 0.25 and not self._windows:
            return NotApplicable(
                code="listening",
                reason=f"{spoken:.1f} s of speech so far; a score needs 4 s, or a pause.",
                question=Question.SYNTHETIC_SPEECH,
            )
        refusal = gate(card, self._totals, self.windows)
        if refusal is not None:
            return refusal
        return findings(card, self.windows, self._totals, bounded=False)

    def _forget(self) -> None:
        while self._windows and self._windows[0].end < self.heard - self._span:
            self._windows.popleft()
