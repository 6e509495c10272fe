"""Networks whose large matrices are stored in four bits, in one ``.npz`` file.

``graph`` holds the bytes of an ONNX graph that names its large matrices without their values.
Those stand beside it: ``NAME.codes`` uint8 ``[rows / 2, columns]``, two codes a byte (of the
upper half of the rows the lower one), and ``NAME.multiples`` int8 ``[rows / group, columns]``.
The value that the graph multiplies by is ``(code - 8) * multiple``, a whole number of eight
bits. Unpacking takes some tens of milliseconds, which the runtime would need seconds for.

How it multiplies is a function that the graph calls and does not hold. ``whole`` and ``floats``
hold it, and the declarations of the matrices, for arithmetic in whole numbers and in floats, each
as an ONNX model of nothing else; scores differ by some thousandths. Messages of Protocol Buffers
are joined by joining their bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read", "unpack"]


def unpack(codes: NDArray[np.uint8], multiples: NDArray[np.int8]) -> NDArray[np.int8]:
    """Whole numbers ``[rows, columns]``.

    Raises:
        ValueError: the shapes do not belong together.
    """
    half, columns = codes.shape
    groups = len(multiples)
    if multiples.shape[1] != columns or 2 * half % groups:
        raise ValueError(f"codes {codes.shape} do not fit multiples {multiples.shape}")
    whole = np.empty((2 * half, columns), np.int8)
    np.bitwise_and(codes, 15, out=whole[:half].view(np.uint8))
    np.right_shift(codes, 4, out=whole[half:].view(np.uint8))
    whole -= 8
    grouped = whole.reshape(groups, -1, columns)
    np.multiply(grouped, multiples[:, None], out=grouped)
    return whole


def read(path: Path, *, floats: bool) -> tuple[bytes, dict[str, NDArray[np.generic]]]:
    """The graph and its large matrices by name: float32 for arithmetic in ``floats``, else int8.

    Raises:
        OSError, ValueError, KeyError: the file is not what the docstring of this module says.
    """
    kind = np.float32 if floats else np.int8
    with np.load(path, allow_pickle=False) as held:
        graph = held["graph"].tobytes() + held["floats" if floats else "whole"].tobytes()
        names = [n.removesuffix(".codes") for n in held.files if n.endswith(".codes")]
        matrices: dict[str, NDArray[np.generic]] = {
            n: unpack(held[n + ".codes"], held[n + ".multiples"]).astype(kind, copy=False)
            for n in names
        }
        return graph, matrices
