"""The only place that runs networks (ONNX Runtime on the CPU)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.errors import ModelError
from assay.models import packed, store
from assay.models.processor import multiplies_bytes

__all__ = ["open_network", "run"]


def run(
    key: str, inputs: Mapping[str, NDArray[Any]], *, batch: int = 16
) -> dict[str, NDArray[np.float32]]:
    """Run model ``key``; returns every output by name.

    All inputs share their first axis, which is processed ``batch`` items at a time so
    that memory stays bounded.

    Raises:
        ModelError: the model is missing or altered, or refuses the input.
    """
    session = _session(key)
    names = [output.name for output in session.get_outputs()]
    count = len(next(iter(inputs.values())))
    parts: list[list[NDArray[np.float32]]] = []
    try:
        for start in range(0, count, batch):
            feed = {name: value[start : start + batch] for name, value in inputs.items()}
            parts.append(session.run(names, feed))
    except Exception as error:  # onnxruntime raises its own unrelated types
        raise ModelError(f"model {key!r} failed: {error}") from error
    if not parts:
        raise ModelError(f"model {key!r} was given no input")
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


@cache
def _session(key: str) -> Any:
    path = store.model_path(key)
    try:
        # Fixed threads: results must not depend on the machine, and jobs run side by side.
        return open_network(path, min(2, os.cpu_count() or 1))
    except Exception as error:  # as above
        raise ModelError(f"{path}: ONNX Runtime cannot load it: {error}") from error


def open_network(path: Path, threads: int, *, floats: bool | None = None) -> Any:
    """ONNX Runtime session of an ``.onnx`` file or of an ``.npz`` file (see ``packed``).

    ``floats``: what an ``.npz`` file multiplies in; ``None`` is what this processor is faster at.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    graph: str | bytes = str(path)
    if path.suffix == ".npz":
        if floats is None:
            floats = not multiplies_bytes()
        graph, matrices = packed.read(path, floats=floats)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(m) for m in matrices.values()]
        options.add_external_initializers(list(matrices), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
