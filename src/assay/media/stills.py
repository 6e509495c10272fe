"""Still pictures: Pillow for most, libheif for HEIC.

The size in the header is checked before a pixel is allocated. Pillow's plugins are called
by name rather than through ``Image.open``, whose bound on pixels and whose leniency
towards truncation are settings of the whole process.

A JPEG that breaks off is repaired when at least half of its rows are there: the rest is
of one colour and a note says how much. Every other truncated picture is ``Corrupt``.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from assay.errors import Corrupt, TooLarge, Unsupported
from assay.limits import Limits
from assay.media.colour import as_srgb, upright
from assay.media.foreign import mapped
from assay.media.image import Image
from assay.media.metadata import Blocks, read_blocks, tiff_header
from assay.media.opening import reopen
from assay.media.source import Source

if TYPE_CHECKING:
    from PIL import Image as Pillow

__all__ = ["decode_still"]

_DNG_VERSION = 50706


def decode_still(source: Source, limits: Limits) -> Image:
    """The picture in ``source``; of several, the first.

    Raises:
        TooLarge: more pixels or a longer side than the limits.
        Corrupt: cannot be decoded.
        Unsupported: a camera raw file.
    """
    with reopen(source) as file:
        with mapped(source.path, "read the picture's metadata"):
            blocks = read_blocks(file, source.format, limits.max_metadata_bytes)
            _refuse_raw(source, file)
        if blocks.endless:
            raise Corrupt(source.path, "the file has implausibly many parts")
        with mapped(source.path, f"decode the {source.format} picture"), _quiet():
            file.seek(0)
            if source.format == "heic":
                picture = _open_heif(file, source, limits, blocks)
            else:
                picture = _open(file, source, limits, blocks)
            return _finished(picture, file, source, blocks)


@contextlib.contextmanager
def _quiet() -> Any:
    """Pillow warns about damage it overcomes; here damage is an error or a note."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check(width: int, height: int, source: Source, limits: Limits) -> None:
    if width < 1 or height < 1:
        raise Corrupt(source.path, "the picture has no pixels")
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise TooLarge(
            source.path,
            f"{width} x {height} pixels, beyond the limits of {limits.max_pixels} pixels"
            f" and {limits.max_side} a side",
        )


def _open(file: BinaryIO, source: Source, limits: Limits, blocks: Blocks) -> Pillow.Image:
    picture: Pillow.Image = _plugin(source.format)(file)
    _check(picture.width, picture.height, source, limits)
    if source.format in ("avif", "gif"):
        _from_info(picture, blocks, limits)
    return picture


def _plugin(name: str) -> Any:
    if name == "jpeg":
        from PIL.JpegImagePlugin import JpegImageFile as Plugin
    elif name == "png":
        from PIL.PngImagePlugin import PngImageFile as Plugin  # type: ignore[assignment]
    elif name == "webp":
        from PIL.WebPImagePlugin import WebPImageFile as Plugin  # type: ignore[assignment]
    elif name == "tiff":
        from PIL.TiffImagePlugin import TiffImageFile as Plugin  # type: ignore[assignment]
    elif name == "bmp":
        from PIL.BmpImagePlugin import BmpImageFile as Plugin  # type: ignore[assignment]
    elif name == "avif":
        from PIL.AvifImagePlugin import AvifImageFile as Plugin  # type: ignore[assignment]
    else:
        from PIL.GifImagePlugin import GifImageFile as Plugin  # type: ignore[assignment]
    return Plugin


def _from_info(picture: Pillow.Image, blocks: Blocks, limits: Limits) -> None:
    """Blocks as Pillow hands them out, for formats without a reader of our own."""
    blocks.budget = limits.max_metadata_bytes
    info = picture.info
    blocks.exif = blocks.take(bytes(info.get("exif", b"")).removeprefix(b"Exif\x00\x00"))
    blocks.xmp = blocks.take(bytes(info.get("xmp", b"")))
    blocks.icc = blocks.take(bytes(info.get("icc_profile", b"")))
    if comment := info.get("comment"):
        blocks.text("comment", bytes(comment).decode("utf-8", "replace"))
    blocks.animated = picture.format == "AVIF" and getattr(picture, "n_frames", 1) > 1


def _open_heif(file: BinaryIO, source: Source, limits: Limits, blocks: Blocks) -> Pillow.Image:
    import pillow_heif

    content = pillow_heif.open_heif(file)
    first: Any = content[content.primary_index]
    width, height = first.size
    _check(width, height, source, limits)
    blocks.budget = limits.max_metadata_bytes
    exif = bytes(first.info.get("exif") or b"")
    # libheif hands out the Exif item with or without the prefix that JPEG uses
    at = exif.find(b"Exif\x00\x00", 0, 16)
    blocks.exif = blocks.take(exif[at + 6 :] if at >= 0 else exif)
    blocks.xmp = blocks.take(bytes(first.info.get("xmp") or b""))
    blocks.icc = blocks.take(bytes(first.info.get("icc_profile") or b""))
    blocks.bit_depth = int(first.info.get("bit_depth") or 8)
    blocks.more_pictures = len(content) > 1
    picture: Pillow.Image = first.to_pillow()
    return picture


def _finished(picture: Pillow.Image, file: BinaryIO, source: Source, blocks: Blocks) -> Image:
    notes = _notes(source, blocks)
    mode, width, height = picture.mode, picture.width, picture.height
    repaired = _load(picture, file, source)
    if repaired is not None:
        picture = repaired
        notes.append(_missing_rows(picture, source))
    elif source.format == "jpeg" and (grey := _grey_rows(picture)):
        notes.append(f"the last {grey} rows are of one grey, as where a decoder finds no data")
    if source.format == "webp" and picture.mode == "RGBX":
        picture = picture.convert("RGB")
    pixels, alpha, said = as_srgb(picture, blocks.icc)
    notes += said
    if blocks.cut:
        notes.append("metadata beyond the limit was left out")
    if pixels.shape[:2] != (height, width):
        raise Corrupt(source.path, "the picture is not of the size that its header declares")
    turn = _orientation(source, file, blocks)
    # libheif and Pillow's TIFF reader have turned the picture already.
    still_to_turn = 1 if source.format in ("heic", "tiff") else turn
    pixels = upright(pixels, still_to_turn)
    pixels.setflags(write=False)
    if alpha is not None:
        alpha = upright(alpha, still_to_turn)
        alpha.setflags(write=False)
    if source.format == "tiff" and turn >= 5:
        width, height = height, width
    return Image(
        source=source,
        pixels=pixels,
        alpha=alpha,
        mode=mode,
        bit_depth=blocks.bit_depth,
        orientation=turn,
        stored_width=width,
        stored_height=height,
        exif=blocks.exif,
        xmp=blocks.xmp,
        icc=blocks.icc,
        iptc=blocks.iptc,
        texts=tuple(blocks.texts),
        notes=tuple(notes),
    )


def _notes(source: Source, blocks: Blocks) -> list[str]:
    notes = []
    if blocks.animated:
        notes.append("the file is an animation; only its first picture was looked at")
    if blocks.more_pictures:
        notes.append("the file holds further pictures; only the first was looked at")
    if source.format == "heic" and blocks.bit_depth > 8:
        notes.append(f"{blocks.bit_depth}-bit samples were reduced to 8 bits")
    return notes


def _load(picture: Pillow.Image, file: BinaryIO, source: Source) -> Pillow.Image | None:
    """Decodes in place; for a JPEG that breaks off, the picture of the repaired file."""
    try:
        picture.load()
    except OSError:
        if source.format != "jpeg":
            raise
        file.seek(0)
        # The end-of-image marker makes libjpeg fill what is missing instead of failing.
        whole = _plugin("jpeg")(io.BytesIO(file.read() + b"\xff\xd9"))
        whole.load()
        mended: Pillow.Image = whole
        return mended
    return None


def _missing_rows(picture: Pillow.Image, source: Source) -> str:
    """Which rows at the end are of the one colour that libjpeg fills with."""
    values = np.asarray(picture)
    filled = (values == values[-1, -1]).reshape(len(values), -1).all(axis=1)
    there = len(values) - int(np.argmin(filled[::-1])) if not filled.all() else 0
    if there * 2 < len(values):
        cause = f"the picture breaks off: {there} of {len(values)} rows are there"
        raise Corrupt(source.path, cause)
    if there == len(values):
        return "the file breaks off; the picture was decoded from what is there"
    return (
        f"the file breaks off; at least the last {len(values) - there} of {len(values)} rows are"
        " missing and were filled with one colour"
    )


def _grey_rows(picture: Pillow.Image) -> int:
    """Rows at the end of exactly the grey that libjpeg paints for missing data.

    A truncated file that was given an end marker decodes without complaint.
    """
    values = np.asarray(picture)
    even = (values == 128).reshape(len(values), -1).all(axis=1)
    rows = int(np.argmin(even[::-1])) if not even.all() else len(values)
    return rows if rows >= 16 else 0


def _orientation(source: Source, file: BinaryIO, blocks: Blocks) -> int:
    if source.format == "heic":
        return 1
    if source.format == "tiff":
        file.seek(0)
        header = tiff_header(file)
    else:
        header = tiff_header(io.BytesIO(blocks.exif)) if blocks.exif else None
    if header is None:
        return 1
    try:
        turn = header.short(274, 1)
    except struct.error:
        return 1
    return turn if 1 <= turn <= 8 else 1


def _refuse_raw(source: Source, file: BinaryIO) -> None:
    if source.format != "tiff":
        return
    file.seek(0)
    header = tiff_header(file)
    if header is not None and _DNG_VERSION in header.entries:
        raise Unsupported(source.path, "a camera raw (DNG) picture, which is not supported")
