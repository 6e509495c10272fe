"""Store the matrices of a transformer in four bits, those of heads in eight: same answers.

ONNX Runtime multiplies by such matrices itself (its operator ``MatMulNBits``), so they
stay small in memory too. The values are exactly those the heads were trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay_lab.train.image_net import GROUP


def packed(codes: Tensor) -> NDArray[np.uint8]:
    """Two codes a byte, the earlier one low: ``[out, in / GROUP, GROUP / 2]``."""
    pairs = codes.numpy().reshape(*codes.shape[:2], GROUP // 2, 2)
    return np.asarray(pairs[..., 0] | (pairs[..., 1] << 4), np.uint8)


def eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes -127..127 ``[out, in]`` as int8 and steps ``[out, 1]``, exact in 16 bits."""
    step = (weight.abs().amax(1, keepdim=True).clamp_min(1e-6) / 127).half().float()
    return torch.clamp(torch.round(weight / step), -127, 127).to(torch.int8), step


def store(
    path: Path, matrices: Iterable[tuple[Tensor, Tensor]],
    others: Iterable[tuple[Tensor, Tensor]] = (),
) -> int:  # fmt: skip
    """Rewrite the ONNX file at ``path``: each of ``matrices`` (codes and steps) in four bits.

    ``others`` are stored in eight (see :func:`eight_bits`), and so are whole numbers; other
    large float weights that are exact in 16 bits are stored so. All these stand behind a Cast
    that the runtime folds. Returns how many of both were found, each by its values.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    known = {}
    for codes, step in matrices:
        values = ((codes.float() - 8) * step).reshape(len(codes), -1).numpy()
        known[np.ascontiguousarray(values.T).tobytes()] = codes, step
    coarse = {(c.float() * s).numpy().tobytes(): (c, s) for c, s in others}
    held, small, casts, found = {}, [], [], 0
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        name = tensor.name
        matrix = known.get(values.tobytes()) if values.ndim == 2 else None
        if matrix is not None:
            held[name] = values.shape
            half = matrix[1].numpy().reshape(-1).astype(np.float16)
            small.append(numpy_helper.from_array(packed(matrix[0]), name + "_codes"))
            small.append(numpy_helper.from_array(half, name + "_half"))
            step_name = name + "_step"
            casts.append(
                helper.make_node("Cast", [name + "_half"], [step_name], to=TensorProto.FLOAT)
            )
            continue
        if values.tobytes() in coarse:
            found += 1
            codes, step = coarse[values.tobytes()]
            small.append(numpy_helper.from_array(codes.numpy(), name + "_codes"))
            small.append(numpy_helper.from_array(step.numpy(), name + "_step"))
            casts.append(helper.make_node("Cast", [name + "_codes"], [name + "_float"],
                                          to=TensorProto.FLOAT))  # fmt: skip
            casts.append(helper.make_node("Mul", [name + "_float", name + "_step"], [name]))
            continue
        if values.size >= 1024 and np.array_equal(values.astype(np.int8), values):
            small.append(numpy_helper.from_array(values.astype(np.int8), name + "_byte"))
            casts.append(helper.make_node("Cast", [name + "_byte"], [name], to=tensor.data_type))
            continue
        exact = np.array_equal(values.astype(np.float16).astype(values.dtype), values)
        if tensor.data_type == TensorProto.FLOAT and values.size >= 1024 and exact:
            small.append(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
            casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
        else:
            small.append(tensor)
    nodes = []
    for node in graph.node:
        shape = held.get(node.input[1]) if node.op_type == "MatMul" else None
        if shape is None:
            nodes.append(node)
            continue
        name = node.input[1]
        nodes.append(
            helper.make_node(
                "MatMulNBits", [node.input[0], name + "_codes", name + "_step"], list(node.output),
                domain="com.microsoft", N=shape[1], K=shape[0], bits=4, block_size=GROUP,
            )
        )  # fmt: skip
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*casts, *nodes])
    graph.initializer.extend(small)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(path))
    return len(held) + found
