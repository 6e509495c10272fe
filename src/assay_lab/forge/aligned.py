"""Turn a picture and its reconstruction into a pair that differs in the trace alone.

``blend`` and ``match_sharpness`` take the easy cues away (content, blur); ``resampled``
makes traces of upsampling without any net. RGB ``uint8`` [H, W, 3] throughout.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Rng = np.random.Generator


def energy(rgb: Image) -> float:
    """Mean absolute detail of luma."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(grey - cv2.blur(grey, (3, 3))).mean())


def match_sharpness(rgb: Image, target: float) -> Image:
    """Blur ``rgb`` until its detail is about ``target``: a decoder's softness must not tell."""
    best = rgb
    for sigma in (0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25):
        if energy(best) <= target:
            break
        best = np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma), np.uint8)
    return best


def blend(real: Image, fake: Image, rng: Rng) -> Image:
    """Mix a reconstruction with its original: by share, by frequency, or in one region (DDA)."""
    how = rng.random()
    a, b = real.astype(np.float32), fake.astype(np.float32)
    if how < 0.35:
        share = np.float32(rng.uniform(0.5, 1.0))
        mixed = a + share * (b - a)
    elif how < 0.6:  # low frequencies of the original, the rest from the decoder
        sigma = float(rng.uniform(1.0, 4.0))
        low = cv2.GaussianBlur(a, (0, 0), sigma) - cv2.GaussianBlur(b, (0, 0), sigma)
        mixed = b + low
    elif how < 0.75:  # lost detail given back in part: the decoder's grid stays, not its blur
        lost = a - b
        mixed = b + np.float32(rng.uniform(0.2, 0.5)) * lost
    else:
        return fake
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def resampled(rgb: Image, rng: Rng) -> Image:
    """Down by 2 and up by zero insertion and a random short kernel, as untrained decoders do.

    The detail that the way down lost is given back in part, so that the periodic trace
    of upsampling is what is left to see.
    """
    h, w = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    x = rgb[:h, :w].astype(np.float32)
    low = cv2.resize(x, (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    sparse = np.zeros_like(x)
    sparse[::2, ::2] = low
    size = int(rng.choice([3, 4, 5]))
    kernel = np.outer(*(np.bartlett(size + 2)[1:-1] * rng.uniform(0.7, 1.3, size) for _ in "ab"))
    kernel = np.asarray(kernel * (4 / kernel.sum()), np.float32)
    up = cv2.filter2D(sparse, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    up = up + np.float32(rng.uniform(0.3, 0.75)) * (x - up)
    out = rgb.copy()
    out[:h, :w] = np.clip(np.rint(up), 0, 255).astype(np.uint8)
    return out
