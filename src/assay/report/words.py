"""Numbers in words, shared by all renderings."""

from __future__ import annotations

import math
import unicodedata

from assay.findings import Claim, Kind
from assay.report.document import Evidence, Report, Verdict

__all__ = [
    "CLAIM_WORDS",
    "KIND_TITLES",
    "VERDICT_WORDS",
    "clock",
    "error_rate",
    "order",
    "percent",
    "safe",
    "size",
    "weight",
    "what_would_change",
]

VERDICT_WORDS: dict[Verdict, str] = {
    Verdict.AUTHENTIC: "Authentic",
    Verdict.INCONCLUSIVE: "Inconclusive",
    Verdict.SUSPICIOUS: "Suspicious",
    Verdict.MANIPULATED: "Manipulated",
    Verdict.SYNTHETIC: "Synthetic",
    Verdict.NOT_APPLICABLE: "Not applicable",
}

KIND_TITLES: dict[Kind, str] = {
    Kind.PROVENANCE: "What the file says about its origin",
    Kind.WATERMARK: "Watermarks",
    Kind.MATCH: "Known items",
    Kind.HUMAN: "People",
    Kind.MODEL: "Trained networks",
    Kind.STRUCTURE: "Traces in file and signal",
}

CLAIM_WORDS: dict[Claim, str] = {
    Claim.AUTHENTIC: "for authentic",
    Claim.MANIPULATED: "for manipulated",
    Claim.SYNTHETIC: "for synthetic",
    Claim.NEUTRAL: "neutral",
}

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Verbal scale of the ENFSI guideline for evaluative reporting (2015), table 1, on the
# likelihood ratio itself; "little or no" below 2.
_SCALE = (
    (2.0, "no clear support either way"),
    (10.0, "weak support"),
    (100.0, "moderate support"),
    (1_000.0, "moderately strong support"),
    (10_000.0, "strong support"),
    (1_000_000.0, "very strong support"),
)


def weight(llr: float | None) -> str:
    """The likelihood ratio of one piece of evidence, in words and as a number."""
    if llr is None:
        return "shown, without weight"
    ratio = math.exp(min(abs(llr), 700.0))
    word = next((w for bound, w in _SCALE if ratio < bound), "extremely strong support")
    if ratio < 2:
        return word
    side = "against" if llr > 0 else "for"
    return f"{word} {side} authenticity, {ratio:.3g} : 1"


def percent(p: float) -> str:
    """A probability as a percentage that never rounds to certainty."""
    if p < 0.001:
        return "below 0.1 %"
    if p > 0.999:
        return "above 99.9 %"
    digits = 1 if p < 0.1 or p > 0.9 else 0
    return f"{100 * p:.{digits}f} %"


def clock(seconds: float) -> str:
    """``1:02.5``, hours when there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"
    return f"{hours}:{tail}" if hours else tail


def size(count: int) -> str:
    """Bytes for people."""
    number = float(count)
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def safe(text: str, limit: int = 2000) -> str:
    """Text from a file, made harmless to read: no control or direction characters, bounded.

    A right-to-left override in a file name would otherwise turn ``gpj.exe`` around, and an
    escape sequence would drive the terminal.
    """
    kept = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSAFE else c
        for c in text[:limit].replace("\n", " ").replace("\t", " ").replace("\r", " ")
    )
    return kept + ("..." if len(text) > limit else "")


def error_rate(report: Report) -> str:
    """The stated error rates as a sentence, or why there are none."""
    decision = report.decision
    if decision.stated_fpr is None or decision.stated_fnr is None:
        return "No trained network judged this file, so no error rate can be stated."
    return (
        f"Of authentic files like those it was validated on, about {percent(decision.stated_fpr)} "
        f"would be called manipulated or synthetic; about {percent(decision.stated_fnr)} of fakes "
        "would be missed."
    )


def what_would_change(report: Report) -> tuple[str, ...]:
    """What could overturn the verdict, derived from what is missing in this report."""
    changes = []
    if report.provenance.c2pa_state in {"absent", "invalid"}:
        changes.append("The original from the device, or a file with a valid trusted signature.")
    if any(not h.tested for h in report.hypotheses):
        changes.append("A test of the questions that were not tested here.")
    if report.media.kind == "image" and report.media.format in {"jpeg", "webp"}:
        changes.append("A copy that was not compressed again: compression erases traces.")
    if report.verdict in {Verdict.MANIPULATED, Verdict.SYNTHETIC, Verdict.SUSPICIOUS}:
        changes.append("A source that shows the same scene independently, or who made the file.")
    elif report.verdict is Verdict.INCONCLUSIVE:
        changes.append("Where and when the file first appeared, and independent recordings.")
    return tuple(changes)


def order(evidence: Evidence) -> float:
    """Sort key: what weighs most comes first."""
    strengths = {"decisive": 100.0, "strong": 50.0, "weak": 1.0, "none": 0.0}
    neutral = 0.0 if evidence.claim is not Claim.NEUTRAL else 0.5
    return -strengths[evidence.strength] - abs(evidence.llr or 0.0) + neutral
