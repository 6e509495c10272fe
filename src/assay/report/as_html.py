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
from assay.findings import Claim, Kind
from assay.fusion.outcome import Evidence, Verdict
from assay.report import figures, outlook, provenance_panel, wording
from assay.report.document import Picture, Report

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["to_html"]

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_EVIDENCE = 400
_MOST_ROWS = 60  # of a list inside a section
_MOST_MAPS = 8  # as many as the style sheet knows
_PRIORS = (0.001, 0.01, 0.1, 0.5, 0.9)
_TONES = {
    Claim.AUTHENTIC: "for",
    Claim.MANIPULATED: "against",
    Claim.SYNTHETIC: "against",
    Claim.NEUTRAL: "neutral",
}
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
        return _template().render(_context(report))
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


def _context(report: Report) -> dict[str, Any]:
    evidence = report.evidence[:_MOST_EVIDENCE]
    anchors = {item.id: f"evidence-{n}" for n, item in enumerate(evidence, start=1)}
    items = {item.id: item for item in evidence}
    length = _length(report)
    return {
        "r": report,
        "w": wording,
        "verdict": wording.VERDICTS[report.verdict],
        "tone": _VERDICT_TONES.get(report.verdict, "neutral"),
        "chance": _chance(report),
        "facts": wording.facts(report.media),
        "reasons": report.reasons[:_MOST_ROWS],
        "conflicts": [
            {
                "because": c.because,
                "between": [(i, anchors.get(i, "")) for i in c.between[:10]],
            }
            for c in report.conflicts[:_MOST_ROWS]
        ],
        "groups": _groups(evidence, anchors, report.media.kind != "image"),
        "hidden_evidence": len(report.evidence) - len(evidence),
        "still": _still(report, evidence),
        "frames": _frames(report),
        "lanes": _lanes(report, items, anchors, length),
        "series": _series(evidence, anchors, length),
        "axis": figures.ticks(length),
        "people": _people(report, items, anchors),
        "sound": _sound(report, items, anchors),
        "hypotheses": [
            {
                "what": wording.QUESTIONS[h.question],
                "share": wording.percent(h.share),
                "said": wording.support(h.llr) if h.tested else "not tested",
            }
            for h in report.hypotheses[:_MOST_ROWS]
        ],
        "panel": provenance_panel.panel(report),
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
                            "tone": _TONES[e.claim],
                            "claim": wording.CLAIMS[e.claim],
                            "weight": wording.weight(e),
                            "place": wording.place(e),
                            "rows": _rows(e),
                            "map": _map(e) if timed and e.grid is not None else None,
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
    return rows[:_MOST_ROWS]


def _flat(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and depth < 3:
        rows: list[tuple[str, str]] = []
        for key, inner in value.items():
            rows += _flat(inner, f"{name}.{key}" if name else str(key), depth + 1)
            if len(rows) >= _MOST_ROWS:
                break
        return rows
    said = value if isinstance(value, str) else json.dumps(value)
    return [(wording.clean(name, 80), wording.clean(said, 400))]


def _still(report: Report, evidence: Sequence[Evidence]) -> dict[str, Any] | None:
    previews = (p for p in report.pictures if p.role == "preview" and figures.data_uri(p))
    picture = next(previews, None)
    width, height = report.media.width, report.media.height
    if picture is None or not width or not height:
        return None
    maps = [e for e in evidence if e.grid is not None][:_MOST_MAPS]
    telling = [e for e in maps if _TONES[e.claim] == "against" and e.llr is not None]
    first = max(telling, key=lambda e: e.llr or 0.0) if telling else None
    return {
        **_picture(picture),
        "maps": [{**_map(e, (width, height)), "shown": e is first} for e in maps],
        "shown": first is not None,
        "boxes": [
            {
                "n": face.id + 1,
                **_box(face.box, (width, height)),
                "tone": _face_tone(face.llr),
            }
            for face in report.faces[:_MOST_ROWS]
        ],
    }


def _picture(picture: Picture) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "src": Markup(figures.data_uri(picture)),  # noqa: S704 - checked to be base64
        "width": picture.width,
        "height": picture.height,
        "caption": picture.caption,
    }


def _map(item: Evidence, size: tuple[int, int] | None = None) -> dict[str, Any]:
    from markupsafe import Markup

    grid = item.grid
    assert grid is not None
    width, height = item.where.box[2:] if item.where.box else (grid.columns, grid.rows)
    whole = (0.0, 0.0, *size) if size is not None else None
    return {
        "id": item.id,
        "label": ", ".join(filter(None, (item.code, wording.place(item).split(", area")[0]))),
        "src": Markup(figures.heat_map(grid)),  # noqa: S704 - our own bitmap
        "path": Markup(figures.outline(grid)),  # noqa: S704 - digits and M, h, v
        "rows": grid.rows,
        "columns": grid.columns,
        "meaning": grid.meaning,
        "ratio": round(240 * min(4.0, max(0.25, height / width))) if width > 0 else 240,
        **(_box(item.where.box or whole, size) if size and whole else {}),
    }


def _box(box: tuple[float, ...], size: tuple[int, int]) -> dict[str, str]:
    left, top = figures.spread(box[0], size[0]), figures.spread(box[1], size[1])
    right = figures.spread(box[0] + box[2], size[0])
    bottom = figures.spread(box[1] + box[3], size[1])
    return {
        "x": f"{left}%", "y": f"{top}%",
        "w": f"{round(max(0.5, right - left), 3)}%", "h": f"{round(max(0.5, bottom - top), 3)}%",
    }  # fmt: skip


def _face_tone(llr: float | None) -> str:
    if llr is None or abs(llr) < 0.69:  # a ratio under 2 supports neither side
        return "neutral"
    return "against" if llr > 0 else "for"


def _people(
    report: Report, items: Mapping[str, Evidence], anchors: Mapping[str, str]
) -> list[dict[str, Any]]:
    rows = []
    for face in report.faces[:_MOST_ROWS]:
        item = items.get(face.evidence)
        said = wording.support(face.llr) if face.llr is not None else "not judged"
        if face.llr is None and not face.reason and item is not None:
            said = wording.weight(item)
        rows.append(
            {
                "n": face.id + 1,
                "said": said,
                "why": face.reason or (item.because if item else ""),
                "tone": _face_tone(face.llr),
                "id": face.evidence,
                "anchor": anchors.get(face.evidence, ""),
                "time": wording.clock(face.time) if face.time is not None else "",
            }
        )
    return rows


def _frames(report: Report) -> list[dict[str, Any]]:
    """Frames in order of time, with the boxes of people seen at that very moment."""
    width, height = report.media.width, report.media.height
    found = []
    for picture in report.pictures[:_MOST_ROWS]:
        if picture.role != "frame" or not figures.data_uri(picture):
            continue
        time = picture.time or 0.0
        boxes = []
        if width and height:
            boxes = [
                {"n": f.id + 1, **_box(f.box, (width, height)), "tone": _face_tone(f.llr)}
                for f in report.faces[:_MOST_ROWS]
                if f.time is not None and abs(f.time - time) < 0.06
            ]
        found.append({**_picture(picture), "time": wording.clock(time), "boxes": boxes})
    return found


def _length(report: Report) -> float:
    """Seconds of the time axis; 0 for a still."""
    if report.media.kind == "image":
        return 0.0
    if report.media.duration:
        return report.media.duration
    return max((s.end for s in report.timeline), default=0.0)


def _lanes(
    report: Report, items: Mapping[str, Evidence], anchors: Mapping[str, str], length: float
) -> list[dict[str, Any]]:
    """One row per span of the timeline and per person or speaker with times."""
    if not length > 0:
        return []
    spans = [(s.start, s.end, s.evidence, s.label) for s in report.timeline]
    known = {s[2] for s in spans}
    spans += [
        (e.where.start, e.where.end, e.id, e.code)
        for e in items.values()
        if e.id not in known
        and e.where.start is not None
        and e.where.end is not None
        and (e.where.track is not None or e.where.speaker is not None)
    ]
    lanes = []
    for start, end, key, label in sorted(spans)[:_MOST_ROWS]:
        item = items.get(key)
        lanes.append(
            {
                **_stretch(start, end, length),
                "id": key,
                "anchor": anchors.get(key, ""),
                "name": _person(item) or label,
                "said": item.because if item else label,
                "tone": _TONES[item.claim] if item else "neutral",
                "claim": wording.CLAIMS[item.claim] if item else "",
            }
        )
    return lanes


def _person(item: Evidence | None) -> str:
    """``person 1`` when the evidence is about somebody."""
    if item is None:
        return ""
    where = item.where
    somebody = any(n is not None for n in (where.face, where.track, where.speaker))
    return wording.place(item).split(", ")[0] if somebody else ""


def _stretch(start: float, end: float, length: float) -> dict[str, str]:
    left, right = figures.spread(start, length), figures.spread(end, length)
    return {
        "x": f"{left}%",
        "w": f"{round(max(0.4, right - left), 3)}%",
        "from_to": f"{wording.clock(start)} to {wording.clock(end)}",
    }


def _series(
    evidence: Sequence[Evidence], anchors: Mapping[str, str], length: float
) -> list[dict[str, Any]]:
    if not length > 0:
        return []
    drawn = []
    for item in [e for e in evidence if e.series is not None][:12]:
        assert item.series is not None
        points, low, high = figures.polyline(item.series, length)
        drawn.append(
            {
                "id": item.id,
                "anchor": anchors[item.id],
                "name": _person(item) or item.code,
                "points": points,
                "low": wording.number(low),
                "high": wording.number(high),
                "meaning": item.series.meaning,
            }
        )
    return drawn


def _sound(
    report: Report, items: Mapping[str, Evidence], anchors: Mapping[str, str]
) -> dict[str, Any] | None:
    by_role = {p.role: p for p in report.pictures if figures.data_uri(p)}
    shown = [by_role[role] for role in ("waveform", "spectrogram") if role in by_role]
    if not shown:
        return None
    length = shown[0].width / shown[0].scale
    marks = []
    for span in report.timeline[:_MOST_ROWS]:
        # A mark over everything marks nothing.
        if span.end - span.start < 0.9 * length:
            item = items.get(span.evidence)
            marks.append(
                {
                    **_stretch(span.start, span.end, length),
                    "id": span.evidence,
                    "tone": _TONES[item.claim] if item else "neutral",
                }
            )
    return {
        "pictures": [
            {
                **_picture(p),
                "role": p.role,
                "top": f"{wording.number(p.top_hz / 1000)} kHz" if p.top_hz else "",
                "middle": f"{wording.number(p.top_hz / 2000)} kHz" if p.top_hz else "",
            }
            for p in shown
        ],
        "marks": marks,
        "axis": figures.ticks(length),
    }
