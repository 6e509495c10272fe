"""What two reports say of the same things, line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.findings import Claim, Kind
from assay.report import figures, wording
from assay.report.document import Report

__all__ = ["LINES", "distance", "lines", "side"]

_MOST_SAID = 6


def _evidence(report: Report, kind: Kind) -> str:
    said = [
        f"{wording.CLAIMS[e.claim]}: {e.because}"
        for e in report.evidence
        if e.kind is kind and e.claim is not Claim.NEUTRAL
    ]
    more = len(said) - _MOST_SAID
    return " — ".join(said[:_MOST_SAID]) + (f" — +{more}" if more > 0 else "") or "–"


def _facts(name: str) -> Callable[[Report], str]:
    return lambda report: dict(wording.facts(report.media)).get(name, "–")


LINES: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("Verdict", "english", lambda r: wording.VERDICTS[r.verdict]),
    (
        "Probability of not being authentic",
        "",
        lambda r: "–" if r.probability is None else wording.percent(r.probability),
    ),
    ("Interval", "english", lambda r: wording.interval(r) or "–"),
    ("Base rate", "", lambda r: wording.percent(r.prior)),
    ("Format", "", _facts("Format")),
    ("Codec", "", _facts("Codec")),
    ("Picture", "", _facts("Picture")),
    ("Duration", "", _facts("Duration")),
    ("Size", "", _facts("Size")),
    ("SHA-256", "mono", _facts("SHA-256")),
    ("Content Credentials (C2PA)", "english", lambda r: r.provenance.c2pa_state),
    ("Declared source", "english", lambda r: r.provenance.digital_source_type or "–"),
    ("Named generator", "english", lambda r: ", ".join(r.attribution.top) or "–"),
    ("Likely generator", "english", lambda r: ", ".join(r.attribution.likely) or "–"),
    ("People", "", lambda r: str(len(r.faces)) if r.media.kind != "audio" else "–"),
    *(
        (wording.KINDS[kind], "english", lambda r, kind=kind: _evidence(r, kind))
        for kind in Kind
        if kind is not Kind.HUMAN
    ),
    ("Not looked at", "mono", lambda r: ", ".join(s.what for s in r.coverage.skipped) or "–"),
)
"""Name of a line (a message to translate), how it is set, and what it says of a report."""


def lines(left: Report, right: Report) -> list[dict[str, Any]]:
    """The lines of which at least one side has something to say."""
    shown = []
    for what, how, say in LINES:
        values = [say(left), say(right)]
        if values != ["–", "–"]:
            shown.append(
                {
                    "what": what,
                    "values": values,
                    "differs": values[0] != values[1],
                    "mono": how == "mono",
                    "english": how == "english",
                }
            )
    return shown


def side(report: Report) -> dict[str, Any]:
    """A report with its small picture, if it has one."""
    from markupsafe import Markup

    sources = (
        figures.data_uri(p) for p in report.pictures if p.role in ("preview", "frame", "waveform")
    )
    picture = next((s for s in sources if s), "")
    return {"report": report, "picture": Markup(picture)}  # noqa: S704 - checked to be base64


def distance(left: str | None, right: str | None) -> int | None:
    """Bits in which two PDQ hashes (64 hex digits) differ; ``None`` without both."""
    try:
        return (int(left or "", 16) ^ int(right or "", 16)).bit_count()
    except ValueError:
        return None
