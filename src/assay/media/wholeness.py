"""Whether a container is as long as its own outermost header says.

FFmpeg reads on in silence where a file breaks off; the header tells.
"""

from __future__ import annotations

from assay.errors import Corrupt
from assay.media.opening import reopen
from assay.media.source import Source

__all__ = ["shortfall"]

_MOST_BOXES = 200_000  # two for each fragment of a live recording
_ENDLESS = (0, 0xFFFFFFFF)  # what recorders write that do not know the length yet


def shortfall(source: Source) -> str:
    """A sentence on what is missing from ``source``, or ``""``.

    Raises:
        Corrupt: more boxes than any recording has; FFmpeg would walk them all.
    """
    if source.format in ("wav", "avi", "aiff"):
        return _riff(source)
    if source.format in ("mp4", "mov", "m4a", "3gp"):
        return _boxes(source)
    return ""


def _breaks_off(source: Source, declared: int) -> str:
    return (
        f"the file breaks off: by its headers it has at least {declared} bytes, {source.size}"
        " are there"
    )


def _riff(source: Source) -> str:
    head = source.head(12)
    if len(head) < 12 or head[:4] in (b"RF64", b"BW64"):
        return ""
    order = "big" if head[:4] in (b"FORM", b"RIFX") else "little"
    size = int.from_bytes(head[4:8], order)  # type: ignore[arg-type]
    if size in _ENDLESS or size + 8 <= source.size:
        return ""
    return _breaks_off(source, size + 8)


def _boxes(source: Source) -> str:
    """ISO/IEC 14496-12, 4.2: the outermost boxes."""
    at, count, seen = 0, 0, set()
    with reopen(source) as file:
        while count < _MOST_BOXES:
            file.seek(at)
            head = file.read(16)
            if len(head) < 8:
                break
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            seen.add(kind)
            if size == 1 and len(head) == 16:
                size = int.from_bytes(head[8:], "big")
            if size == 0:
                break
            if size < 8:
                return ""
            at += size
            count += 1
            if at > source.size:
                if b"moov" not in seen:
                    return (
                        "the recording breaks off before its index (moov), without which no"
                        " picture or sound can be found"
                    )
                return _breaks_off(source, at)
    if count >= _MOST_BOXES:
        raise Corrupt(source.path, "the file has implausibly many boxes")
    if b"moov" not in seen and b"moof" not in seen:
        return "the index (moov) is missing, without which no picture or sound can be found"
    return ""
