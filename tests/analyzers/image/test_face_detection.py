from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from assay.analyzers.image.face_detection import (
    DetectedFace,
    _windows,
    detect_faces,
    overlap,
)
from assay.analyzers.image.face_quality import _HEAD, measure, pose, unsuitable

Pixels = NDArray[np.uint8]
Load = Callable[[str], Pixels]

ASTRONAUT = (178, 57, 95, 120)  # the face, by eye


def resized(pixels: Pixels, ratio: float) -> Pixels:
    size = (round(pixels.shape[1] * ratio), round(pixels.shape[0] * ratio))
    return np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.LANCZOS))


def test_finds_the_face_and_its_landmarks(photograph: Load) -> None:
    (face,) = detect_faces(photograph("astronaut"))
    assert overlap(face.box, ASTRONAUT) > 0.7
    assert face.score > 0.9
    eye_left, eye_right, nose, mouth_left, mouth_right = face.landmarks
    assert eye_left[0] < nose[0] < eye_right[0]
    assert eye_left[1] < nose[1] < mouth_left[1]
    assert mouth_left[0] < mouth_right[0]


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0, 5.0])
def test_place_does_not_depend_on_scale(photograph: Load, ratio: float) -> None:
    faces = detect_faces(resized(photograph("astronaut"), ratio))
    assert len(faces) == 1
    back = tuple(v / ratio for v in faces[0].box)
    assert overlap(back, ASTRONAUT) > 0.6  # type: ignore[arg-type]


def test_mirrored_picture_gives_mirrored_face(photograph: Load) -> None:
    pixels = photograph("astronaut")
    (face,) = detect_faces(pixels)
    (other,) = detect_faces(np.ascontiguousarray(pixels[:, ::-1]))
    assert abs((512 - other.box[0] - other.box[2]) - face.box[0]) < 6
    swapped = other.landmarks[[1, 0, 2, 4, 3]]
    assert np.abs((512 - swapped[:, 0]) - face.landmarks[:, 0]).max() < 6


def test_face_that_fills_the_picture(photograph: Load) -> None:
    tight = np.ascontiguousarray(photograph("astronaut")[62:172, 180:270])
    for ratio in (1, 6):
        faces = detect_faces(resized(tight, ratio))
        assert len(faces) == 1
        assert faces[0].box[2] > 0.6 * tight.shape[1] * ratio


def test_small_faces_of_a_large_picture_need_the_fine_look(photograph: Load) -> None:
    scene = np.full((1500, 2200, 3), 120, np.uint8)
    small = resized(photograph("astronaut")[:300, 80:380], 0.33)  # face of about 40 px
    for x in (200, 1100, 1900):
        scene[700 : 700 + small.shape[0], x : x + small.shape[1]] = small
    assert len(detect_faces(scene)) == 3
    assert len(detect_faces(scene, fine=False)) < 3


def test_many_faces_once_each_and_bounded(photograph: Load) -> None:
    tiled = np.tile(photograph("astronaut")[20:220, 120:320], (3, 4, 1))
    faces = detect_faces(tiled)
    assert len(faces) == 12
    assert all(overlap(a.box, b.box) < 0.4 for a in faces for b in faces if a is not b)
    assert len(detect_faces(tiled, max_faces=5)) == 5


def test_very_long_picture(photograph: Load) -> None:
    long = np.full((9000, 512, 3), 90, np.uint8)
    long[6000:6512] = photograph("astronaut")
    (face,) = detect_faces(long)
    assert overlap(face.box, (178, 6057, 95, 120)) > 0.6


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "grass"])
def test_no_face_where_there_is_none(photograph: Load, name: str) -> None:
    pixels = photograph(name)
    if pixels.ndim == 2 or pixels.shape[2] != 3:
        from skimage import data

        pixels = np.repeat(getattr(data, name)()[..., None], 3, axis=2)
    assert detect_faces(pixels) == ()


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (8, 9000), (4000, 9), (33, 31)])
def test_awkward_shapes(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detect_faces(noise) == ()


@pytest.mark.parametrize(("width", "height"), [(100, 100), (5000, 1000), (3, 65000), (1000, 2501)])
def test_windows_cover_the_picture(width: int, height: int) -> None:
    windows = _windows(width, height)
    assert len(windows) <= 9
    covered = np.zeros((height, width), bool)
    for left, top, right, bottom in windows:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered[top:bottom, left:right] = True
    assert covered.all()


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (-50, 10, 5), (10, -20, 30)])
def test_pose_of_a_turned_head(angles: tuple[float, float, float]) -> None:
    yaw, pitch, roll = np.radians(angles)
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [
        [1, 0, 0],
        [0, np.cos(pitch), -np.sin(pitch)],
        [0, np.sin(pitch), np.cos(pitch)],
    ]
    about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    turned = _HEAD @ (np.array(about_z) @ np.array(about_x) @ np.array(about_y)).T
    found = pose((turned[:, :2] * 1.7 + 200).astype(np.float32))
    # Order of the turns differs; only single turns must agree exactly.
    tolerance = 0.5 if sum(a != 0 for a in angles) <= 1 else 12
    assert np.abs(np.array(found) - angles).max() < tolerance


def test_pose_of_degenerate_points() -> None:
    assert pose(np.zeros((5, 2), np.float32)) == (0.0, 0.0, 0.0)


def test_quality_reasons(photograph: Load) -> None:
    pixels = photograph("astronaut")
    (face,) = detect_faces(pixels)
    good = measure(pixels, face)
    assert unsuitable(good, least_size=48) is None
    assert unsuitable(good, least_size=400) == "face_too_small"
    dark = measure((pixels // 20).astype(np.uint8), face)
    assert unsuitable(dark, least_size=48) == "face_too_dark"
    bright = measure(np.clip(pixels.astype(int) + 200, 0, 255).astype(np.uint8), face)
    assert unsuitable(bright, least_size=48) == "face_overexposed"
    blurred = resized(resized(pixels, 1 / 24), 24)
    assert unsuitable(measure(blurred, face), least_size=48) == "face_blurred"
    half = np.ascontiguousarray(pixels[:, 225:])
    cut = type(face)(
        (0, face.box[1], 50, face.box[3]), face.landmarks - np.float32([225, 0]), face.score
    )
    assert unsuitable(measure(half, cut), least_size=48) == "face_cut_off"


def test_a_face_turned_beyond_the_gate_is_not_judged() -> None:
    pixels = np.full((200, 200, 3), 128, np.uint8)
    pixels[::2, ::3] = 90
    points = np.array([[80, 90], [120, 90], [100, 110], [85, 130], [115, 130]], np.float32)
    turned = points.copy()
    turned[2, 0] += 28  # 0.7 eye distances off
    for landmarks, reason in ((points, None), (turned, "face_in_profile")):
        face = DetectedFace(box=(60.0, 60.0, 80.0, 90.0), landmarks=landmarks, score=0.9)
        quality = measure(pixels, face)
        assert unsuitable(quality, least_size=40, most_turn=0.6) == reason
