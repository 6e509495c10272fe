"""What does the container of a video or sound file say about who wrote it, and when?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.provenance.boxes import Boxes, read_boxes
from assay.analyzers.provenance.container_texts import read_texts
from assay.analyzers.provenance.plain import clean
from assay.findings import Claim, Finding, Json, Kind, Strength
from assay.media import Media, MediaKind

__all__ = ["Container"]

_BOXES = {"mp4", "mov", "m4a", "3gp", "heic", "avif"}
_LAST = "The container tells who wrote the file last; sites and messengers rewrite every upload."
_PLANTED = "These texts are not signed: anyone can change them."
_TRIMMED = 0.5  # s; shorter offsets only hide the priming of encoders

_WRITERS = (
    (r"^lav[fc]|\blav[fc]\d|ffmpeg|libav", "FFmpeg"),
    (r"handbrake", "HandBrake"),
    (r"x26[45]", "x264 or x265"),
    (r"^lame", "LAME"),
    (r"mkvmerge|libmatroska", "MKVToolNix"),
    (r"gpac|mp4box", "GPAC"),
    (r"^google$|isomedia? file produced by google|youtube", "Google"),
    (r"vimeo", "Vimeo"),
    (r"twitter", "Twitter"),
    (r"bento4", "Bento4"),
    (r"obs[- ]studio|^obs\b", "OBS Studio"),
    (r"audacity", "Audacity"),
    (r"qaac|itunes", "iTunes"),
    (r"reference libvorbis|xiph|libopus|libflac", "the Xiph libraries"),
)
_EDITORS = (
    (r"premiere", "Adobe Premiere"), (r"after effects", "Adobe After Effects"),
    (r"audition", "Adobe Audition"), (r"final cut", "Final Cut"), (r"imovie", "iMovie"),
    (r"davinci|blackmagic", "DaVinci Resolve"), (r"capcut|bytedance", "CapCut"),
    (r"kinemaster", "KineMaster"), (r"filmora|wondershare", "Filmora"), (r"kdenlive", "Kdenlive"),
    (r"shotcut", "Shotcut"),  # codespell:ignore
    (r"vegas pro|sony vegas", "Vegas"), (r"inshot", "InShot"), (r"clipchamp", "Clipchamp"),
)  # fmt: skip
_MAKER_KEYS = {
    "com.apple.quicktime.make": "make", "com.apple.quicktime.model": "model", "©mak": "make",
    "©mod": "model", "com.android.manufacturer": "make", "com.android.model": "model",
    "com.apple.quicktime.software": "software", "com.android.version": "system",
}  # fmt: skip


class Container:
    """Boxes, brands, writer strings, dates and edit lists. All neutral, or nearly so."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="provenance.container",
            version=1,
            question="What does the container say about who wrote the file, and when?",
            media=frozenset({MediaKind.VIDEO, MediaKind.AUDIO}),
            source=(
                "ISO/IEC 14496-12; RFC 9559; Gloe, Fischer, Kirchner: Forensic analysis of video "
                "file formats, Digital Investigation 11, 2014; Iuliani et al.: A video forensic "
                "framework for the unsupervised analysis of MP4-like file container, IEEE TIFS 2019"
            ),
            limitations=(_LAST, _PLANTED),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``container.*``; an empty tuple when the container says nothing."""
        source = media.source
        with source.open() as file:
            head = file.read(12)
            boxes = None
            if source.format in _BOXES or head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
                boxes = read_boxes(file, source.size)
            texts = list(boxes.texts) if boxes else read_texts(file, source.size, source.format)
        if boxes is not None:
            texts += [(f"handler of {kind}", name) for kind, name in boxes.handlers if name]
            texts += [("compressor", name) for name in boxes.compressors]
        answer = [*_recorder(texts), *_writer(texts)]
        if boxes is not None:
            answer += [*_layout(boxes), *_times(boxes), *_edits(boxes), *_damage(boxes)]
        return tuple(answer)


def _writer(texts: list[tuple[str, str]]) -> list[Finding]:
    """Programs named in the texts that programs write about themselves."""
    about = re.compile(
        r"too$|swr$|encod|encd|encoder|application|handler|compressor|vendor|software|ISFT|TSSE|TENC|"
        r"originator|coding history|^com\.apple",
        re.IGNORECASE,
    )
    own = [(k, v) for k, v in texts if about.search(k)]
    programs: list[str] = []
    editors: list[str] = []
    for _, text in own:
        programs += [n for pattern, n in _WRITERS if re.search(pattern, text[:400], re.IGNORECASE)]
        editors += [n for pattern, n in _EDITORS if re.search(pattern, text[:400], re.IGNORECASE)]
    programs, editors = list(dict.fromkeys(programs)), list(dict.fromkeys(editors))
    strings = list(dict.fromkeys(f"{clean(k, 60)}: {clean(v, 120)}" for k, v in own))[:40]
    if not strings:
        return []
    if editors:
        say = f"The file names editing software: {', '.join(editors)}."
    elif programs:
        say = (
            f"The file was last written by {', '.join(programs)}: it was re-encoded or repackaged, "
            "as is usual for anything downloaded. That says nothing against it."
        )
    else:
        say = f"The file names what wrote it: {strings[0].rstrip('.')}."
    return [
        Finding(
            code="container.writer", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL, because=say,
            limits=(_LAST, _PLANTED),
            data={"programs": list(programs), "editors": list(editors), "strings": list(strings)},
        )
    ]  # fmt: skip


def _recorder(texts: list[tuple[str, str]]) -> list[Finding]:
    found = {_MAKER_KEYS[k]: clean(v, 80) for k, v in reversed(texts) if k in _MAKER_KEYS}
    if "make" not in found and "model" not in found:
        return []
    name = " ".join(found[k] for k in ("make", "model") if k in found)
    data: dict[str, Json] = dict(found)
    return [
        Finding(
            code="container.recorder", kind=Kind.PROVENANCE, claim=Claim.AUTHENTIC,
            because=f"The file names the device that recorded it ({name.rstrip('.')}).",
            strength=Strength.WEAK, limits=(_PLANTED, "Editing can keep the device's name."),
            data=data,
        )
    ]  # fmt: skip


def _layout(boxes: Boxes) -> list[Finding]:
    order = [b for b in boxes.order if b in ("ftyp", "moov", "mdat", "moof")]
    if not order:
        return []
    first = next((b for b in order if b in ("moov", "mdat", "moof")), "")
    if boxes.fragmented:
        how = "in fragments, as streaming services and screen recorders do"
    elif first == "moov":
        how = "with its index first, as files prepared for the web have it"
    else:
        how = "with its index after the content, as cameras and plain encoders do"
    brand = f"The container (brand '{clean(boxes.brand, 8)}')" if boxes.brand else "The container"
    return [
        Finding(
            code="container.layout", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL,
            because=f"{brand} is laid out {how}.", limits=(_LAST,),
            data={
                "brand": clean(boxes.brand, 8), "brands": [clean(b, 8) for b in boxes.brands],
                "boxes": [clean(b, 8) for b in boxes.order], "fragmented": boxes.fragmented,
                "handlers": [f"{clean(k, 8)}: {clean(n, 80)}" for k, n in boxes.handlers],
            },
        )
    ]  # fmt: skip


def _times(boxes: Boxes) -> list[Finding]:
    if boxes.created is None and boxes.modified is None:
        return []
    faults = []
    latest = datetime.now(UTC) + timedelta(days=2)
    for what, when in (("creation", boxes.created), ("last change", boxes.modified)):
        if when is not None and when > latest:
            faults.append(f"the {what} ({when:%Y-%m-%d}) lies in the future")
    if boxes.created and boxes.modified and boxes.modified < boxes.created - timedelta(days=1):
        faults.append("the last change lies before the creation")
    stamps: dict[str, Json] = {
        "created": boxes.created.isoformat() if boxes.created else None,
        "modified": boxes.modified.isoformat() if boxes.modified else None,
    }
    if faults:
        code, say = "container.dates", f"The dates in the file cannot be: {'; '.join(faults)}."
    else:
        when = boxes.created or boxes.modified
        code, say = "container.created", f"The container is dated {when:%Y-%m-%d %H:%M} UTC."
    return [
        Finding(
            code=code, kind=Kind.STRUCTURE, claim=Claim.NEUTRAL, because=say,
            limits=("Clocks are often wrong; many programs write their own date or none.",),
            data=stamps,
        )
    ]  # fmt: skip


def _edits(boxes: Boxes) -> list[Finding]:
    """Edit lists that leave out part of what was recorded, or put it in another order."""
    longest, parts = 0.0, 0
    for number, edits in enumerate(boxes.edits):
        shown = [e for e in edits if e[1] >= 0]
        parts = max(parts, len(shown))
        scale = boxes.track_scales[number] if number < len(boxes.track_scales) else 0
        if shown and scale:
            longest = max(longest, shown[0][1] / scale)
    if parts < 2 and longest < _TRIMMED:
        return []
    if parts > 1:
        say = f"An edit list in the file puts the recording together from {parts} parts."
    else:
        say = f"An edit list in the file hides the first {longest:.1f} seconds of the recording."
    return [
        Finding(
            code="container.edit_list", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL, because=say,
            limits=("Trimming on a telephone and gaps in a stream write such lists as well.",),
            data={"parts": parts, "hidden_seconds": round(longest, 3)},
        )
    ]  # fmt: skip


def _damage(boxes: Boxes) -> list[Finding]:
    if not boxes.damaged:
        return []
    return [
        Finding(
            code="container.damaged", kind=Kind.STRUCTURE, claim=Claim.NEUTRAL,
            because="The container is cut off or its sizes are wrong.",
            limits=("Broken downloads and interrupted recordings look the same.",),
            data={"boxes": [clean(b, 8) for b in boxes.order]},
        )
    ]  # fmt: skip
