"""The face network as it is stored, and the way back from a release to the lab."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.models import packed
from assay_lab.export import four_bits
from assay_lab.train.face_net import SIZE, Adapted, FaceNet

__all__ = ["restore", "stored", "write"]


def stored(net: FaceNet) -> list[tuple[Tensor, Tensor]]:
    """Round ``net`` to the numbers that a release holds; the matrices held in eight bits."""
    coarse = []
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
        for layer in (net.patch, net.whole):
            codes, step = four_bits.eight_bits(layer.weight)
            layer.weight.copy_(codes.float() * step)
            coarse.append((codes, step))
    for module in net.modules():
        if isinstance(module, Adapted):  # the exporter names what is part of the state
            module.register_buffer("weight", module.weight)
            module.register_buffer("bias", module.bias)
    return coarse


def write(net: FaceNet, path: Path) -> None:
    """Round ``net`` as :func:`stored` says and write it to the ``.npz`` file ``path``."""
    coarse = stored(net.eval())
    example = torch.zeros(2, 3, SIZE, SIZE)
    four_bits.write(net, example, path, ("logit", "map"), net.coded, coarse)


def restore(net: FaceNet, released: Path) -> None:
    """Fill what is trained in ``net`` with the numbers of the file ``released``.

    A file names its numbers as the exporter liked to. So a network of random numbers is exported
    in the same way, and its values tell which name stands for which parameter. The head for masks
    (``where``) serves training only and is in no release: it stays as it is.

    Raises:
        ValueError: a parameter is not found in the file, or has another shape there.
    """
    probe = FaceNet()
    own = {
        name: value
        for name, value in probe.named_parameters()
        if value.requires_grad and not name.startswith("where.")
    }
    with torch.no_grad():
        for value in own.values():
            value.copy_(torch.randn_like(value))
    with tempfile.TemporaryDirectory() as folder:
        example = Path(folder) / "probe.npz"
        write(probe, example)
        names = {v.tobytes(): k for k, v in _constants(example).items()}
    given = _constants(released)
    parameters = dict(net.named_parameters())

    def found(numbers: Tensor) -> Tensor | None:
        held = given.get(names.get(numbers.contiguous().numpy().tobytes(), ""))
        fits = held is not None and held.size == numbers.numel()
        return torch.from_numpy(held.reshape(numbers.shape).copy()) if fits else None

    for name, value in own.items():
        numbers = value.detach()
        new = found(numbers)
        if new is None and numbers.ndim == 2:  # the exporter turns some matrices over
            turned = found(numbers.T)
            halves = [found(half) for half in numbers.chunk(2, 1)]  # and the graph parts the last
            if turned is not None:
                new = turned.T
            elif all(half is not None for half in halves):
                new = torch.cat([half for half in halves if half is not None], 1)
        if new is None:
            raise ValueError(f"{released} holds no {name} of shape {tuple(value.shape)}")
        with torch.no_grad():
            parameters[name].copy_(new)


def _constants(path: Path) -> dict[str, NDArray[np.float32]]:
    """Numbers of a release by name, those in eight and sixteen bits as floats."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(packed.read(path, floats=False)[0]).graph
    raw = {
        t.name: numpy_helper.to_array(t)
        for t in graph.initializer
        if t.data_location == onnx.TensorProto.DEFAULT
    }
    found = {}
    for name, value in raw.items():
        if name.endswith("_half"):
            found[name.removesuffix("_half")] = value.astype(np.float32)
        elif name.endswith("_codes"):
            stem = name.removesuffix("_codes")
            found[stem] = value.astype(np.float32) * raw[stem + "_step"]
        else:
            found[name] = value
    return found
