"""Write a torch network as ONNX and prove that both give the same numbers."""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from assay.models.runtime import open_network


class ParityError(Exception):
    """The exported graph does not reproduce the network."""


def write_onnx(
    net: nn.Module,
    example: torch.Tensor,
    path: Path,
    outputs: Sequence[str],
    *,
    opset: int = 17,
) -> None:
    """Export ``net`` (evaluation mode) with a free batch dimension, weights inside the file."""
    net.eval()
    with warnings.catch_warnings():
        # The other exporter needs a package more and folds the weights differently.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net,
            (example,),
            str(path),
            input_names=["input"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in ("input", *outputs)},
            opset_version=opset,
            dynamo=False,
            do_constant_folding=True,
        )


@functools.lru_cache(maxsize=4)
def _session(path: Path, written: tuple[int, int], threads: int) -> Any:
    del written  # only part of the key: a file written anew is loaded anew
    return open_network(path, threads)


def run_onnx(path: Path, x: NDArray[np.float32], threads: int = 1) -> list[NDArray[np.float32]]:
    """Outputs of the graph on ``x``, with ``threads`` intra-op threads on the CPU."""
    found = path.stat()
    session = _session(path, (found.st_mtime_ns, found.st_size), threads)
    return list(session.run(None, {"input": x}))


def check_parity(
    net: nn.Module, path: Path, x: NDArray[np.float32], tolerance: float = 1e-4, outputs: int = 0
) -> float:
    """Largest difference of any output on ``x``, or of the first ``outputs`` of them.

    Raises ParityError above ``tolerance``.
    """
    with torch.no_grad():
        ours = [t.numpy() for t in net.eval()(torch.from_numpy(x))]
    theirs = run_onnx(path, x)
    if len(ours) != len(theirs):
        raise ParityError(f"{len(ours)} outputs in torch, {len(theirs)} in the graph")
    pairs = list(zip(ours, theirs, strict=True))[: outputs or None]
    worst = max(float(np.abs(a - b).max()) for a, b in pairs)
    if not worst <= tolerance:
        raise ParityError(f"outputs differ by {worst:.2e}")
    return worst


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
