"""Any picture that Pillow decodes, as 8-bit sRGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image as Pillow

__all__ = ["as_srgb", "upright"]

Bytes = NDArray[np.uint8]

_LARGEST_PROFILE = 8 * 1024 * 1024
_SAME = 2  # levels: a profile this close to sRGB is sRGB, and the pixels stay exact


def as_srgb(picture: Pillow.Image, icc: bytes) -> tuple[Bytes, Bytes | None, list[str]]:
    """``picture`` (loaded) as (pixels [h, w, 3], alpha [h, w] or None, notes).

    Samples of more than 8 bits keep their high byte. An ICC profile is applied with
    relative colorimetric intent and black-point compensation, except where it is sRGB to
    within two levels. Colours under transparent pixels are kept.
    """
    notes: list[str] = []
    alpha: Bytes | None = None
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    if picture.mode == "PA" or (picture.mode == "P" and "transparency" in picture.info):
        picture = picture.convert("RGBA")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    elif picture.mode in ("1", "L", "RGB") and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode in ("LA", "RGBA"):
        alpha = np.asarray(picture.getchannel("A"))
        picture = picture.convert("L" if picture.mode == "LA" else "RGB")
    if picture.mode.startswith(("I", "F")):
        picture, said = _eight_bits(picture)
        notes += said
    if picture.mode in ("1", "YCbCr", "HSV", "RGBX"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    if picture.mode == "LAB":
        picture = _from_lab(picture)
    elif icc:
        picture, said = _through_profile(picture, icc)
        notes += said
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture), alpha, notes


def _eight_bits(picture: Pillow.Image) -> tuple[Pillow.Image, list[str]]:
    from PIL import Image

    values = np.asarray(picture)
    notes: list[str] = []
    if picture.mode == "F":
        sane = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(sane.min()), float(sane.max())
        if low < 0 or high > 1:
            notes.append("floating-point samples were scaled from their range to 0..255")
            span = (high - low) or 1.0
            sane = (sane - low) / span
        small = np.rint(sane * 255)
    elif picture.mode == "I":
        if values.size and (values.min() < 0 or values.max() > 0xFFFF):
            small = np.clip(values, 0, None).astype(np.int64) >> 23
            notes.append("32-bit samples were reduced to their high byte")
        else:
            small = values >> 8
    else:
        small = values.astype(np.uint16) >> 8
    return Image.fromarray(np.clip(small, 0, 255).astype(np.uint8)), notes


def _from_lab(picture: Pillow.Image) -> Pillow.Image:
    from PIL import ImageCms

    turned = ImageCms.profileToProfile(
        picture, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert turned is not None
    return turned


def _through_profile(picture: Pillow.Image, icc: bytes) -> tuple[Pillow.Image, list[str]]:
    import io

    from PIL import Image, ImageCms

    if len(icc) > _LARGEST_PROFILE:
        return picture, ["the colour profile is implausibly large and was ignored"]
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform: Any = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            picture.mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if picture.mode == "RGB":
            steps = np.linspace(0, 255, 9).astype(np.uint8)
            grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
            there = np.asarray(transform.apply(Image.fromarray(grid)))
            if int(np.abs(there.astype(int) - grid).max()) <= _SAME:
                return picture, []
        return transform.apply(picture), []
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # A profile for another colour model than the picture's, or a damaged one.
        return picture, ["the colour profile does not fit the picture and was ignored"]


def upright(pixels: Bytes, orientation: int) -> Bytes:
    """``pixels`` turned by the Exif ``orientation`` 1..8 (CIPA DC-008, 4.6.4.A)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
