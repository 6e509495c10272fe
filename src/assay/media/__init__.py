"""Stage 1: from a path to a decoded :data:`Media`.

Not in here: opinions. Nothing below this package says whether media is authentic.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from assay.media.audio import Audio
from assay.media.decode import decode
from assay.media.image import Image
from assay.media.source import Source
from assay.media.video import Packet, Stream, Video

__all__ = [
    "Audio",
    "Image",
    "Media",
    "MediaKind",
    "Packet",
    "Source",
    "Stream",
    "Video",
    "decode",
    "kind_of",
]

Media: TypeAlias = Image | Video | Audio


class MediaKind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


def kind_of(media: Media) -> MediaKind:
    """Which of the three kinds ``media`` is."""
    if isinstance(media, Image):
        return MediaKind.IMAGE
    return MediaKind.VIDEO if isinstance(media, Video) else MediaKind.AUDIO
