"""What the world does to a picture on its way to us, seeded.

Every function takes and returns RGB ``uint8`` of shape [H, W, 3]. ``chain``
draws a random sequence from a generator; the draws do not look at the pixels,
so a real picture and its fake that get generators with one seed go through
exactly the same steps. Fixed corruptions for benchmarks are in ``NAMED``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Rng = np.random.Generator

INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def _image(values: Any) -> Image:
    return np.asarray(np.ascontiguousarray(values), np.uint8)


def _reread(data: NDArray[Any]) -> Image:
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("a picture just encoded does not decode")
    return _image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def _clip(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def jpeg(rgb: Image, quality: int, *, subsample: bool = True) -> Image:
    """Through baseline JPEG at ``quality`` 1-100, with 4:2:0 or 4:4:4 chroma."""
    sampling = 0x221111 if subsample else 0x111111
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    flags = [cv2.IMWRITE_JPEG_QUALITY, int(quality), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(".jpg", bgr, flags)
    return _reread(data)


def webp(rgb: Image, quality: int) -> Image:
    """Through lossy WebP at ``quality`` 1-100."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, int(quality)])
    return _reread(data)


def resize(rgb: Image, factor: float, *, down: int = cv2.INTER_AREA) -> Image:
    """To ``factor`` of the size (at least 16 px a side), with a filtered kernel when shrinking."""
    h, w = rgb.shape[:2]
    size = (max(16, round(w * factor)), max(16, round(h * factor)))
    if factor < 1 and down != cv2.INTER_AREA:
        # these kernels alias without a low pass first
        rgb = blur(rgb, 0.4 * (1 / factor - 1))
    return _image(cv2.resize(rgb, size, interpolation=down))


def down_up(
    rgb: Image, factor: float, *, down: int = cv2.INTER_AREA, up: int = cv2.INTER_CUBIC
) -> Image:
    """Shrink to ``factor`` and back to the original size."""
    h, w = rgb.shape[:2]
    return _image(cv2.resize(resize(rgb, factor, down=down), (w, h), interpolation=up))


def blur(rgb: Image, sigma: float) -> Image:
    """Gaussian blur, ``sigma`` in pixels."""
    if sigma < 0.1:
        return rgb
    return _image(cv2.GaussianBlur(rgb, (0, 0), sigma))


def motion_blur(rgb: Image, length: int, angle: float) -> Image:
    """Blur along a line of ``length`` pixels at ``angle`` degrees."""
    if length < 2:
        return rgb
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), angle, 1)
    line = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return _image(cv2.filter2D(rgb, -1, line / max(float(line.sum()), 1e-6)))


def sharpen(rgb: Image, amount: float, sigma: float = 1.0) -> Image:
    """Unsharp mask."""
    soft = cv2.GaussianBlur(rgb, (0, 0), sigma)
    return _image(cv2.addWeighted(rgb, 1 + amount, soft, -amount, 0))


def noise(rgb: Image, sigma: float, rng: Rng, *, grey: bool = False, grain: float = 0.0) -> Image:
    """Gaussian noise of ``sigma`` levels; ``grain`` smooths it (px), ``grey`` couples channels."""
    h, w = rgb.shape[:2]
    field = rng.standard_normal((h, w, 1 if grey else 3), dtype=np.float32)
    if grain > 0.1:
        soft = np.asarray(cv2.GaussianBlur(field, (0, 0), grain), np.float32)
        field = soft.reshape(h, w, -1) * np.float32(1 + 2 * grain)
    return _clip(rgb + sigma * field)


def tone(rgb: Image, gain: float, offset: float, gamma: float) -> Image:
    """``255 * (x / 255) ** gamma * gain + offset``: brightness, contrast, exposure."""
    x = np.arange(256, dtype=np.float64) / 255
    table = np.clip(255 * x**gamma * gain + offset, 0, 255).astype(np.uint8)
    return _image(cv2.LUT(rgb, table))


def colour(rgb: Image, gains: tuple[float, float, float], saturation: float) -> Image:
    """White-balance gains for R, G, B and a saturation factor."""
    x = rgb.astype(np.float32) * np.asarray(gains, np.float32)
    luma = x @ np.array([0.299, 0.587, 0.114], np.float32)
    return _clip(luma[..., None] + saturation * (x - luma[..., None]))


def grey(rgb: Image) -> Image:
    """Luma (BT.601) in all three channels."""
    return _image(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def overlay(rgb: Image, rng: Rng) -> Image:
    """A caption bar, a logo box or a line of text somewhere, as on reposted pictures."""
    out = rgb.copy()
    h, w = out.shape[:2]
    shade = tuple(int(v) for v in rng.integers(0, 256, 3))
    kind = int(rng.integers(3))
    x, y = int(rng.integers(0, w)), int(rng.integers(0, h))
    if kind == 0:
        edge = max(2, int(h * rng.uniform(0.03, 0.12)))
        out[:edge] = shade
    elif kind == 1:
        cv2.rectangle(out, (x, y), (x + w // 8, y + h // 12), shade, -1)
    else:
        word = "".join(chr(int(c)) for c in rng.integers(97, 123, 8))
        cv2.putText(
            out, word, (x - w // 4, y), cv2.FONT_HERSHEY_SIMPLEX, w / 350, shade, 1 + w // 300
        )
    return out


def screenshot(rgb: Image, rng: Rng) -> Image:
    """A fractional rescale, slight tone change and a lossless second look."""
    factor = float(rng.uniform(0.7, 1.3))
    out = resize(rgb, factor, down=cv2.INTER_LINEAR)
    out = tone(out, float(rng.uniform(0.95, 1.05)), 0.0, float(rng.uniform(0.95, 1.05)))
    h, w = rgb.shape[:2]
    mode = cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR
    return _image(cv2.resize(out, (w, h), interpolation=mode))


def video(rgb: Image, crf: int, *, codec: str = "libx264") -> Image:
    """One intra frame of H.264 (``libx264``) or H.265 (``libx265``) at ``crf``, 4:2:0.

    Needs PyAV. The size is cut to even numbers and padded back by repetition.
    """
    import io

    import av

    h, w = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        quiet = (
            {"x265-params": "log-level=none:pools=1"} if codec == "libx265" else {"threads": "1"}
        )
        stream.options = {"crf": str(crf), "preset": "veryfast", **quiet}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb[:h, :w]), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            out.mux(packet)
    buffer.seek(0)
    with av.open(buffer, "r") as box:
        seen = next(iter(box.decode(video=0))).to_ndarray(format="rgb24")
    return _image(
        cv2.copyMakeBorder(seen, 0, rgb.shape[0] - h, 0, rgb.shape[1] - w, cv2.BORDER_REPLICATE)
    )


def _pick(rng: Rng, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def chain(rgb: Image, rng: Rng, *, strength: float = 1.0, codecs: bool = True) -> Image:
    """A random chain of the above; the size stays. ``strength`` scales how often steps occur.

    About one in eight pictures passes untouched at strength 1. ``codecs``
    allows the (slower) H.264 step.
    """
    p = min(1.0, 0.88 * strength)
    if rng.random() > p:
        return rgb

    def on(chance: float) -> bool:
        return bool(rng.random() < chance * strength)

    if on(0.35):
        gains = rng.uniform(0.9, 1.1, 3)
        rgb = colour(
            rgb, (float(gains[0]), float(gains[1]), float(gains[2])), float(rng.uniform(0.6, 1.3))
        )
    if on(0.35):
        gain, offset, gamma = rng.uniform(0.8, 1.2), rng.uniform(-15, 15), rng.uniform(0.75, 1.35)
        rgb = tone(rgb, float(gain), float(offset), float(gamma))
    if on(0.06):
        rgb = grey(rgb)
    kind = rng.random()
    if on(0.4):
        if kind < 0.55:
            rgb = blur(rgb, float(rng.uniform(0.3, 1.6)))
        elif kind < 0.7:
            rgb = motion_blur(rgb, _pick(rng, 2, 6), float(rng.uniform(0, 180)))
        else:
            rgb = sharpen(rgb, float(rng.uniform(0.2, 1.0)), float(rng.uniform(0.6, 1.5)))
    if on(0.4):
        down, up = INTERPOLATIONS[_pick(rng, 0, 3)], INTERPOLATIONS[_pick(rng, 1, 3)]
        rgb = down_up(rgb, float(rng.uniform(0.35, 0.95)), down=down, up=up)
    if on(0.2):
        seed, sigma = int(rng.integers(2**32)), float(rng.uniform(1, 9))
        grain = float(rng.choice([0.0, 0.6]))
        rgb = noise(rgb, sigma, np.random.default_rng(seed), grey=kind < 0.5, grain=grain)
    if on(0.04):
        rgb = screenshot(rgb, np.random.default_rng(int(rng.integers(2**32))))
    if on(0.04):
        rgb = overlay(rgb, np.random.default_rng(int(rng.integers(2**32))))
    how = rng.random()
    quality, second, crf = _pick(rng, 30, 95), _pick(rng, 40, 95), _pick(rng, 20, 34)
    if on(0.7):
        if how < 0.5:
            rgb = jpeg(rgb, quality, subsample=kind < 0.8)
        elif how < 0.72:
            rgb = jpeg(rgb, second)
            if kind < 0.5:  # the second grid seldom lines up with the first
                rgb = _image(np.roll(rgb, (3, 5), (0, 1)))
            rgb = jpeg(rgb, quality)
        elif how < 0.86 or not codecs:
            rgb = webp(rgb, quality)
        else:
            rgb = video(rgb, crf)
    return rgb


NAMED: dict[str, Callable[[Image], Image]] = {
    "none": lambda rgb: rgb,
    "jpeg50": lambda rgb: jpeg(rgb, 50),
    "half_size": lambda rgb: resize(rgb, 0.5),
    "blur1": lambda rgb: blur(rgb, 1.0),
    "noise5": lambda rgb: noise(rgb, 5.0, np.random.default_rng(0)),
    "h264_crf28": lambda rgb: video(rgb, 28),
}
"""Fixed corruptions for benchmarks, by the name written in cards."""
