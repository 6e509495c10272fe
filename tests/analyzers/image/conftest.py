"""Real photographs (in scikit-image's wheel) and pictures as the analyzers get them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from assay.media import Image, Source

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="session")
def photograph() -> Callable[[str], Pixels]:
    def load(name: str) -> Pixels:
        from skimage import data

        pixels = np.asarray(getattr(data, name)())[..., :3]
        pixels.setflags(write=False)
        return pixels

    return load


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Image]:
    """``picture(pixels)`` as PNG, ``picture(pixels, quality)`` as JPEG; ``orientation`` as EXIF."""

    def make(pixels: Pixels, quality: int | None = None, orientation: int = 1) -> Image:
        out = io.BytesIO()
        shown = Pillow.fromarray(np.ascontiguousarray(pixels))
        if quality is None:
            shown.save(out, "PNG", compress_level=1)
        else:
            shown.save(out, "JPEG", quality=quality, subsampling=0)
        form = "png" if quality is None else "jpeg"
        digest = hashlib.sha256(out.getvalue()).hexdigest()
        path = tmp_path / f"{digest[:8]}.{form}"
        path.write_bytes(out.getvalue())
        with Pillow.open(path) as stored:
            back = np.asarray(stored.convert("RGB"))
        from assay.analyzers.image.maps import upright

        turned = np.ascontiguousarray(upright(back, orientation))
        turned.setflags(write=False)
        return Image(
            source=Source(
                path=path,
                sha256=digest,
                size=len(out.getvalue()),
                format=form,
                mime=f"image/{form}",
                extension_matches=True,
            ),
            pixels=turned,
            orientation=orientation,
            stored_width=back.shape[1],
            stored_height=back.shape[0],
        )

    return make


@pytest.fixture(scope="session")
def resaved() -> Callable[[Pixels, int], Pixels]:
    """Pixels after JPEG compression at ``quality``."""

    def compress(pixels: Pixels, quality: int) -> Pixels:
        out = io.BytesIO()
        Pillow.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=0)
        with Pillow.open(out) as back:
            return np.asarray(back.convert("RGB"))

    return compress
