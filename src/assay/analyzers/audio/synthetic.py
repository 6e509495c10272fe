"""Is the speech synthetic, cloned or converted?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from assay.analyzers.audio.times import clock
from assay.analyzers.audio.voice import MODEL as VOICE
from assay.analyzers.audio.voice import RATE, SpeechWindows, Window, windows_of_speech
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.findings import Claim, Finding, Json, Kind, NotApplicable, Question, Series, Where
from assay.media import Audio, Media, MediaKind
from assay.models import runtime, store
from assay.models.card import Card, OperatingPoints

__all__ = [
    "MODEL",
    "ScoredWindow",
    "Segment",
    "SyntheticSpeech",
    "findings",
    "gate",
    "pool",
    "scored",
    "segments",
]

MODEL = "speech-v7"
_BATCH = 8
_MOST_WINDOWS = 1200  # an hour of speech at the usual hop; longer sounds get a longer hop
_HOP_FRAMES = 100  # 3.2 s; a window is 4 s
_LIMITS = (
    "Systems of another kind than those it was trained on, and very good clones, may pass unseen; "
    "a low score is no proof that a human spoke.",
    "Strong noise suppression, dubbing, heavy compression, pitch and speed effects and speech "
    "coders at very low rates can look synthetic.",
    "Singing, laughter and crowds are outside of what it was trained on.",
    "It says whether speech sounds machine-made, not who spoke or whether what was said is true.",
)


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """The network's logit for about four seconds of speech between two times in seconds."""

    start: float
    end: float
    logit: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch whose windows all reach the point; ``logit`` is their mean."""

    start: float
    end: float
    windows: int
    logit: float


def scored(windows: Iterator[Window]) -> Iterator[ScoredWindow]:
    """Score windows of speech as they come, a few at a time."""
    while group := list(islice(windows, _BATCH)):
        samples = np.stack([w.samples for w in group]).astype(np.float32)
        logits = runtime.run(MODEL, {"input": samples}, batch=_BATCH)["logit"]
        for window, logit in zip(group, logits, strict=True):
            yield ScoredWindow(window.start, window.end, float(logit))


def pool(logits: Sequence[float]) -> float:
    """One logit for a sound: the mean without the lowest and highest tenth of its windows.

    The calibration of the model was fitted on the mean over a clip; trimming keeps a
    cough, a jingle or one odd window from deciding about an hour of speech.
    """
    ordered = sorted(logits)
    cut = len(ordered) // 10
    kept = ordered[cut : len(ordered) - cut]
    return float(np.mean(kept))


def segments(windows: Sequence[ScoredWindow], point: float) -> list[Segment]:
    """Stretches of at least two windows in a row that reach ``point``, in order of time.

    In a sound of one or two windows one is enough: there it is most of the speech.
    """
    least = 1 if len(windows) <= 2 else 2
    found: list[Segment] = []
    run: list[ScoredWindow] = []
    for window in (*windows, None):
        if window is not None and window.logit >= point:
            run.append(window)
            continue
        if len(run) >= least:
            mean = float(np.mean([w.logit for w in run]))
            found.append(Segment(run[0].start, run[-1].end, len(run), mean))
        run = []
    return found


class SyntheticSpeech:
    """Scores four-second windows of speech; gates sounds without enough of it."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="audio.synthetic",
            version=1,
            question="Is the speech synthetic, cloned or converted?",
            media=frozenset({MediaKind.AUDIO}),
            source=(
                "Own classifier on two frozen networks: the convolutions of Distill-MOS (Stahl and "
                "Gamper 2025) and the first blocks of Whisper (Radford et al. 2022); "
                "task as in ASVspoof 2021 (Liu et al. 2023)"
            ),
            limitations=_LIMITS,
            bears_on=frozenset({Question.SYNTHETIC_SPEECH}),
            models=(MODEL, VOICE),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``audio.synthetic`` and ``audio.synthetic.segment``.

        NotApplicable when there is no speech, too little of it, or too much noise.
        """
        if not isinstance(media, Audio):
            raise TypeError("audio.synthetic looks at sound")
        card = store.card(MODEL)
        stretch = max(1.0, media.duration / (_MOST_WINDOWS * 3.2))
        hop = min(125, round(_HOP_FRAMES * stretch))
        totals = SpeechWindows(hop)
        stream = scored(windows_of_speech(media.blocks(RATE), totals))
        windows = list(islice(stream, _MOST_WINDOWS))
        bounded = next(stream, None) is not None
        refusal = gate(card, totals, windows)
        if refusal is not None:
            return refusal
        return findings(card, windows, totals, bounded)


def gate(
    card: Card, totals: SpeechWindows, windows: Sequence[ScoredWindow]
) -> NotApplicable | None:
    """Why the windows cannot be judged, or None: no speech, too little of it, too much noise."""

    def refuse(code: str, reason: str) -> NotApplicable:
        return NotApplicable(code=code, reason=reason, question=Question.SYNTHETIC_SPEECH)

    if totals.speech_seconds < 0.25 or not windows:
        return refuse("no_speech", "No speech was found in the recording.")
    least = card.gates.get("min_speech_s", 1.0)
    if totals.speech_seconds < least:
        return refuse(
            "too_little_speech",
            f"The recording holds {totals.speech_seconds:.1f} s of speech; below {least:.1f} s the "
            "estimate is not reliable.",
        )
    snr, quiet = totals.snr_db, card.gates.get("min_snr_db", 0.0)
    if snr is not None and snr < quiet:
        return refuse(
            "too_noisy",
            f"The speech stands only {snr:.0f} dB above the background; below {quiet:.0f} dB the "
            "estimate is not reliable.",
        )
    return None


def findings(
    card: Card, windows: Sequence[ScoredWindow], totals: SpeechWindows, bounded: bool
) -> tuple[Finding, ...]:
    """What at least one window says: the whole, and the parts that stand out from it."""
    raw = pool([w.logit for w in windows])
    points = card.points
    found = segments(windows, points.fpr_1pct) if points else []
    snr = totals.snr_db
    data: dict[str, Json] = {
        "windows": len(windows),
        "windows_bounded": bounded,
        "speech_seconds": round(totals.speech_seconds, 2),
        "snr_db": None if snr is None else round(snr, 1),
        "highest": round(max(w.logit for w in windows), 4),
        "lowest": round(min(w.logit for w in windows), 4),
        "segments": [
            {
                "start": round(s.start, 2),
                "end": round(s.end, 2),
                "windows": s.windows,
                "logit": round(s.logit, 4),
            }
            for s in found[:100]
        ],
    }
    accused = points is not None and raw >= points.fpr_1pct
    whole = Finding(
        code="audio.synthetic",
        kind=Kind.MODEL,
        claim=Claim.SYNTHETIC if accused else Claim.NEUTRAL,
        because=_because(raw, points, totals.speech_seconds),
        question=Question.SYNTHETIC_SPEECH,
        group="speech",
        raw_score=raw,
        curve=MODEL if card.calibration is not None else None,
        where=Where(start=windows[0].start, end=max(w.end for w in windows)),
        model=card.ref,
        limits=tuple(dict.fromkeys((*_LIMITS, *card.limits))),
        series=Series(
            times=tuple((w.start + w.end) / 2 for w in windows),
            values=tuple(w.logit for w in windows),
            meaning=(
                "The network's score for about four seconds of speech around this time; higher "
                "means more like machine-made speech. Single peaks occur in real speech too."
            ),
        ),
        data=data,
    )
    if accused or not found:
        return (whole,)
    return (whole, *(_part(card, s) for s in sorted(found, key=lambda s: -s.logit)[:10]))


def _part(card: Card, segment: Segment) -> Finding:
    return Finding(
        code="audio.synthetic.segment",
        kind=Kind.MODEL,
        claim=Claim.NEUTRAL,
        because=(
            f"Between {clock(segment.start)} and {clock(segment.end)} the speech sounds more "
            "machine-made than the rest. Listen to this part; it is a hint and does not count "
            "towards the verdict."
        ),
        question=Question.SYNTHETIC_SPEECH,
        group="speech-part",
        raw_score=segment.logit,
        where=Where(start=segment.start, end=segment.end),
        model=card.ref,
        limits=(
            "The longer a recording, the more likely such a part is found in real speech.",
            "Another microphone, a telephone line or music under the voice can cause it.",
        ),
    )


def _because(raw: float, points: OperatingPoints | None, seconds: float) -> str:
    amount = f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if points is None:
        return f"The network scored {amount} of speech; it has no calibration yet."
    if raw >= points.fpr_1pct:
        return (
            f"The {amount} of speech carry traces of synthesis, cloning or conversion, stronger "
            "than in 99 of 100 real recordings it was checked with."
        )
    if raw >= points.fpr_5pct:
        return (
            f"The {amount} of speech look somewhat machine-made, but about one to five in 100 real "
            "recordings look so too."
        )
    if raw <= points.low_band:
        return (
            f"The {amount} of speech show none of the traces of synthesis that the network knows; "
            "about two in 100 of the synthetic clips it was checked with look so too."
        )
    return (
        f"The {amount} of speech lie where real and synthetic speech look alike to the network: "
        "no conclusion."
    )
