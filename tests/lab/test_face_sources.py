from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from assay_lab.data.face_crops import decode
from assay_lab.data.face_sources import faces, frames, panel, rows

MEDIA = Path(__file__).parent.parent / "media"


def test_the_table_can_be_used() -> None:
    roles: dict[str, set[str]] = {}
    for row in rows():
        roles.setdefault(row["repository"], set()).add(row["role"])
        assert row["role"] in ("train", "held")
        assert row["label"] in ("real", "fake")
        assert re.compile(row["pattern"])
        assert int(row["per_file"]) >= 1
        if row["crop"]:
            x0, y0, x1, y1 = json.loads(row["crop"])
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
    assert all(len(r) == 1 for r in roles.values()), "a repository trains and validates"


def test_a_panel_is_the_fraction_of_the_frame() -> None:
    rgb = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    assert np.array_equal(panel(rgb, "[0.5, 0, 1, 0.25]"), rgb[:2, 6:])
    assert panel(rgb, "") is rgb


def test_what_is_no_clip_gives_no_frames() -> None:
    assert frames(b"not a clip", 3) == []
    assert frames(b"", 3) == []
    assert list(faces("a.png", b"not a picture", 3, "")) == []


def test_faces_of_a_real_clip_are_cut_with_their_landmarks() -> None:
    data = (MEDIA / "samples/portrait.mp4").read_bytes()
    assert len(frames(data, 3)) == 3
    found = list(faces("portrait.mp4", data, 3, ""))
    assert len(found) == 3
    for piece, box, points in found:
        rgb = decode(piece)
        assert rgb is not None
        assert rgb.shape[0] == rgb.shape[1] <= 320
        assert 0 <= box[0] < box[2] <= rgb.shape[1]
        assert len(points) == 10
