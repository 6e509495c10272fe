"""Has the recording been cut or spliced?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.analyzers.audio.runs import Run, SampleFacts, sample_facts
from assay.analyzers.audio.splice import RATE, background_change, isolated_jumps
from assay.analyzers.audio.times import clock
from assay.analyzers.audio.windows import windows
from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.errors import ModelError
from assay.findings import Claim, Finding, Json, Kind, NotApplicable, Question, Series, Where
from assay.media import Audio, Media, MediaKind
from assay.models import store

__all__ = ["CURVE", "AudioEditing", "Join", "joins", "pool"]

CURVE = "audio-editing-v1"
WINDOW_SECONDS = 3.0
HOP_SECONDS = 1.5
_MOST_WINDOWS = 2400  # an hour at the usual hop; longer sounds get a longer hop
_TEMPERATURE = 7.0  # dB; about the inverse slope of the calibration
_SHORTEST_RUN = 0.02  # s
_LOUD_EDGE = 0.003  # full scale; a gate that follows the sound closes below this
_STRONG_JUMP = 2.9  # ln ratio; none of 421 real clips reached it
_MOST_JUMPS = 20
_CLIPPED_SHARE = 1e-4


@dataclass(frozen=True, slots=True)
class Join:
    """What one window says: its best candidate for a join, and its jumps."""

    start: float
    seconds: float
    decibels: float
    time: float
    jumps: tuple[tuple[float, float], ...]


def joins(audio: Audio) -> list[Join]:
    """Measure every window of ``audio``; times in seconds. Memory does not grow with length."""
    hop = HOP_SECONDS * max(1.0, audio.duration / HOP_SECONDS / _MOST_WINDOWS)
    size = round(WINDOW_SECONDS * RATE)
    found = []
    for first, x in windows(audio.blocks(RATE), size, round(hop * RATE)):
        change = background_change(x)
        if change is None:
            continue
        places, strengths = isolated_jumps(x)
        jumps = tuple(
            ((first + int(p)) / RATE, float(s)) for p, s in zip(places, strengths, strict=True)
            if s >= _STRONG_JUMP
        )  # fmt: skip
        time = (first + change.sample) / RATE
        found.append(Join(first / RATE, len(x) / RATE, change.decibels, time, jumps))
    return found


def pool(decibels: Sequence[float]) -> float:
    """One score in dB for a sound of many windows.

    A join lies in one window out of n, so the likelihood ratio of the sound is the mean
    of the windows' ratios, and not the largest: a soft maximum less ln n.
    """
    top = max(decibels)
    mean = sum(math.exp((d - top) / _TEMPERATURE) for d in decibels) / len(decibels)
    return top + _TEMPERATURE * math.log(mean)


class AudioEditing:
    """Joins (background noise, isolated jumps), digital silence and clipping."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="audio.editing",
            version=1,
            question="Has the recording been cut or spliced?",
            media=frozenset({MediaKind.AUDIO}),
            source=(
                "Pan, Zhang, Lyu: Detecting splicing in digital audios using local noise level "
                "estimation, ICASSP 2012; Godsill, Rayner: Digital Audio Restoration, 1998"
            ),
            limitations=_LIMITS_BACKGROUND + _LIMITS_SILENCE,
            bears_on=frozenset({Question.AUDIO_EDIT}),
            models=(CURVE,) if CURVE in store.available() else (),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``audio.editing.*``; NotApplicable for sound without any sample."""
        if not isinstance(media, Audio):
            raise TypeError("audio.editing looks at sound")
        facts = sample_facts(
            media.blocks(mono=False), max(2, math.ceil(_SHORTEST_RUN * media.rate))
        )
        if facts.total == 0:
            return NotApplicable(
                code="no_sound", reason="The recording holds no samples.",
                question=Question.AUDIO_EDIT,
            )  # fmt: skip
        if facts.peak < 1e-5:
            return NotApplicable(
                code="silence", reason="The recording is silent throughout.",
                question=Question.AUDIO_EDIT,
            )  # fmt: skip
        measured = joins(media)
        length = facts.total / media.rate
        return (
            *_background(measured, length),
            *_jumps(measured, length),
            *_silence(facts, media.rate),
            *_clipping(facts, media.rate),
        )


_LIMITS_BACKGROUND = (
    "A join inside one recording, or between recordings made with the same device in the same "
    "room, usually leaves no trace here: on such joins the measure is no better than chance.",
    "A noise suppressor, a change of codec rate or a moved microphone changes the background "
    "as a join does.",
    "Measured on clips of 1.5 to 8 seconds sampled at 16 kHz; anything above 8 kHz is not used.",
)
_LIMITS_SILENCE = (
    "Telephony, voice chat, noise gates and some codecs write exact silence into recordings "
    "that nobody edited.",
)


def _background(measured: list[Join], length: float) -> tuple[Finding, ...]:
    if not measured:
        return ()
    best = max(measured, key=lambda j: j.decibels)
    score = pool([j.decibels for j in measured])
    llr, accused = _weigh(score)
    where = Where(start=max(0.0, best.time - 0.5), end=min(length, best.time + 0.5))
    if accused:
        because = (
            f"Around {clock(best.time)} the background noise changes its colour by "
            f"{best.decibels:.0f} dB, more than in any of the unedited clips measured; two "
            "recordings may be joined there."
        )
    elif llr is not None and llr > 0:
        because = (
            f"Around {clock(best.time)} the background noise changes its colour by "
            f"{best.decibels:.0f} dB. Joined recordings score like this {_times(llr)} as often as "
            "unedited ones: a weak hint, and no more."
        )
    else:
        because = (
            f"The background noise changes by {best.decibels:.0f} dB at most (around "
            f"{clock(best.time)}), as it does in unedited recordings. That does not exclude a cut."
        )
        where = Where()
    data: dict[str, Json] = {
        "score_db": round(score, 3),
        "largest_db": round(best.decibels, 3),
        "largest_at": round(best.time, 3),
        "windows": len(measured),
        "windows_bounded": length > HOP_SECONDS * _MOST_WINDOWS,
    }
    return (
        Finding(
            code="audio.editing.background",
            kind=Kind.STRUCTURE,
            claim=Claim.MANIPULATED if accused else Claim.NEUTRAL,
            because=because,
            question=Question.AUDIO_EDIT,
            group="audio-background",
            raw_score=score,
            curve=CURVE if llr is not None else None,
            where=where,
            limits=_LIMITS_BACKGROUND,
            series=Series(
                times=tuple(j.start + j.seconds / 2 for j in measured),
                values=tuple(j.decibels for j in measured),
                meaning=(
                    "Largest change of the background noise in 3 seconds around this time, in "
                    "dB. Speech without pauses and moving sources raise it too."
                ),
            ),
            data=data,
        ),
    )


def _weigh(score: float) -> tuple[float | None, bool]:
    """(calibrated ratio in nats, None without a curve; whether it supports claiming a join)."""
    try:
        card = store.card(CURVE)
    except ModelError:
        return None, False
    if card.calibration is None:
        return None, False
    return card.calibration(score), score >= card.gates.get("claim_db", math.inf)


def _times(llr: float) -> str:
    ratio = math.exp(llr)
    return "about" if ratio < 1.05 else f"{ratio:.1f} times"


def _jumps(measured: list[Join], length: float) -> tuple[Finding, ...]:
    places: list[tuple[float, float]] = []
    for time, strength in sorted(p for j in measured for p in j.jumps):
        if places and time - places[-1][0] < 0.02:  # windows overlap
            places[-1] = max(places[-1], (time, strength), key=lambda p: p[1])
        else:
            places.append((time, strength))
    if not places:
        return ()
    strongest = sorted(places, key=lambda p: -p[1])[:_MOST_JUMPS]
    time, strength = strongest[0]
    many = f"at {len(places)} places, most at" if len(places) > 1 else "at"
    return (
        Finding(
            code="audio.editing.jump",
            kind=Kind.STRUCTURE,
            claim=Claim.NEUTRAL,
            because=(
                f"The sound jumps {many} {clock(time)}: one sample is off by "
                f"{math.exp(strength):.0f} times more than those around it. Listen there: a hard "
                "cut does this, and so does a click or a lost packet."
            ),
            question=Question.AUDIO_EDIT,
            group="audio-jump",
            raw_score=strength,
            where=Where(start=max(0.0, time - 0.01), end=min(length, time + 0.01)),
            limits=(
                "Cuts inside speech rarely show this way, and clicks of mouth, microphone and "
                "line do: as a test for editing it is no better than chance.",
            ),
            data={
                "count": len(places),
                "places": [
                    {"time": round(t, 4), "strength": round(s, 3)} for t, s in sorted(strongest)
                ],
            },
        ),
    )


def _silence(facts: SampleFacts, rate: int) -> tuple[Finding, ...]:
    found = []
    edges = [r for r in facts.runs if r.edge]
    inside = [r for r in facts.runs if not r.edge]
    if edges and sum(r.length for r in edges) < facts.total:
        places = " and ".join(
            f"{r.length / rate:.2f} s at the {'beginning' if r.start == 0 else 'end'}"
            for r in edges
        )
        found.append(
            Finding(
                code="audio.editing.padding",
                kind=Kind.STRUCTURE,
                claim=Claim.NEUTRAL,
                because=f"The recording holds {places} without any change of value, as encoders "
                "and editors add and no microphone delivers.",
                limits=("Encoders pad recordings routinely.",),
                data={"runs": [_run_data(r, rate) for r in edges]},
            )
        )
    if inside:
        found.append(_inside(inside, facts, rate))
    return tuple(found)


def _inside(inside: list[Run], facts: SampleFacts, rate: int) -> Finding:
    count = len(inside) + facts.more_runs
    longest = max(inside, key=lambda r: r.length)
    # A gate or a codec opens and closes many times and at low level; an editor who
    # blanks a passage does it once or twice, wherever the sound happens to be.
    hard = [r for r in inside if r.jump >= _LOUD_EDGE and r.length >= 0.05 * rate]
    accused = count <= 3 and bool(hard)
    shown = max(hard, key=lambda r: r.length) if accused else longest
    start, end = shown.start / rate, (shown.start + shown.length) / rate
    if accused:
        because = (
            f"From {clock(start)} on the sound holds one value for {end - start:.2f} s and its "
            "edge cuts into audible sound; nowhere else is it that still. A passage may have been "
            "blanked."
        )
    else:
        because = (
            f"The recording holds {count} {'stretch' if count == 1 else 'stretches'} of exact "
            f"stillness inside, the longest {end - start:.2f} s at {clock(start)}. A gate, voice "
            "chat or a codec does this, and so does an editor."
        )
    return Finding(
        code="audio.editing.digital_silence",
        kind=Kind.STRUCTURE,
        claim=Claim.MANIPULATED if accused else Claim.NEUTRAL,
        because=because,
        question=Question.AUDIO_EDIT,
        group="audio-silence",
        raw_score=shown.length / rate,
        where=Where(start=start, end=end),
        limits=_LIMITS_SILENCE,
        data={"count": count, "runs": [_run_data(r, rate) for r in inside[:50]]},
    )


def _run_data(run: Run, rate: int) -> dict[str, Json]:
    return {
        "start": round(run.start / rate, 4),
        "seconds": round(run.length / rate, 4),
        "value": round(run.value, 6),
        "jump": round(run.jump, 6),
    }


def _clipping(facts: SampleFacts, rate: int) -> tuple[Finding, ...]:
    share = facts.clipped / (facts.total * facts.channels)
    if share < _CLIPPED_SHARE or facts.first_clip is None or facts.last_clip is None:
        return ()
    return (
        Finding(
            code="audio.editing.clipping",
            kind=Kind.STRUCTURE,
            claim=Claim.NEUTRAL,
            because=f"The recording is overdriven: {100 * share:.2g} % of its samples are stuck at "
            "full scale. Overdrive hides traces.",
            where=Where(start=facts.first_clip / rate, end=facts.last_clip / rate),
            limits=("Overdrive comes from recording too loud as often as from processing.",),
            data={"share": share, "peak": round(facts.peak, 5)},
        ),
    )
