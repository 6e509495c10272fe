"""Did a generator leave its parameters in the file?"""

from __future__ import annotations

from collections.abc import Iterator

from assay.analyzers.protocol import AnalyzerInfo, Answer
from assay.analyzers.provenance.exif import comment_text, read_exif
from assay.analyzers.provenance.generator_texts import Declared, named_generator, recognise
from assay.analyzers.provenance.plain import clean
from assay.analyzers.provenance.stealth import hidden_text
from assay.findings import Claim, Finding, Json, Kind, Strength
from assay.media import Image, Media, MediaKind, Video

__all__ = ["Generators"]

_PLANTED = "The text is not signed: anyone can write it into any file, or remove it."
_ABSENT = "Most sites strip such texts: their absence says nothing."
_MOST_FINDINGS = 8
_NAMING = {"software", "source", "encoder", "generator", "tool", "make"}


class Generators:
    """Prompts, seeds, models and workflows in PNG texts, comments, EXIF and lowest bits."""

    @property
    def info(self) -> AnalyzerInfo:
        return AnalyzerInfo(
            name="provenance.generators",
            version=1,
            question="Did a generator leave its parameters in the file?",
            media=frozenset({MediaKind.IMAGE, MediaKind.VIDEO}),
            source="Formats of the programs named in assay.analyzers.provenance.generator_texts",
            limitations=(_PLANTED, _ABSENT),
        )

    def analyze(self, media: Media) -> Answer:
        """Findings ``generators.*``; an empty tuple when nothing is recognised."""
        answer: list[Finding] = []
        seen: set[str] = set()
        for place, key, text in _texts(media):
            declared = recognise(key, text)
            if declared is not None and declared.generator not in seen:
                seen.add(declared.generator)
                answer.append(_declared(declared, place))
        for place, key, text in _texts(media):
            name = named_generator(text) if key.lower() in _NAMING else ""
            if name and not any(name in s or s in name for s in seen):
                seen.add(name)
                answer.append(_named(name, place, text))
        return tuple(answer[:_MOST_FINDINGS])


def _texts(media: Media) -> Iterator[tuple[str, str, str]]:
    """(place for the sentence, keyword, text)."""
    if isinstance(media, Video):
        for key, text in media.tags:
            yield f"the tag '{clean(key, 40)}'", key, text
        return
    if not isinstance(media, Image):
        return
    for key, text in media.texts:
        yield f"the text field '{clean(key, 40)}'", key, text
    exif = read_exif(media.exif)
    for name in ("UserComment", "ImageDescription", "XPComment", "Software", "Make", "Artist"):
        text = comment_text(exif.tags.get(name))
        if text:
            # Some programs keep a whole "keyword:JSON" pair in a tag of another meaning.
            head, colon, rest = text.partition(":")
            if colon and head.lower() in ("prompt", "workflow") and rest.lstrip().startswith("{"):
                yield f"the EXIF tag {name}", head, rest
            yield f"the EXIF tag {name}", name, text
    hidden = hidden_text(media)
    if hidden is not None:
        yield hidden[0], "parameters", hidden[1]


def _declared(declared: Declared, place: str) -> Finding:
    data: dict[str, Json] = {**declared.data, "place": place}
    if not declared.certain:
        return Finding(
            code="generators.mentioned", kind=Kind.PROVENANCE, claim=Claim.NEUTRAL,
            because=(
                f"Data of {declared.generator} stand in {place}, but they do not say that the "
                "content was generated."
            ),
            limits=(_PLANTED,), data=data,
        )  # fmt: skip
    say = f"Generator parameters of {declared.generator} stand in {place}"
    prompt = clean(declared.data.get("prompt") or "", 120).rstrip(".")
    say += f", with the prompt '{prompt}'." if prompt else "."
    if declared.from_picture:
        say += " An existing picture seems to have been the starting point."
    data["generator"] = declared.generator
    return Finding(
        code="generators.parameters", kind=Kind.PROVENANCE, claim=Claim.SYNTHETIC, because=say,
        strength=Strength.STRONG, group="declared_source", limits=(_PLANTED, _ABSENT), data=data,
    )  # fmt: skip


def _named(name: str, place: str, text: str) -> Finding:
    return Finding(
        code="generators.named", kind=Kind.PROVENANCE, claim=Claim.SYNTHETIC,
        because=f"The generator {name} is named as the maker in {place}.",
        strength=Strength.STRONG, group="declared_source", limits=(_PLANTED, _ABSENT),
        data={"generator": name, "place": place, "text": clean(text)},
    )  # fmt: skip
