"""Which kind of encoder wrote this JPEG, and does that fit what its tags say?"""

from __future__ import annotations

from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.provenance.exif import read_exif
from assay.analyzers.provenance.jpeg_segments import Jpeg, read_jpeg, standard_quality
from assay.analyzers.provenance.plain import clean
from assay.findings import Claim, Finding, Json, Kind, NotApplicable
from assay.media import Image, Media, MediaKind

__all__ = ["JpegStructure"]

_MOST_BYTES = 128 * 1024 * 1024
_LAST = "The structure tells who wrote the file last, seldom who made the picture."
_SHARED = "Many telephones and cameras use the same library as picture software."


class JpegStructure:
    """Markers, quantisation tables, chroma subsampling and what follows the picture."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="provenance.jpeg",
            version=1,
            question="Which kind of encoder wrote this JPEG, and does that fit its tags?",
            media=frozenset({MediaKind.IMAGE}),
            source=(
                "ITU-T T.81 annexes B and K; Farid: Digital image ballistics from JPEG "
                "quantization, Dartmouth TR2006-583; Kee, Johnson, Farid: Digital image "
                "authentication from JPEG headers, IEEE TIFS 6(3), 2011"
            ),
            limitations=(_LAST, _SHARED),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``jpeg.structure.*``, all neutral; NotApplicable for other formats."""
        if not isinstance(media, Image):
            raise TypeError("provenance.jpeg looks at pictures")
        found = None
        if media.source.format == "jpeg" and media.time is None:
            found = read_jpeg(media.source.head(_MOST_BYTES))
        if found is None:
            return NotApplicable(code="not_jpeg", reason="The picture is not a JPEG file.")
        whole = media.source.size <= _MOST_BYTES
        return (
            _encoder(found),
            *_resaved(found, media),
            *_following(found, whole),
            *_incomplete(found, whole),
        )


def _encoder(jpeg: Jpeg) -> Finding:
    quality = standard_quality(jpeg.tables)
    if quality is not None:
        tables = f"the standard tables at quality {quality}, as the common JPEG library writes them"
    elif jpeg.tables:
        tables = "tables of its own, as many cameras, telephones and Adobe programs write them"
    else:
        tables = "no quantisation tables"
    process = {0: "baseline", 1: "extended", 2: "progressive"}.get(jpeg.process, "unusual")
    say = f"The JPEG has {tables}; {process}, colour {jpeg.subsampling or 'unknown'}."
    comments = [clean(c, 200) for c in jpeg.comments]
    data: dict[str, Json] = {
        "ijg_quality": quality,
        "tables": {str(n): list(t) for n, t in sorted(jpeg.tables.items())},
        "process": process,
        "subsampling": jpeg.subsampling,
        "restart_interval": jpeg.restart,
        "scans": jpeg.scans,
        "size": [jpeg.width, jpeg.height],
        "markers": list(jpeg.markers),
        "comments": comments,
    }
    return Finding(
        code="jpeg.structure.encoder", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL, because=say,
        limits=(_LAST, _SHARED), data=data,
    )  # fmt: skip


def _resaved(jpeg: Jpeg, image: Image) -> tuple[Finding, ...]:
    """Camera tags in a file laid out by software: at least two signs, for one is common."""
    exif = read_exif(image.exif)
    camera = clean(exif.camera, 80)
    if not camera:
        return ()
    signs = []
    if standard_quality(jpeg.tables) is not None:
        signs.append("standard tables")
    # Exif asks for APP1 right after the start; programs put their JFIF segment first.
    names = [a for a in jpeg.applications if a.startswith(("APP0 JFIF", "APP1 Exif"))]
    if names and names[0].startswith("APP0"):
        signs.append("a JFIF header before the camera's tags")
    if jpeg.process == 2:
        signs.append("progressive coding")
    if "MakerNote" not in exif.tags:
        signs.append("no maker note")
    if any("Adobe" in a or "Photoshop" in a or "Ducky" in a for a in jpeg.applications):
        signs.append("Adobe segments")
    if any(c.startswith("CREATOR: gd-jpeg") or "Lavc" in c for c in jpeg.comments):
        signs.append("a comment of an encoding program")
    if len(signs) < 2:
        return ()
    return (
        Finding(
            code="jpeg.structure.resaved", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL,
            because=(
                f"The tags name a camera ({camera}), but the file looks saved again by software: "
                f"{', '.join(signs)}."
            ),
            limits=(
                "Saving again is what every upload, export and rotation does; it is no sign of "
                "an altered picture.",
                _SHARED,
            ),
            data={"camera": camera, "signs": list(signs)},
        ),
    )  # fmt: skip


def _following(jpeg: Jpeg, whole: bool) -> tuple[Finding, ...]:
    if not jpeg.ended or jpeg.trailing <= 16:
        return ()
    head = jpeg.trailing_head.lstrip(b"\x00")
    pictures = any(a.startswith("APP2 MPF") for a in jpeg.applications)
    if b"ftyp" in jpeg.trailing_head:
        what = "a video, as in moving photos of telephones"
    elif head.startswith(b"\xff\xd8"):
        what = "a further JPEG picture"
    elif head.startswith((b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf")):
        what = "an archive"
    else:
        what = "other data"
    more = "" if whole else " or more"
    say = f"After the end of the picture the file holds {jpeg.trailing} bytes{more}: {what}."
    if pictures:
        say += " The file announces further pictures."
    return (
        Finding(
            code="jpeg.structure.trailing", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL, because=say,
            limits=("Telephones append videos, depth maps and previews to ordinary pictures.",),
            data={"bytes": jpeg.trailing, "what": what, "announced": pictures},
        ),
    )  # fmt: skip


def _incomplete(jpeg: Jpeg, whole: bool) -> tuple[Finding, ...]:
    if jpeg.ended or not whole:
        return ()
    return (
        Finding(
            code="jpeg.structure.incomplete", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL,
            because="The JPEG file is cut off or damaged: its end is missing.",
            limits=("Broken downloads look the same.",), data={"damaged": jpeg.damaged},
        ),
    )  # fmt: skip
