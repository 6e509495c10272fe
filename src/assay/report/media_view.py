"""What the HTML report shows of the media: pictures, boxes, maps, rows of time.

Everything is given to the template as plain values; the template draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.findings import Claim
from assay.fusion.outcome import Evidence
from assay.report import figures, wording
from assay.report.document import Picture, Report

__all__ = [
    "TONES",
    "frames",
    "lanes",
    "length_of",
    "map_of",
    "people",
    "series",
    "sound",
    "still",
]

_MOST_ROWS = 60
_MOST_MAPS = 8  # as many as the style sheet knows
_MOST_SERIES = 12
TONES: Mapping[Claim, str] = {
    Claim.AUTHENTIC: "for",
    Claim.MANIPULATED: "against",
    Claim.SYNTHETIC: "against",
    Claim.NEUTRAL: "neutral",
}
"""Class of colour and pattern for the direction of evidence."""


def still(report: Report, evidence: Sequence[Evidence]) -> dict[str, Any] | None:
    previews = (p for p in report.pictures if p.role == "preview" and figures.data_uri(p))
    picture = next(previews, None)
    width, height = report.media.width, report.media.height
    if picture is None or not width or not height:
        return None
    maps = [e for e in evidence if e.grid is not None][:_MOST_MAPS]
    telling = [e for e in maps if TONES[e.claim] == "against" and e.llr is not None]
    first = max(telling, key=lambda e: e.llr or 0.0) if telling else None
    return {
        **_picture(picture),
        "maps": [{**map_of(e, (width, height)), "shown": e is first} for e in maps],
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


def map_of(item: Evidence, size: tuple[int, int] | None = None) -> dict[str, Any]:
    from markupsafe import Markup

    grid = item.grid
    assert grid is not None
    width, height = item.where.box[2:] if item.where.box else (grid.columns, grid.rows)
    whole = (0.0, 0.0, *size) if size is not None else None
    return {
        "id": item.id,
        "label": f"{item.id}: {person(item) or item.code}",
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


def people(
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


def frames(report: Report) -> list[dict[str, Any]]:
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
        found.append(
            {
                **_picture(picture),
                "time": wording.clock(time),
                "seconds": round(time, 3),
                "boxes": boxes,
            }
        )
    return found


def length_of(report: Report) -> float:
    """Seconds of the time axis; 0 for a still."""
    if report.media.kind == "image":
        return 0.0
    if report.media.duration:
        return report.media.duration
    return max((s.end for s in report.timeline), default=0.0)


def lanes(
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
                "name": person(item) or label,
                "said": item.because if item else label,
                "tone": TONES[item.claim] if item else "neutral",
                "claim": wording.claim(item) if item else "",
            }
        )
    return lanes


def person(item: Evidence | None) -> str:
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
        "seconds": f"{max(0.0, start):.3f}",
    }


def series(
    evidence: Sequence[Evidence], anchors: Mapping[str, str], length: float
) -> list[dict[str, Any]]:
    if not length > 0:
        return []
    drawn = []
    for item in [e for e in evidence if e.series is not None][:_MOST_SERIES]:
        assert item.series is not None
        curve = figures.curve(item.series, length)
        drawn.append(
            {
                "id": item.id,
                "anchor": anchors[item.id],
                "name": person(item) or item.code,
                "points": curve.points,
                "low": wording.number(curve.low),
                "high": wording.number(curve.high),
                "zero": curve.zero,
                "meaning": item.series.meaning,
            }
        )
    return drawn


def sound(
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
                    "tone": TONES[item.claim] if item else "neutral",
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
