"""Geometry and small bitmaps for the HTML report, computed from the document alone.

Positions are percentages of the drawing, so that text keeps its size on any screen.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from assay.findings import Grid, Series
from assay.report.document import Picture
from assay.report.wording import clock

__all__ = ["Curve", "Tick", "curve", "data_uri", "heat_map", "outline", "spread", "ticks"]

_MIMES = frozenset({"image/jpeg", "image/png", "image/webp"})
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_LARGEST = 8 * 1024 * 1024  # characters of one picture
_HEAT = (208, 66, 18)
_HIGH = 0.5  # cells from here on are outlined, so that colour is not the only signal
_MOST_EDGES = 4000
_POINTS = 400
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 36000)


@dataclass(frozen=True, slots=True)
class Tick:
    at: str
    label: str
    anchor: str


def data_uri(picture: Picture) -> str:
    """``picture`` as a ``data:`` address; empty unless it is base64 of a raster image type."""
    sound = (
        picture.mime in _MIMES
        and len(picture.data) <= _LARGEST
        and 0 < picture.width <= 1 << 16
        and 0 < picture.height <= 1 << 16
        and picture.scale > 0
        and _BASE64.fullmatch(picture.data)
    )
    return f"data:{picture.mime};base64,{picture.data}" if sound else ""


def heat_map(grid: Grid) -> str:
    """``grid`` as a PNG address, one pixel a cell, one hue, more opaque for higher values."""
    rows = bytearray()
    for r in range(grid.rows):
        rows.append(0)  # PNG filter type: none
        for value in grid.values[r * grid.columns : (r + 1) * grid.columns]:
            rows += bytes((*_HEAT, round(190 * value)))
    header = struct.pack(">IIBBBBB", grid.columns, grid.rows, 8, 6, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data)
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(name: bytes, data: bytes) -> bytes:
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", binascii.crc32(body))


def outline(grid: Grid) -> str:
    """SVG path around the cells of at least one half, in units of cells; may be empty."""
    rows, columns = grid.rows, grid.columns

    def high(r: int, c: int) -> bool:
        inside = 0 <= r < rows and 0 <= c < columns
        return inside and grid.values[r * columns + c] >= _HIGH

    edges = [
        f"M{c} {r}h1" for r in range(rows + 1) for c in range(columns)
        if high(r - 1, c) != high(r, c)
    ]  # fmt: skip
    edges += [
        f"M{c} {r}v1" for c in range(columns + 1) for r in range(rows)
        if high(r, c - 1) != high(r, c)
    ]  # fmt: skip
    return "".join(edges) if len(edges) <= _MOST_EDGES else ""


def spread(value: float, whole: float) -> float:
    """``value`` as a percentage of ``whole``, within 0..100."""
    if not whole > 0:
        return 0.0
    return round(100 * min(1.0, max(0.0, value / whole)), 3)


def ticks(seconds: float) -> list[Tick]:
    """Up to seven marks of a time axis that is ``seconds`` long."""
    if not seconds > 0:
        return []
    step = next((s for s in _STEPS if seconds / s <= 6), seconds)
    marks = []
    for i in range(7):
        time = i * step
        if time > seconds * 1.0001:
            break
        at = spread(time, seconds)
        anchor = "start" if at < 3 else "end" if at > 94 else "middle"
        label = clock(time).removesuffix(".0") if step >= 1 else clock(time)
        marks.append(Tick(f"{at}%", label, anchor))
    return marks


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in a box of 1000 by 100, the extremes, and the height of zero if it is inside."""

    points: str
    low: float
    high: float
    zero: float | None


def curve(series: Series, seconds: float) -> Curve:
    """``series`` over a time axis of ``seconds``, filling the height of the box."""
    points = _thinned(list(zip(series.times, series.values, strict=True)))
    low = min((v for _, v in points), default=0.0)
    high = max((v for _, v in points), default=0.0)
    room = high - low
    if not room > 0 or not math.isfinite(room):
        room = 1.0

    def height(value: float) -> float:
        return round(95 - 90 * min(1.0, max(0.0, (value - low) / room)), 1)

    drawn = " ".join(f"{10 * spread(t, seconds):.1f},{height(v)}" for t, v in points)
    return Curve(drawn, low, high, height(0.0) if low < 0 < high else None)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about 800 points that keep every peak: the extremes of equal stretches."""
    if len(points) <= 2 * _POINTS:
        return list(points)
    kept = []
    for i in range(_POINTS):
        part = points[i * len(points) // _POINTS : (i + 1) * len(points) // _POINTS]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept
