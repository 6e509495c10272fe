"""Face forgeries made from real faces alone.

``self_blend`` follows the idea of Shiohara and Yamasaki, "Detecting deepfakes
with self-blended images" (CVPR 2022): blend two slightly different copies of
one picture inside a deformed face mask, so that a detector learns the traces
of blending and not of one generator. ``cross_blend`` puts another person's
face or face parts in (colour-matched, optionally with Poisson blending, Perez
et al. 2003), ``inner_edit`` changes only the texture inside the face and
``upsampling_trace`` imitates the periodic residue of learned upsampling.

Pictures are RGB ``uint8`` [H, W, 3]; ``points`` is [5, 2] in pixels: left eye,
right eye, nose, left and right mouth corner as seen in the picture. Masks are
``float32`` [H, W] in [0, 1]: the share taken from the changed copy.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from assay_lab.data import corruptions as c

Image = NDArray[np.uint8]
Mask = NDArray[np.float32]
Points = NDArray[np.float64]
Rng = np.random.Generator

# A mean frontal face in a frame where the eyes lie at x = -1 and 1 on y = 0.
FIVE = np.array([[-1, 0], [1, 0], [0, 1.2], [-0.8, 2.15], [0.8, 2.15]], float)
SHAPES: dict[str, NDArray[np.float64]] = {
    "face": np.array(
        [[-1.75, -0.9], [-0.9, -1.3], [0.9, -1.3], [1.75, -0.9], [2.0, 0.3], [1.8, 1.6],
         [1.3, 2.7], [0.6, 3.25], [-0.6, 3.25], [-1.3, 2.7], [-1.8, 1.6], [-2.0, 0.3]]
    ),
    "no_brow": np.array(
        [[-1.8, -0.4], [0, -0.5], [1.8, -0.4], [1.8, 1.6], [1.3, 2.7], [0.6, 3.2], [-0.6, 3.2],
         [-1.3, 2.7], [-1.8, 1.6]]
    ),
    "inner": np.array(
        [[-1.5, -0.6], [0, -0.7], [1.5, -0.6], [1.45, 0.6], [1.15, 2.3], [0.5, 2.75],
         [-0.5, 2.75], [-1.15, 2.3], [-1.45, 0.6]]
    ),
    "eyes": np.array([[-1.65, -0.6], [1.65, -0.6], [1.6, 0.45], [0, 0.6], [-1.6, 0.45]]),
    "left_eye": np.array([[-1.6, -0.5], [-0.4, -0.5], [-0.35, 0.35], [-1, 0.45], [-1.55, 0.35]]),
    "right_eye": np.array([[1.6, -0.5], [0.4, -0.5], [0.35, 0.35], [1, 0.45], [1.55, 0.35]]),
    "nose": np.array([[-0.3, 0.1], [0.3, 0.1], [0.65, 1.35], [0, 1.6], [-0.65, 1.35]]),
    "mouth": np.array(
        [[-1.15, 1.9], [0, 1.6], [1.15, 1.9], [1.1, 2.4], [0.4, 2.8], [-0.4, 2.8], [-1.1, 2.4]]
    ),
    "lower": np.array(
        [[-1.6, 1.1], [0, 0.9], [1.6, 1.1], [1.3, 2.6], [0.6, 3.2], [-0.6, 3.2], [-1.3, 2.6]]
    ),
    "left": np.array([[0, -1.2], [-1.7, -0.8], [-1.9, 0.4], [-1.3, 2.6], [-0.4, 3.1], [0, 2.4]]),
    "right": np.array([[0, -1.2], [1.7, -0.8], [1.9, 0.4], [1.3, 2.6], [0.4, 3.1], [0, 2.4]]),
}  # fmt: skip
WHOLE = ("face", "face", "no_brow", "no_brow", "inner", "inner", "lower")
FEATURES = ("left_eye", "right_eye", "nose", "mouth")
PARTS = ("eyes", "nose", "mouth", "lower", "left", "right", "inner")


def face_frame(points: Points) -> NDArray[np.float64]:
    """Affine map [2, 3] from the mean-face frame to pixels, by least squares on five points."""
    a = np.c_[FIVE, np.ones(5)]
    found = np.linalg.lstsq(a, np.asarray(points, float).reshape(5, 2), rcond=None)[0]
    return np.asarray(found.T, np.float64)


def hull_mask(shape: tuple[int, int], points: Points, name: str, rng: Rng) -> Mask:
    """Filled hull of a named face region with jittered corners, hard edges."""
    outline = SHAPES[name] + rng.normal(0, 0.1, SHAPES[name].shape)
    corners = np.c_[outline, np.ones(len(outline))] @ face_frame(points).T
    mask = np.zeros(shape, np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(corners).astype(np.int32)), 1.0)
    return mask


def _smooth_field(shape: tuple[int, int], rng: Rng, cells: int, amount: float) -> Mask:
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32) * amount
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)


def warp(values: NDArray[Any], dx: Mask, dy: Mask) -> NDArray[Any]:
    """Move pixels by a smooth field (pixels), mirrored at the border."""
    h, w = values.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return cv2.remap(values, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def soften(mask: Mask, rng: Rng, size: float) -> Mask:
    """Deform the edge, blur it twice and scale the opacity, as hand and code blending do."""
    shape = (mask.shape[0], mask.shape[1])
    amount = 0.06 * size
    dx, dy = (_smooth_field(shape, rng, 6, amount) for _ in range(2))
    out: NDArray[Any] = warp(mask, dx, dy).astype(np.float32)
    first = size * float(rng.uniform(0.01, 0.1))
    out = np.asarray(cv2.GaussianBlur(out, (0, 0), first))
    if rng.random() < 0.5:  # pulls the soft edge inside, like eroding before blurring
        out = np.clip(2 * out - 1, 0, 1)
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), size * float(rng.uniform(0.01, 0.06))))
    peak = float(out.max())
    if peak > 0.05:
        out = out / peak
    opacity = float(rng.choice([0.5, 0.75, 1, 1, 1, 1]))
    return np.asarray(out * opacity, np.float32)


def blend(inside: Image, outside: Image, mask: Mask) -> Image:
    """``mask * inside + (1 - mask) * outside``, rounded; ``outside`` itself where the mask is 0."""
    m = mask[..., None]
    mixed = m * inside.astype(np.float32) + (1 - m) * outside.astype(np.float32)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _style(rgb: Image, rng: Rng) -> Image:
    """A slight change of colour and of frequency content."""
    if rng.random() < 0.8:
        g = rng.uniform(0.92, 1.08, 3)
        rgb = c.colour(rgb, (float(g[0]), float(g[1]), float(g[2])), float(rng.uniform(0.75, 1.25)))
    if rng.random() < 0.6:
        gain, offset, gamma = rng.uniform(0.92, 1.08), rng.uniform(-10, 10), rng.uniform(0.88, 1.14)
        rgb = c.tone(rgb, float(gain), float(offset), float(gamma))
    how = rng.random()
    if how < 0.35:
        up = c.INTERPOLATIONS[int(rng.integers(1, 4))]
        rgb = c.down_up(rgb, float(rng.uniform(0.3, 0.85)), up=up)
    elif how < 0.55:
        rgb = c.sharpen(rgb, float(rng.uniform(0.3, 1.2)))
    elif how < 0.7:
        rgb = c.blur(rgb, float(rng.uniform(0.4, 1.4)))
    elif how < 0.8:
        rgb = c.jpeg(rgb, int(rng.integers(35, 90)))
    return rgb


def _span(points: Points) -> float:
    """Distance in pixels that stands for the size of the face (frame units times four)."""
    frame = face_frame(points)[:, :2]
    return 4.0 * float(np.sqrt(abs(np.linalg.det(frame))) + 1e-6)


def self_blend(rgb: Image, points: Points, rng: Rng) -> tuple[Image, Mask]:
    """One self-blended image and its mask. The background is that of ``rgb`` or a restyled copy."""
    h, w = rgb.shape[:2]
    size = _span(points)
    inside: NDArray[Any] = rgb
    outside = rgb
    if rng.random() < 0.5:
        inside = _style(inside, rng)
    else:
        outside = _style(outside, rng)
        if rng.random() < 0.3:
            inside = _style(inside, rng)
    centre = (float(points[:, 0].mean()), float(points[:, 1].mean()))
    angle, scale = float(rng.normal(0, 1.5)), float(rng.uniform(0.95, 1.06))
    turn = np.array(cv2.getRotationMatrix2D(centre, angle, scale), np.float64)
    turn[:, 2] = turn[:, 2] + rng.uniform(-0.03, 0.03, 2) * size
    inside = cv2.warpAffine(
        inside, turn, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    if rng.random() < 0.5:
        dx, dy = (_smooth_field((h, w), rng, 5, 0.02 * size) for _ in range(2))
        inside = warp(inside, dx, dy)
    names = WHOLE if rng.random() < 0.8 else PARTS
    mask = soften(hull_mask((h, w), points, str(rng.choice(names)), rng), rng, size)
    return blend(inside.astype(np.uint8), outside, mask), mask


def inner_edit(rgb: Image, points: Points, rng: Rng) -> tuple[Image, Mask]:
    """Resample, smooth, sharpen or denoise inside the face only; or bend its shape a little."""
    h, w = rgb.shape[:2]
    size = _span(points)
    how = int(rng.integers(5))
    if how == 0:
        inside = c.down_up(rgb, float(rng.uniform(0.25, 0.6)))
    elif how == 1:
        inside = cv2.bilateralFilter(rgb, 7, float(rng.uniform(20, 60)), 5).astype(np.uint8)
        inside = c.sharpen(inside, float(rng.uniform(0, 0.8)))
    elif how == 2:
        inside = c.sharpen(
            c.down_up(rgb, float(rng.uniform(0.35, 0.7))), float(rng.uniform(0.8, 2))
        )
    elif how == 3:
        inside = c.jpeg(rgb, int(rng.integers(15, 50)))
    else:  # an expression or shape warp: strong, smooth, local
        dx, dy = (
            _smooth_field((h, w), rng, int(rng.integers(4, 9)), 0.07 * size) for _ in range(2)
        )
        inside = warp(rgb, dx, dy).astype(np.uint8)
    names = WHOLE if rng.random() < 0.6 else PARTS
    mask = soften(hull_mask((h, w), points, str(rng.choice(names)), rng), rng, size)
    return blend(inside, rgb, mask), mask


def match_colour(inside: Image, outside: Image, mask: Mask, strength: float) -> Image:
    """Move mean and deviation under the mask to those of ``outside`` (Reinhard et al. 2001)."""
    where = (mask > 0.5).astype(np.uint8)
    if int(where.sum()) < 16:
        return inside
    a, b = (cv2.cvtColor(v, cv2.COLOR_RGB2LAB) for v in (inside, outside))
    (ma, sa), (mb, sb) = (cv2.meanStdDev(v, mask=where) for v in (a, b))
    levels = np.arange(256.0)[:, None]
    moved = (levels - ma[:, 0]) * np.clip((sb + 1e-3) / (sa + 1e-3), 0.6, 1.6)[:, 0] + mb[:, 0]
    table = np.clip(levels + strength * (moved - levels), 0, 255).astype(np.uint8)
    out = cv2.LUT(a, table[:, None])
    return np.asarray(cv2.cvtColor(out, cv2.COLOR_LAB2RGB), np.uint8)


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """Least-squares scale, rotation and shift [2, 3] that takes ``source`` points to ``target``."""
    a = np.asarray(source, float).reshape(-1, 2) @ np.array([1, 1j])
    b = np.asarray(target, float).reshape(-1, 2) @ np.array([1, 1j])
    ca, cb = a - a.mean(), b - b.mean()
    z = np.vdot(ca, cb) / max(float(np.vdot(ca, ca).real), 1e-9)
    t = b.mean() - z * a.mean()
    return np.array([[z.real, -z.imag, t.real], [z.imag, z.real, t.imag]])


def cross_blend(
    rgb: Image, points: Points, other: Image, other_points: Points, rng: Rng
) -> tuple[Image, Mask]:
    """Another person's face, or one part of it, set into ``rgb``."""
    h, w = rgb.shape[:2]
    size = _span(points)
    part = rng.random() < 0.55
    name = str(rng.choice(PARTS if part else WHOLE))
    turn = similarity(other_points, points)
    if not np.isfinite(turn).all():
        return self_blend(rgb, points, rng)
    moved = cv2.warpAffine(
        other, turn, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    inside = np.asarray(moved, np.uint8)
    hard = hull_mask((h, w), points, name, rng)
    inside = match_colour(inside, rgb, hard, float(rng.uniform(0.6, 1.0)))
    if rng.random() < 0.3:
        inside = _style(inside, rng)
    mask = soften(hard, rng, size)
    if rng.random() < 0.3:
        try:
            return _poisson(inside, rgb, hard), mask
        except cv2.error:  # a mask that touches the border has no valid seam
            pass
    return blend(inside, rgb, mask), mask


def part_blend(
    rgb: Image, points: Points, other: Image, other_points: Points, rng: Rng
) -> tuple[Image, Mask]:
    """Single eyes, nose or mouth of another person set in one by one, as an editor works.

    Each part is moved onto its own place (so that its neighbours need not fit), scaled
    and turned a little, matched in colour to what it replaces, and blended with an edge
    between hard and wide, or without a seam (Poisson). The person may also be the same:
    then only the traces of editing tell.
    """
    h, w = rgb.shape[:2]
    size = _span(points)
    fit = similarity(other_points, points)
    if not np.isfinite(fit).all():
        return self_blend(rgb, points, rng)
    chosen = [n for n in FEATURES if rng.random() < 0.45] or [str(rng.choice(FEATURES))]
    if rng.random() < 0.25:
        chosen = ["eyes"] if rng.random() < 0.5 else ["lower"]
    out, total = rgb, np.zeros((h, w), np.float32)
    strength, restyled = float(rng.uniform(0.5, 1.0)), rng.random() < 0.5
    looks = _style(other, rng) if restyled else other
    for name in chosen:
        place = np.asarray(SHAPES[name].mean(0))
        here = face_frame(points) @ np.r_[place, 1.0]
        there = fit @ np.r_[face_frame(other_points) @ np.r_[place, 1.0], 1.0]
        angle, scale = float(rng.normal(0, 3)), float(rng.uniform(0.88, 1.14))
        turn = np.array(
            cv2.getRotationMatrix2D((float(there[0]), float(there[1])), angle, scale), np.float64
        )
        turn[:, 2] += here - there + rng.normal(0, 0.012, 2) * size
        whole = turn @ np.r_[fit, [[0.0, 0.0, 1.0]]]
        kind = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
        moved = cv2.warpAffine(looks, whole, (w, h), flags=kind, borderMode=cv2.BORDER_REFLECT_101)
        hard = hull_mask((h, w), points, name, rng)
        inside = match_colour(np.asarray(moved, np.uint8), out, hard, strength)
        edge = np.asarray(cv2.GaussianBlur(hard, (0, 0), size * float(rng.uniform(0.004, 0.05))))
        if rng.random() < 0.25:
            try:
                out = _poisson(inside, out, hard)
            except cv2.error:  # a mask that touches the border has no valid seam
                out = blend(inside, out, edge)
        else:
            out = blend(inside, out, edge)
        total = np.maximum(total, edge)
    return out, np.minimum(total, 1)


def _poisson(inside: Image, outside: Image, hard: Mask) -> Image:
    binary = (hard > 0.5).astype(np.uint8) * 255
    binary[:2], binary[-2:], binary[:, :2], binary[:, -2:] = 0, 0, 0, 0
    x, y, bw, bh = cv2.boundingRect(binary)
    if bw < 8 or bh < 8:
        return blend(inside, outside, hard)
    centre = (x + bw // 2, y + bh // 2)
    return cv2.seamlessClone(inside, outside, binary, centre, cv2.NORMAL_CLONE).astype(np.uint8)


def upsampling_trace(rgb: Image, rng: Rng) -> tuple[Image, Mask]:
    """The whole picture through zero-insertion upsampling with an imperfect random kernel.

    Half the resolution is thrown away and rebuilt by a 4x4 transposed
    convolution whose weights are near bilinear, which leaves the periodic
    spectral peaks of Odena et al., "Deconvolution and checkerboard artifacts"
    (2016), and a touch of the sharpening that decoders learn.
    """
    h, w = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    small = cv2.resize(rgb, (w // 2, h // 2), interpolation=cv2.INTER_AREA).astype(np.float32)
    wide = np.zeros((h, w, 3), np.float32)
    wide[::2, ::2] = small
    line = np.array([0.25, 0.75, 0.75, 0.25])
    kernel = np.outer(line, line) * (1 + rng.normal(0, 0.12, (4, 4)))
    for a in range(2):  # each phase must keep the mean, or the result is a mere grid
        for b in range(2):
            kernel[a::2, b::2] /= kernel[a::2, b::2].sum() * float(rng.uniform(0.985, 1.015))
    made = cv2.filter2D(wide, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    made = cv2.addWeighted(made, 1.6, cv2.GaussianBlur(made, (0, 0), 1.2), -0.6, 0)
    out = rgb.copy()
    out[:h, :w] = np.clip(np.rint(made), 0, 255)
    return out, np.ones(rgb.shape[:2], np.float32)
