"""Words and numbers that the text and the HTML rendering share.

Everything a file says about itself is hostile: :func:`clean` stands between such text and
a terminal or a page.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

from assay.findings import Claim, Kind, Question, Strength
from assay.fusion.outcome import Evidence, Verdict
from assay.fusion.scope import UNLIKE_KNOWN
from assay.report.document import MediaFacts, Report

__all__ = [
    "CLAIMS",
    "FACTS_APART",
    "KINDS",
    "KIND_NOTES",
    "NOT_CALLED",
    "QUESTIONS",
    "VERDICTS",
    "claim",
    "clean",
    "clock",
    "facts",
    "flag",
    "has_facts",
    "interval",
    "moment",
    "number",
    "percent",
    "place",
    "rounded_size",
    "scope_note",
    "stability",
    "stated_rate",
    "support",
    "weight",
]

VERDICTS: Mapping[Verdict, str] = {
    Verdict.AUTHENTIC: "authentic",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.SUSPICIOUS: "suspicious",
    Verdict.MANIPULATED: "manipulated",
    Verdict.SYNTHETIC: "synthetic",
    Verdict.NOT_APPLICABLE: "not applicable",
}

KINDS: Mapping[Kind, str] = {
    Kind.PROVENANCE: "What the file says about its origin",
    Kind.WATERMARK: "Watermarks",
    Kind.STRUCTURE: "Traces in the file and the signal",
    Kind.MODEL: "Estimates of trained networks",
    Kind.MATCH: "Comparison with known items",
    Kind.HUMAN: "Human judgement",
}

KIND_NOTES: Mapping[Kind, str] = {
    Kind.PROVENANCE: "Statements, signed or not. Unsigned ones can be planted or removed.",
    Kind.WATERMARK: "Marks that generators put into their output. Their absence says nothing.",
    Kind.STRUCTURE: "Measured without a trained network. Ordinary processing can leave them too.",
    Kind.MODEL: "Statistical estimates with measured error rates; never proof on their own.",
    Kind.MATCH: "Likeness to items seen before.",
    Kind.HUMAN: "Entered by a person.",
}

CLAIMS: Mapping[Claim, str] = {
    Claim.AUTHENTIC: "speaks for authentic",
    Claim.MANIPULATED: "speaks for manipulated",
    Claim.SYNTHETIC: "speaks for synthetic",
    Claim.NEUTRAL: "points neither way",
}

NOT_CALLED = "not clear enough to call"

QUESTIONS: Mapping[Question, str] = {
    Question.FACE_MANIPULATION: "face manipulated or generated",
    Question.GENERATED_IMAGE: "picture or film made by a generator",
    Question.LOCAL_EDIT: "part of the picture edited",
    Question.SYNTHETIC_SPEECH: "synthetic or cloned voice",
    Question.AUDIO_EDIT: "sound cut or joined",
    Question.VIDEO_EDIT: "video edited",
}

_FACTS: Mapping[Strength, str] = {
    Strength.DECISIVE: "settles the question unless another decisive fact contradicts it",
    Strength.STRONG: "strong, unless somebody planted it",
    Strength.WEAK: "a hint",
    Strength.NONE: "shown for information, without weight",
}

# Verbal scale of the ENFSI guideline for evaluative reporting (2015): upper bound of the
# likelihood ratio, and the words.
_SCALE = (
    (2.0, "no"),
    (10.0, "weak"),
    (100.0, "moderate"),
    (1_000.0, "moderately strong"),
    (10_000.0, "strong"),
    (1_000_000.0, "very strong"),
    (math.inf, "extremely strong"),
)

FACTS_APART = (
    "Facts about the origin of the file do not enter this probability; they can set the "
    "verdict by themselves."
)

_MARKS = 4  # combining marks on one letter; more only smear over the neighbours


def clean(text: object, longest: int = 2000) -> str:
    """``text`` with everything invisible or direction-changing made visible, and bounded.

    Control, format, surrogate, private-use and unassigned characters become ``[U+202E]``;
    white space becomes a space; long runs of combining marks are cut; at most ``longest``
    characters remain, then an ellipsis. Does not escape for HTML.
    """
    whole = str(text)
    start = whole[: longest + 1]
    if start.isascii() and start.isprintable():  # the usual case, and quick
        return start if len(start) <= longest else start[:longest] + "…"
    out: list[str] = []
    size = marks = 0
    for character in whole[: 2 * longest]:
        category = unicodedata.category(character)
        if character in "\t\n\r" or category[0] == "Z":
            piece = " "
        elif category[0] == "C":
            piece = f"[U+{ord(character):04X}]"
        else:
            piece = character
        marks = marks + 1 if category[0] == "M" else 0
        if marks > _MARKS:
            continue
        if size + len(piece) > longest:
            return "".join(out) + "…"
        out.append(piece)
        size += len(piece)
    return "".join(out) + ("…" if len(whole) > 2 * longest else "")


def percent(value: float) -> str:
    """A probability as a percentage that never rounds to certainty: ``<0.1 %``, ``93 %``."""
    value = 100 * min(1.0, max(0.0, value))
    if value < 0.1:
        return "<0.1 %"
    if value > 99.9:
        return ">99.9 %"
    return f"{value:.1f} %" if value < 10 or value > 99 else f"{value:.0f} %"


def interval(report: Report) -> str:
    """``74 % to 97 %``, or nothing."""
    if report.interval is None:
        return ""
    return f"{percent(report.interval.low)} to {percent(report.interval.high)}"


def number(value: float) -> str:
    """Three significant figures, without an exponent for ordinary sizes."""
    size = abs(value)
    said = f"{value:.3g}" if size < 1000 else f"{value:.0f}" if size < 1e7 else f"{value:.2e}"
    return said.replace("-", "−")


def moment(created_at: str) -> str:
    """An ISO 8601 time as ``2026-11-24 12:00 UTC``; anything else as it stands."""
    try:
        when = datetime.fromisoformat(created_at)
        if when.tzinfo is None:
            raise ValueError(created_at)
        return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return clean(created_at, 40)


def clock(seconds: float) -> str:
    """``0:07.4``, ``12:05.0``, ``1:02:03.4``."""
    tenths = round(min(max(seconds, 0.0), 1e7) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def support(llr: float) -> str:
    """A natural-log likelihood ratio on the verbal scale of the ENFSI guideline (2015)."""
    ratio = math.exp(min(abs(llr), 700.0))
    words = next(words for bound, words in _SCALE if ratio < bound)
    if words == "no":
        return "no support either way"
    return f"{words} support for {'not authentic' if llr > 0 else 'authentic'}"


def weight(item: Evidence) -> str:
    """How much one piece of evidence weighs, in words."""
    if item.llr is not None:
        ratio = math.exp(min(abs(item.llr), 700.0))
        if ratio < 2.0:
            return support(item.llr)
        return f"{support(item.llr)} (about {_rounded(ratio)} to 1)"
    if item.kind in (Kind.STRUCTURE, Kind.MODEL) and item.raw_score is not None:
        return "shown without weight: not calibrated"
    return _FACTS[item.strength]


def claim(item: Evidence) -> str:
    """The direction of one piece of evidence, in words."""
    if item.claim is Claim.NEUTRAL and item.llr is not None:
        # It has a weight, but lies between the points at which the test makes a call.
        return NOT_CALLED
    return CLAIMS[item.claim]


def flag(code: str) -> str:
    """A quality flag for people: ``too_small`` becomes ``Too small``; sentences stay."""
    said = clean(code, 300)
    if re.fullmatch(r"[a-z0-9_.]+", said):
        said = said.replace("_", " ").replace(".", ": ").capitalize()
    return said


def scope_note(report: Report) -> str:
    """A warning when the file lies outside what the tests were validated on, else empty."""
    like = report.scope.in_scope and UNLIKE_KNOWN not in report.scope.quality_flags
    if report.probability is None or like:
        return ""  # without a probability the absence of tests is said anyway
    return (
        "This file is unlike the media the tests were validated on, so the stated rates may "
        "not hold for it."
    )


def has_facts(report: Report) -> bool:
    """Whether a fact strong enough to set the verdict is among the evidence."""
    return any(e.strength in (Strength.STRONG, Strength.DECISIVE) for e in report.evidence)


def stated_rate(report: Report) -> str:
    """The stated error rates as sentences."""
    fpr, fnr = report.decision.stated_fpr, report.decision.stated_fnr
    if fpr is None:
        return "No trained network judged this file, so no error rate can be stated."
    said = (
        f"Of authentic items from sources never seen, about {_out_of(fpr)} are expected to be "
        "flagged by the tests that ran."
    )
    if fnr is not None:
        said += f" Of the fakes in the validation data, these tests miss about {_out_of(fnr)}."
    return said


def stability(report: Report) -> str:
    """Whether the answer survives what happens to files, in one or two sentences."""
    found = report.stability
    if found is None or not found.variants:
        return ""
    tried = len(found.variants)
    span = f"between {percent(found.low)} and {percent(found.high)}"
    if not found.flips:
        return (
            f"The estimates led to the same verdict for all {tried} changed copies of this file; "
            f"the probability lay {span}."
        )
    return (
        f"The estimates led to another verdict for {len(found.flips)} of {tried} changed copies "
        f"of this file; the probability lay {span}. The answer depends on how the file was "
        "handled."
    )


def place(item: Evidence) -> str:
    """Where evidence lies: ``person 1, 0:01.2 to 0:03.0``; empty for the whole item."""
    where = item.where
    parts = []
    if where.face is not None:
        parts.append(f"face {where.face + 1}")
    if where.track is not None:
        parts.append(f"person {where.track + 1}")
    if where.speaker is not None:
        parts.append(f"speaker {where.speaker + 1}")
    if where.start is not None and where.end is not None:
        parts.append(f"{clock(where.start)} to {clock(where.end)}")
    elif where.start is not None:
        parts.append(f"at {clock(where.start)}")
    if where.box is not None:
        left, top, width, height = where.box
        parts.append(f"area {width:.0f} × {height:.0f} px at {left:.0f}, {top:.0f}")
    return ", ".join(parts)


def facts(media: MediaFacts) -> list[tuple[str, str]]:
    """Name and value of what is known about the file, for people."""
    rows = [("Kind", clean(media.kind, 40)), ("Format", clean(media.format, 40))]
    if media.codec and media.codec != media.format:
        rows.append(("Codec", clean(media.codec, 40)))
    if media.width is not None and media.height is not None:
        rows.append(("Picture", f"{media.width} × {media.height} px"))
    if media.duration is not None:
        rows.append(("Duration", clock(media.duration)))
    if media.frame_rate is not None:
        rows.append(("Frame rate", f"{number(media.frame_rate)} per second"))
    if media.sample_rate is not None:
        channels = f", {media.channels} channel{'s' * (media.channels != 1)}"
        rows.append(("Sound", f"{media.sample_rate} Hz{channels if media.channels else ''}"))
    rows.append(("Size", _size(media.bytes)))
    if not media.extension_matches:
        rows.append(("Note", "The file name does not match the content."))
    rows.append(("SHA-256", clean(media.sha256, 80)))
    if media.pdq:
        rows.append(("PDQ hash", clean(media.pdq, 80)))
    return rows


def _size(count: int) -> str:
    return f"{count} bytes" if count < 10_000 else f"{rounded_size(count)} ({count} bytes)"


def rounded_size(count: int) -> str:
    """At least 1000 bytes, to three figures."""
    unit, step = next(
        ((u, s) for u, s in (("kB", 1e3), ("MB", 1e6)) if count < 1000 * s), ("GB", 1e9)
    )
    return f"{count / step:.3g} {unit}"


def _rounded(ratio: float) -> str:
    """Two significant figures: a ratio is not known better than that."""
    digits = math.floor(math.log10(ratio)) - 1
    rounded = round(ratio, -digits)
    return f"{rounded:g}" if rounded < 100 else f"{rounded:,.0f}" if rounded < 1e7 else "10 million"


def _out_of(rate: float) -> str:
    """A rate as a count: people read ``3 in 100`` better than a fraction."""
    share = min(1.0, max(0.0, rate))
    if share >= 0.01 or share == 0:
        return f"{round(100 * share)} in 100"
    return f"{max(1, round(1000 * share))} in 1000"
