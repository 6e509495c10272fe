"""The one place where errors of foreign decoders become Assay's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from assay.errors import AssayError, Corrupt, TooLarge, Unsupported

__all__ = ["mapped"]

_UNSUPPORTED = {"DecoderNotFoundError", "DemuxerNotFoundError", "PatchWelcomeError"}


@contextlib.contextmanager
def mapped(path: Path, doing: str) -> Iterator[None]:
    """Turns whatever a foreign library raises into a :class:`assay.errors.MediaError`.

    Decoders signal damage with almost any exception (``SyntaxError``, ``struct.error``,
    ``IndexError`` ...), hence the breadth. ``doing`` completes "could not ...".

    Raises:
        TooLarge: memory ran out, or the library found the content beyond its own bound.
        Unsupported: the library knows the content but cannot decode it.
        Corrupt: anything else.
    """
    try:
        yield
    except AssayError:
        raise
    except MemoryError as error:
        raise TooLarge(path, f"could not {doing}: not enough memory") from error
    except Exception as error:
        name = type(error).__name__
        cause = f"could not {doing}: {_words(error)}"
        if name in ("DecompressionBombError", "DecompressionBombWarning"):
            raise TooLarge(path, cause) from error
        if name in _UNSUPPORTED or isinstance(error, NotImplementedError):
            raise Unsupported(path, cause) from error
        raise Corrupt(path, cause) from error


def _words(error: Exception) -> str:
    # FFmpeg's errors carry a number and, as a third part, the name of our file object.
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return text[:200]
