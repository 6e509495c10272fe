"""What do the picture's tags declare, and do they fit the picture and one another?"""

from __future__ import annotations

import re
from collections.abc import Mapping

from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.provenance.contradictions import dates, dimensions, position, preview
from assay.analyzers.provenance.exif import Exif, read_exif
from assay.analyzers.provenance.generator_texts import named_generator, recognise
from assay.analyzers.provenance.plain import clean
from assay.analyzers.provenance.source_types import source_type
from assay.analyzers.provenance.xmp import read_iptc, read_xmp
from assay.findings import Claim, Finding, Json, Kind, NotApplicable, Strength
from assay.media import Image, Media, MediaKind

__all__ = ["Metadata"]

_PLANTED = "Tags are not signed: anyone can write or copy them with free software."
_ABSENT = "Most sites strip tags: their absence says nothing."
_SMALL = "Removing a speck with a generative tool is declared like an invented scene."
_RETOUCH = "Ordinary retouching, cropping and export leave the same names."

_EDITORS = (
    r"photoshop", r"lightroom", r"\bgimp\b", r"affinity", r"capture one", r"snapseed", r"picsart",
    r"facetune", r"pixelmator", r"luminar", r"canva", r"paint\.net", r"darktable", r"rawtherapee",
    r"acdsee", r"photopea", r"imagemagick", r"meitu", r"beautyplus", r"remini", r"faceapp",
    r"vsco", r"photoscape", r"corel", r"paintshop", r"topaz", r"fotor", r"polarr", r"krita",
)  # fmt: skip
_EDITOR = re.compile("|".join(_EDITORS), re.IGNORECASE)
_MADE_WITH_AI = re.compile(
    r"\bmade with google ai\b|\bai[- ]generated\b|\bgenerated (?:by|with) (?:ai|\w+ ai)\b|"
    r"\bcreated (?:by|with) (?:generative )?ai\b|\bimagined with ai\b|\bmade with ai\b",
    re.IGNORECASE,
)
_AI_FIELDS = ("AISystemUsed", "AISystemVersionUsed", "AIPromptInformation", "AIPromptWriterName")

Xmp = Mapping[str, tuple[str, ...]]


class Metadata:
    """EXIF, XMP and IPTC: declared source, generator fields, programs, contradictions."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="provenance.metadata",
            version=1,
            question="What do the picture's tags declare, and do they fit together?",
            media=frozenset({MediaKind.IMAGE}),
            source=(
                "CIPA DC-008 (Exif 2.32); ISO 16684-1 (XMP); IPTC Photo Metadata Standard 2025.1; "
                "GB 45438-2025; Kee, Farid: Digital image authentication from thumbnails, SPIE 2010"
            ),
            limitations=(_PLANTED, _ABSENT),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``metadata.*``; NotApplicable for a picture without any tags."""
        if not isinstance(media, Image):
            raise TypeError("provenance.metadata looks at pictures")
        if not (media.exif or media.xmp or media.iptc):
            return NotApplicable(
                code="no_metadata",
                reason="The file carries no tags, as is usual for pictures from the web.",
            )
        exif, xmp, iptc = read_exif(media.exif), read_xmp(media.xmp), read_iptc(media.iptc)
        return (
            *_declared_source(xmp),
            *_generator_fields(xmp),
            *_credits(xmp, iptc),
            *_label(xmp),
            *_camera(exif),
            *_software(exif, xmp, iptc),
            *_platform(iptc),
            *preview(exif, media),
            *dimensions(exif, media),
            *dates(exif),
            *position(exif),
        )


def _named(xmp: Xmp, local: str) -> tuple[str, ...]:
    """Values of a property by its local name: writers differ in the name space they use."""
    return tuple(v for key, values in xmp.items() if key.endswith(f":{local}") for v in values)


def _declared_source(xmp: Xmp) -> list[Finding]:
    values = _named(xmp, "DigitalSourceType") + _named(xmp, "DigitalSourcefileType")
    answer = []
    for term in dict.fromkeys(t for v in values if (t := source_type(v)) is not None):
        strength = Strength.STRONG
        if term.claim is Claim.AUTHENTIC:
            strength = Strength.WEAK
        elif term.claim is Claim.NEUTRAL:
            strength = Strength.NONE
        data: dict[str, Json] = {"digital_source_type": term.key}
        tool = _named(xmp, "AISystemUsed") or _named(xmp, "CreatorTool")
        name = named_generator(tool[0]) if tool else ""
        if term.claim is Claim.SYNTHETIC and name:
            data["generator"] = name
        answer.append(
            Finding(
                code=f"metadata.{term.suffix}", kind=Kind.PROVENANCE, claim=term.claim,
                because=f"A tag in the file declares that the picture {term.meaning}.",
                strength=strength, group="declared_source", data=data,
                limits=(_SMALL, _PLANTED) if term.suffix == "composite" else (_PLANTED, _ABSENT),
            )
        )  # fmt: skip
    return answer


def _generator_fields(xmp: Xmp) -> list[Finding]:
    """The fields of IPTC 2025.1, which also serve as a latent disclosure."""
    fields = {n: values[0] for n in _AI_FIELDS if (values := _named(xmp, n))}
    if "AISystemUsed" not in fields and "AIPromptInformation" not in fields:
        return []
    system = clean(fields.get("AISystemUsed", ""), 80)
    by = f" by '{system}'" if system else ""
    data: dict[str, Json] = {n: clean(v, 1000) for n, v in fields.items()}
    if system:
        data["generator"] = system
    return [
        Finding(
            code="metadata.generator_fields", kind=Kind.PROVENANCE, claim=Claim.SYNTHETIC,
            because=f"Tags in the file declare that the picture was generated{by}.",
            strength=Strength.STRONG, group="declared_source", limits=(_PLANTED, _ABSENT),
            data=data,
        )
    ]  # fmt: skip


def _credits(xmp: Xmp, iptc: Mapping[str, str]) -> list[Finding]:
    """Credit lines that say so in words. A company's name alone credits its press office."""
    lines = (*xmp.get("photoshop:Credit", ()), *xmp.get("photoshop:Source", ()),
             iptc.get("credit", ""), iptc.get("source", ""))  # fmt: skip
    for line in lines:
        if _MADE_WITH_AI.search(line[:400]):
            data: dict[str, Json] = {"credit": clean(line)}
            if name := named_generator(line):
                data["generator"] = name
            return [
                Finding(
                    code="metadata.credit", kind=Kind.PROVENANCE, claim=Claim.SYNTHETIC,
                    because=f"The credit line reads '{clean(line, 80).rstrip('.')}'.",
                    strength=Strength.STRONG, group="declared_source",
                    limits=(
                        _PLANTED,
                        "Some services write this line for edited photographs as well.",
                    ),
                    data=data,
                )
            ]  # fmt: skip
    return []


def _label(xmp: Xmp) -> list[Finding]:
    for text in _named(xmp, "AIGC"):
        declared = recognise("aigc", text)
        if declared is not None:
            data: dict[str, Json] = dict(declared.data)
            if declared.certain:
                data["generator"] = declared.generator
            degree = "is generated" if declared.certain else "may be generated"
            return [
                Finding(
                    code="metadata.label", kind=Kind.PROVENANCE,
                    claim=Claim.SYNTHETIC if declared.certain else Claim.NEUTRAL,
                    because=(
                        f"The label for generated content says that the picture {degree} "
                        f"({declared.generator})."
                    ),
                    strength=Strength.STRONG if declared.certain else Strength.NONE,
                    group="declared_source", limits=(_PLANTED, _ABSENT), data=data,
                )
            ]  # fmt: skip
    return []


def _camera(exif: Exif) -> list[Finding]:
    make, model = clean(exif.text("Make"), 60), clean(exif.text("Model"), 60)
    exposure = [n for n in ("ExposureTime", "FNumber", "ISO", "FocalLength") if n in exif.tags]
    name = clean(exif.camera, 100)
    if not name or len(exposure) < 2 or named_generator(name):
        return []
    return [
        Finding(
            code="metadata.camera", kind=Kind.PROVENANCE, claim=Claim.AUTHENTIC,
            because=f"The tags name a camera ({name}) and its settings.",
            strength=Strength.WEAK, limits=(_PLANTED, "Editing keeps the camera's tags."),
            data={
                "make": make, "model": model, "settings": exposure,
                "maker_note": "MakerNote" in exif.tags, "serial": "BodySerialNumber" in exif.tags,
                "lens": clean(exif.text("LensModel"), 80),
            },
        )
    ]  # fmt: skip


def _software(exif: Exif, xmp: Xmp, iptc: Mapping[str, str]) -> list[Finding]:
    named = (
        exif.text("Software"), *xmp.get("xmp:CreatorTool", ()), *xmp.get("stEvt:softwareAgent", ()),
        iptc.get("program", ""),
    )  # fmt: skip
    programs = list(dict.fromkeys(clean(n, 80) for n in named if n.strip()))
    edited = [p for p in programs if _EDITOR.search(p)]
    if "crs:Version" in xmp and not edited:
        edited = ["Adobe Camera Raw"]
        programs += edited
    if not programs:
        return []
    listed = ", ".join(p.rstrip(".") for p in programs[:5])
    if edited:
        say = f"The file passed through picture-editing software: {listed}."
        if exif.text("Make"):
            say = f"After the camera, the picture passed through editing software: {listed}."
    else:
        say = f"The file names the software that wrote it: {listed}."
    steps = [clean(a, 60) for a in xmp.get("stEvt:action", ())][:40]
    return [
        Finding(
            code="metadata.software", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL, because=say,
            limits=(_RETOUCH, _PLANTED),
            data={"programs": list(programs[:40]), "editors": list(edited[:40]), "steps": steps},
        )
    ]  # fmt: skip


def _platform(iptc: Mapping[str, str]) -> list[Finding]:
    if not iptc.get("instructions", "").startswith("FBMD"):
        return []
    return [
        Finding(
            code="metadata.platform", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
            because="The picture was downloaded from Facebook or Instagram, which mark it so.",
            limits=("What happened before the upload is not recorded.", _PLANTED),
            data={"platform": "Meta"},
        )
    ]  # fmt: skip
