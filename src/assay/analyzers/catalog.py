"""Which analyzers exist. Built-ins are an explicit list; plugins come by entry point."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from assay.analyzers.protocol import Analyzer
from assay.media import MediaKind

__all__ = ["BUILT_IN", "ENTRY_POINT", "analyzers", "for_kind"]

ENTRY_POINT = "assay.analyzers"

BUILT_IN: tuple[str, ...] = (
    "assay.analyzers.provenance.credentials:Credentials",
    "assay.analyzers.provenance.metadata:Metadata",
    "assay.analyzers.provenance.generators:Generators",
    "assay.analyzers.provenance.jpeg_structure:JpegStructure",
    "assay.analyzers.provenance.container:Container",
    "assay.analyzers.image.faces:Faces",
    "assay.analyzers.image.synthetic:SyntheticImage",
    "assay.analyzers.image.jpeg:JpegHistory",
    "assay.analyzers.image.noise:NoiseLevel",
    "assay.analyzers.image.cfa:ColourFilterArray",
    "assay.analyzers.image.copy_move:CopyMove",
    "assay.analyzers.image.spectrum:Spectrum",
    "assay.analyzers.video.structure:VideoStructure",
    "assay.analyzers.video.editing:VideoEditing",
    "assay.analyzers.video.faces:VideoFaces",
    "assay.analyzers.video.synthetic:VideoSynthetic",
    "assay.analyzers.video.frames:VideoFrames",
    "assay.analyzers.audio.synthetic:SyntheticSpeech",
    "assay.analyzers.audio.editing:AudioEditing",
    "assay.analyzers.audio.bandwidth:Bandwidth",
    "assay.analyzers.audio.mains_hum:MainsHum",
)


@cache
def analyzers() -> tuple[Analyzer, ...]:
    """All analyzers, built-ins first, each made once.

    Raises:
        ValueError: two analyzers share a name, or a plugin is not an analyzer.
    """
    found: list[Analyzer] = []
    for target in BUILT_IN:
        module, _, name = target.partition(":")
        found.append(getattr(import_module(module), name)())
    for point in sorted(entry_points(group=ENTRY_POINT), key=lambda p: p.name):
        plugin = point.load()()
        if not isinstance(plugin, Analyzer):
            raise ValueError(f"plugin {point.name!r} ({point.value}) is not an Analyzer")
        found.append(plugin)
    names = [a.info.name for a in found]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(f"analyzer names are not unique: {', '.join(sorted(twice))}")
    return tuple(found)


def for_kind(kind: MediaKind) -> tuple[Analyzer, ...]:
    """The analyzers that look at media of ``kind``."""
    return tuple(a for a in analyzers() if kind in a.info.media)
