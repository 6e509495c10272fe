"""Matrices in four bits come back as the whole numbers that were packed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.models import packed


def test_every_code_and_multiple_comes_back() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 16, (128, 5), np.uint8)
    multiples = rng.integers(1, 8, (2, 5)).astype(np.int8)
    whole = packed.unpack(codes[:64] | codes[64:] << 4, multiples)
    one_by_one = [
        [(int(codes[r, c]) - 8) * int(multiples[r // 64, c]) for c in range(5)] for r in range(128)
    ]
    assert whole.tolist() == one_by_one
    assert whole.dtype == np.int8


@pytest.mark.parametrize("shape", [(2, 4), (3, 5)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        packed.unpack(np.zeros((64, 5), np.uint8), np.ones(shape, np.int8))


def test_a_file_without_a_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, **{"a.codes": np.zeros((4, 2), np.uint8), "a.multiples": np.ones((1, 2), "i1")})
    with pytest.raises(KeyError, match="graph"):
        packed.read(path, floats=False)
    path.write_bytes(b"PK not an archive")
    with pytest.raises(ValueError, match=r"."):
        packed.read(path, floats=False)
