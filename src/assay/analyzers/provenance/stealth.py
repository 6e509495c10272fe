"""Generator parameters hidden in the lowest bits of a picture ("stealth PNG info").

Some generators write their parameters into the lowest bit of the alpha channel, or of
red, green and blue, column by column: 15 letters of signature, 32 bits of length in
bits, then the text, plain or gzip. It survives sites that strip PNG texts.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from assay.media import Image

__all__ = ["hidden_text"]

_SIGNATURE = 15 * 8
_HEADER = _SIGNATURE + 32
_MOST_TEXT = 1024 * 1024


def hidden_text(image: Image) -> tuple[str, str] | None:
    """(place, text) or ``None``. Only lossless, unrotated pictures can carry it."""
    if image.source.format not in ("png", "webp") or image.orientation != 1:
        return None
    if image.alpha is not None:
        text = _read(image.alpha[:, :, None], (b"stealth_pnginfo", b"stealth_pngcomp"))
        if text:
            return "the lowest bits of the alpha channel", text
    text = _read(image.pixels, (b"stealth_rgbinfo", b"stealth_rgbcomp"))
    return ("the lowest bits of the colours", text) if text else None


def _read(planes: NDArray[np.uint8], signatures: tuple[bytes, bytes]) -> str:
    height, width, depth = planes.shape

    def bits(first: int, last: int) -> bytes:
        """Bits ``first`` to ``last`` in the order of columns, then rows, then channels."""
        column = height * depth
        left, right = first // column, -(-last // column)
        part = planes[:, left:right].transpose(1, 0, 2).reshape(-1) & 1
        return np.packbits(part[first - left * column : last - left * column]).tobytes()

    total = height * width * depth
    if total < _HEADER:
        return ""
    signature = bits(0, _SIGNATURE)
    if signature not in signatures:
        return ""
    length = int.from_bytes(bits(_SIGNATURE, _HEADER), "big")
    length = min(length, total - _HEADER, 8 * _MOST_TEXT) // 8 * 8
    data = bits(_HEADER, _HEADER + length)
    if signature == signatures[1]:
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, _MOST_TEXT)
        except zlib.error:
            return ""
    return data.decode("utf-8", "replace")
