"""Tags against tags, and tags against the picture. All of it has innocent causes too."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from assay.analyzers.provenance.exif import Exif
from assay.analyzers.provenance.plain import clean
from assay.analyzers.provenance.similarity import correlation, read_thumbnail
from assay.findings import Claim, Finding, Json, Kind, Strength
from assay.media import Image

__all__ = ["dates", "dimensions", "position", "preview"]

_DIFFERENT = 0.35
_SAME_SHAPE = 1.08  # ratio of aspect ratios that still counts as the same shape
_CLOCKS = "Clocks of cameras and telephones are often wrong, and time zones shift dates."


def preview(exif: Exif, image: Image) -> tuple[Finding, ...]:
    """The embedded thumbnail against the picture: another picture, or another crop."""
    small = read_thumbnail(exif.thumbnail)
    if small is None or min(image.height, image.width) < 32:
        return ()
    likeness = correlation(small, image)
    if likeness is None:
        return ()
    shape = math.log(image.width / image.height)
    own = math.log(small.shape[1] / small.shape[0])
    off = math.exp(min(abs(shape - own), abs(shape + own)))
    data: dict[str, Json] = {
        "correlation": round(likeness, 3),
        "aspect_difference": round(off, 3),
        "thumbnail": [small.shape[1], small.shape[0]],
    }
    if off > _SAME_SHAPE:
        # Cameras letterbox 3:2 and 16:9 pictures in 4:3 previews; only the likeness tells.
        if likeness >= _DIFFERENT:
            return ()
        say = "The small preview in the file has another shape and shows another picture or crop."
        claim, strength = Claim.NEUTRAL, Strength.NONE
    elif likeness < _DIFFERENT:
        say = "The small preview in the file does not show what the picture shows."
        claim, strength = Claim.MANIPULATED, Strength.WEAK
    else:
        return ()
    return (
        Finding(
            code="metadata.thumbnail", kind=Kind.PROVENANCE, claim=claim, because=say,
            strength=strength, data=data,
            limits=(
                "Some programs keep the old preview after harmless work, and tags can be copied "
                "from another file.",
                "A preview that fits proves nothing: most programs renew it.",
            ),
        ),
    )  # fmt: skip


def dimensions(exif: Exif, image: Image) -> tuple[Finding, ...]:
    """The size the tags state against the size of the picture."""
    width, height = exif.number("PixelXDimension"), exif.number("PixelYDimension")
    if not width or not height or not (math.isfinite(width) and math.isfinite(height)):
        return ()
    stated = sorted((int(width), int(height)))
    if stated == sorted((image.stored_width, image.stored_height)):
        return ()
    return (
        Finding(
            code="metadata.dimensions", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
            because=(
                f"The tags state {int(width)} x {int(height)} pixels, the picture has "
                f"{image.stored_width} x {image.stored_height}: it was cropped or resized later."
            ),
            limits=("Sites and messengers resize nearly every picture.",),
            data={"stated": [int(width), int(height)],
                  "stored": [image.stored_width, image.stored_height]},
        ),
    )  # fmt: skip


def _date(text: str) -> datetime | None:
    """``YYYY:MM:DD HH:MM:SS``; ``None`` for anything else."""
    try:
        return datetime.strptime(text.strip()[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def dates(exif: Exif) -> tuple[Finding, ...]:
    """Dates that cannot be, lie ahead, or run backwards."""
    names = ("DateTimeOriginal", "DateTimeDigitized", "DateTime")
    texts = {n: exif.text(n) for n in names if exif.text(n).strip(" :0\x00")}
    read = {n: d for n, t in texts.items() if (d := _date(t)) is not None}
    faults: list[str] = []
    for name, text in texts.items():
        if name not in read:
            faults.append(f"{name} '{clean(text, 40)}' is not a date")
    # Two days of grace cover every time zone.
    latest = datetime.now(UTC) + timedelta(days=2)
    for name, when in read.items():
        if when > latest:
            faults.append(f"{name} {when:%Y-%m-%d} lies in the future")
        elif when.year < 1990 and exif.text("Make"):
            faults.append(f"{name} {when:%Y-%m-%d} lies before digital cameras")
    original, changed = read.get("DateTimeOriginal"), read.get("DateTime")
    if original and changed and changed < original - timedelta(days=1):
        faults.append(
            f"the last change ({changed:%Y-%m-%d}) lies before the capture ({original:%Y-%m-%d})"
        )
    stamp = exif.text("GPSDateStamp")
    satellite = _date(f"{stamp} 12:00:00") if stamp else None
    if original and satellite and abs(satellite - original) > timedelta(days=2):
        faults.append(
            f"the satellite date ({satellite:%Y-%m-%d}) is not that of the capture "
            f"({original:%Y-%m-%d})"
        )
    if not faults:
        return ()
    return (
        Finding(
            code="metadata.dates", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
            because=f"The dates in the file do not fit together: {'; '.join(faults)}.",
            limits=(_CLOCKS,),
            data={n: clean(t, 40) for n, t in texts.items()},
        ),
    )  # fmt: skip


def position(exif: Exif) -> tuple[Finding, ...]:
    """Coordinates outside the globe, or the empty point 0, 0."""
    pair: dict[str, float] = {}
    for name, most in (("GPSLatitude", 90.0), ("GPSLongitude", 180.0)):
        value = exif.tags.get(name)
        if not isinstance(value, tuple) or len(value) < 3:
            return ()
        degrees = value[0] + value[1] / 60 + value[2] / 3600
        if not math.isfinite(degrees) or not 0 <= degrees <= most:
            return (_nowhere("The position in the file is not on the globe.", value),)
        pair[name] = degrees
    if all(v == 0 for v in pair.values()):
        return (_nowhere("The position in the file is 0, 0: a point at sea, or never set.", ()),)
    return ()


def _nowhere(say: str, value: tuple[float, ...]) -> Finding:
    shown = [v if math.isfinite(v) else None for v in value]
    return Finding(
        code="metadata.position", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL, because=say,
        limits=("Receivers without a fix and careless software write such values too.",),
        data={"value": shown},
    )  # fmt: skip
