"""The only door from a path to a :data:`Media`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from assay.errors import Corrupt, MediaError
from assay.limits import Limits
from assay.media.opening import format_of, open_source, reopen
from assay.media.sniff import gif_pictures

if TYPE_CHECKING:
    from assay.media import Media

__all__ = ["decode"]


def decode(path: str | os.PathLike[str], limits: Limits | None = None, name: str = "") -> Media:
    """Reads ``path`` and tells by its content whether it is a picture, a video or a sound.

    A picture is decoded at once; of a video and a sound the container is read through, the
    first frame and samples are decoded, and the rest when asked for. A GIF of several
    pictures is a video; animated WebP, PNG and AVIF are their first picture, with a note.
    A container whose only picture is cover art is a sound.

    A picture that breaks off is ``Corrupt``, except a JPEG of which at least half is there;
    videos and sounds that break off yield what is there. Notes declare it. ``name`` is what
    the file is called, when that is not the name under which it lies.

    Raises:
        NotMedia: missing, not a regular file, empty, unreadable, or not media.
        Unsupported: media of a kind that this build does not read.
        Corrupt: cannot be decoded.
        TooLarge: beyond ``limits``.
    """
    limits = limits or Limits()
    source = open_source(path, limits, name)
    still = format_of(source).still
    if source.format == "gif":
        with reopen(source) as file:
            still = gif_pictures(file) < 2
    if still:
        from assay.media.stills import decode_still

        return decode_still(source, limits)

    from assay.media.containers import survey
    from assay.media.sounds import sound_of
    from assay.media.videos import video_of
    from assay.media.wholeness import shortfall

    missing = shortfall(source)
    try:
        found = survey(source, limits)
    except Corrupt as error:
        raise Corrupt(source.path, missing or error.cause) from error
    if missing:
        found.notes.insert(0, missing)
    if found.picture is not None and not found.picture.count and found.sound is not None:
        found.notes.append("the file declares a video but holds no frame of it")
        found.picture = None
    if found.picture is None:
        return sound_of(source, found, limits)
    sound = None
    if found.sound is not None and found.sound.count:
        try:
            sound = sound_of(source, found, limits, alone=False)
        except MediaError as error:
            found.notes.append(f"the sound could not be decoded ({error.cause})")
    return video_of(source, found, sound, limits)
