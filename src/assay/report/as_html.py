"""The report as one self-contained HTML page.

The page loads nothing, works without script, and carries a content security policy that
admits its own style and script by hash and nothing else. Every string that reaches it goes
through :func:`assay.report.wording.clean` and HTML escaping, wherever it came from; only
pictures that are base64 of a raster type are embedded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import ReportError
from assay.findings import Kind
from assay.fusion.outcome import Evidence, Verdict
from assay.report import figures, media_view, outlook, provenance_panel, wording
from assay.report.document import Report

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["to_html", "view"]

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_EVIDENCE = 300
_MOST_ROWS = 60  # of a list inside a section
_MOST_FACTS = 40  # of one piece of evidence
_MOST_LIMITS = 12
_PRIORS = (0.001, 0.01, 0.1, 0.5, 0.9)
_VERDICT_TONES = {
    Verdict.AUTHENTIC: "for",
    Verdict.SUSPICIOUS: "doubt",
    Verdict.MANIPULATED: "against",
    Verdict.SYNTHETIC: "against",
}


def to_html(report: Report) -> str:
    """``report`` as a page of HTML; no other file is needed to show it.

    Raises:
        ReportError: the report cannot be rendered.
    """
    from jinja2 import TemplateError

    try:
        return _template().render(view(report))
    except (TemplateError, OverflowError) as error:
        raise ReportError(f"the report cannot be rendered: {error}") from error


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        # The last gate: no string from a report reaches the page unneutralised.
        if isinstance(value, str) and not isinstance(value, Markup):
            return wording.clean(value, 4000)
        return value

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    script = (_TEMPLATES / "report.js").read_text("utf-8")
    environment.globals.update(
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        policy="; ".join(
            (
                "default-src 'none'",
                "img-src data:",
                f"style-src '{_digest(style)}'",
                f"script-src '{_digest(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    )
    return environment.get_template("report.html")


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def view(report: Report) -> dict[str, Any]:
    """What a template is given to show ``report``; the pages of the server use it too."""
    evidence = report.evidence[:_MOST_EVIDENCE]
    anchors = {item.id: f"evidence-{n}" for n, item in enumerate(evidence, start=1)}
    items = {item.id: item for item in evidence}
    length = media_view.length_of(report)
    return {
        "r": report,
        "w": wording,
        "verdict": wording.VERDICTS[report.verdict],
        "tone": _VERDICT_TONES.get(report.verdict, "neutral"),
        "chance": _chance(report),
        "facts": wording.facts(report.media),
        "reasons": [wording.clean(reason, 1000) for reason in report.reasons[:_MOST_ROWS]],
        "conflicts": [
            {
                "because": c.because,
                "between": [(i, anchors.get(i, "")) for i in c.between[:10]],
            }
            for c in report.conflicts[:_MOST_ROWS]
        ],
        "groups": _groups(evidence, anchors, report.media.kind != "image"),
        "hidden_evidence": len(report.evidence) - len(evidence),
        "still": media_view.still(report, evidence),
        "frames": media_view.frames(report),
        "lanes": media_view.lanes(report, items, anchors, length),
        "series": media_view.series(evidence, anchors, length),
        "axis": figures.ticks(length),
        "people": media_view.people(report, items, anchors),
        "sound": media_view.sound(report, items, anchors),
        "hypotheses": [
            {
                "what": wording.QUESTIONS[h.question],
                "share": wording.percent(h.share),
                "said": wording.support(h.llr) if h.tested else "not tested",
            }
            for h in report.hypotheses[:_MOST_ROWS]
        ],
        "panel": provenance_panel.panel(report),
        "steadiness": wording.stability(report),
        "copies": [
            {
                "what": wording.clean(v.what, 200),
                "verdict": wording.VERDICTS[v.verdict],
                "chance": "" if v.probability is None else wording.percent(v.probability),
                "other": report.stability is not None and v.code in report.stability.flips,
            }
            for v in (report.stability.variants[:_MOST_ROWS] if report.stability else ())
        ],
        "outlook": outlook.would_change(report),
        "most": _MOST_ROWS,
    }


def _chance(report: Report) -> dict[str, Any] | None:
    now = report.probability
    if now is None:
        return None
    low = report.interval.low if report.interval else now
    high = report.interval.high if report.interval else now
    table = [
        (wording.percent(p), *(wording.percent(v) for v in found))
        for p in _PRIORS
        if (found := outlook.at_prior(report, p)) is not None
    ]
    return {
        "value": wording.percent(now),
        "interval": wording.interval(report),
        "at": f"{figures.spread(now, 1)}%",
        "low": f"{figures.spread(low, 1)}%",
        "width": f"{figures.spread(high - low, 1)}%",
        "prior": wording.percent(report.prior),
        "table": table,
        "numbers": json.dumps(
            {
                "prior": report.prior,
                "terms": [[h.share, min(h.llr, 200.0)] for h in report.hypotheses[:20]],
                "low": low,
                "high": high,
            }
        ),
    }


def _groups(
    evidence: Sequence[Evidence], anchors: Mapping[str, str], timed: bool
) -> list[dict[str, Any]]:
    groups = []
    for kind in Kind:
        items = [e for e in evidence if e.kind is kind]
        if items:
            groups.append(
                {
                    "title": wording.KINDS[kind],
                    "note": wording.KIND_NOTES[kind],
                    "items": [
                        {
                            "e": e,
                            "anchor": anchors[e.id],
                            "tone": media_view.TONES[e.claim],
                            "claim": wording.claim(e),
                            "weight": wording.weight(e),
                            "place": wording.place(e),
                            "because": wording.clean(e.because, 1000),
                            "limits": [wording.clean(t, 600) for t in e.limits[:_MOST_LIMITS]],
                            "rows": _rows(e),
                            "map": media_view.map_of(e) if timed and e.grid is not None else None,
                        }
                        for e in items
                    ],
                }
            )
    return groups


def _rows(item: Evidence) -> list[tuple[str, str]]:
    """The technical appendix of one piece of evidence."""
    rows = [("Code", item.code), ("Said by", item.analyzer)]
    if item.question is not None:
        rows.append(("Question", wording.QUESTIONS[item.question]))
    if item.raw_score is not None:
        rows.append(("Raw score", f"{item.raw_score:.4g}"))
    if item.llr is not None:
        rows.append(("Log-likelihood ratio", f"{item.llr:+.2f} (natural logarithm)"))
    if item.curve:
        rows.append(("Calibration", item.curve))
    if item.group:
        rows.append(("Counted once with", item.group))
    if item.model is not None:
        model = item.model
        rows.append(("Model", f"{model.name} version {model.version}, {model.licence}"))
        rows.append(("Model SHA-256", model.sha256))
    rows += _flat(item.data)
    return rows[:_MOST_FACTS]


def _flat(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and depth < 3:
        rows: list[tuple[str, str]] = []
        for key, inner in value.items():
            rows += _flat(inner, f"{name}.{key}" if name else str(key), depth + 1)
            if len(rows) >= _MOST_FACTS:
                break
        return rows
    said = value if isinstance(value, str) else json.dumps(value)
    return [(wording.clean(name, 80), wording.clean(said, 300))]
