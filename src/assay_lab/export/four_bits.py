"""Store the matrices of a transformer in four bits, those of heads in eight.

The product unpacks the former when it loads the file (``assay.models.packed``) and multiplies
by them in whole numbers of eight bits, which is faster than in floats. What it multiplies with
is split for that into two such numbers, a coarse and a fine one, in a range of its own for every
row (a token), whatever else is in the batch. One alone is twice as fast, but its rounding grows
through the blocks until another processor gives visibly other scores. The values of the matrices
are exactly those that heads were trained on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay_lab.export.onnx_graph import ParityError, write_onnx
from assay_lab.train.image_net import Coded


def packed(coded: Coded) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Codes and multiples in the layout of ``assay.models.packed``, transposed."""
    codes = coded.codes.reshape(len(coded.codes), -1).numpy().T
    low, high = codes.reshape(2, -1, codes.shape[1])
    multiples = coded.multiple[..., 0].numpy().T.astype(np.int8)
    return np.asarray(low | (high << 4), np.uint8), np.ascontiguousarray(multiples)


def eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes -127..127 ``[out, in]`` as int8 and steps ``[out, 1]``, exact in 16 bits."""
    step = (weight.abs().amax(1, keepdim=True).clamp_min(1e-6) / 127).half().float()
    return torch.clamp(torch.round(weight / step), -127, 127).to(torch.int8), step


class _Writer:
    """Collects nodes and constants of a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.packed: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def matrix(self, name: str, coded: Coded) -> tuple[str, str]:
        """Names of the whole numbers ``[in, out]``, which the file holds beside the graph, and
        of their steps."""
        from onnx import TensorProto

        codes, multiples = packed(coded)
        self.packed |= {name + ".codes": codes, name + ".multiples": multiples}
        place = TensorProto(
            name=name, data_type=TensorProto.INT8, dims=[2 * len(codes), codes.shape[1]],
            data_location=TensorProto.EXTERNAL,
        )  # fmt: skip
        entry = place.external_data.add()
        entry.key, entry.value = "location", "packed"
        self.constants[name] = place
        half = self.constant(name + "_half", coded.step[:, 0].numpy().astype(np.float16))
        return name, self.node("Cast", [half], name + "_step", to=TensorProto.FLOAT)

    def multiply(self, x: str, matrix: tuple[str, str], output: str) -> None:
        """``x`` times the matrix; each row of ``x`` as two numbers of eight bits."""
        from onnx import TensorProto as T
        from onnx import helper

        size = self.node("Abs", [x], output + "_size")
        peak = self.node("ReduceMax", [size], output + "_peak", axes=[-1], keepdims=1)
        least = self.constant("least", np.float32(1e-12))
        range_ = self.node("Max", [peak, least], output + "_range")
        top = self.constant("top", np.float32(127))
        factor = self.node("Div", [top, range_], output + "_factor")
        scaled = self.node("Mul", [x, factor], output + "_scaled")
        coarse = self.node("Round", [scaled], output + "_coarse")
        rest = self.node("Sub", [scaled, coarse], output + "_rest")
        finer = self.constant("finer", np.float32(254))
        fine = self.node("Mul", [rest, finer], output + "_fine")
        rounded = self.node("Round", [fine], output + "_rounded")
        both = self.node("Concat", [coarse, rounded], output + "_both", axis=0)
        middle = self.constant("middle", np.float32(128))
        lifted = self.node("Add", [both, middle], output + "_lifted")
        bytes_ = self.node("Cast", [lifted], output + "_uint8", to=T.UINT8)
        zero = self.constant("zero", np.uint8(128))
        sums = self.node("MatMulInteger", [bytes_, matrix[0], zero], output + "_sums")
        floats = self.node("Cast", [sums], output + "_floats", to=T.FLOAT)
        parts = [output + "_first", output + "_second"]
        self.nodes.append(helper.make_node("Split", [floats], parts, axis=0))
        small = self.node("Div", [parts[1], finer], output + "_small")
        total = self.node("Add", [parts[0], small], output + "_total")
        by_row = self.node("Div", [total, factor], output + "_by_row")
        self.node("Mul", [by_row, matrix[1]], output)


def write(
    net: nn.Module, example: Tensor, path: Path, outputs: Sequence[str],
    matrices: Sequence[Coded], others: Sequence[tuple[Tensor, Tensor]] = (),
) -> None:  # fmt: skip
    """Export ``net`` to the ``.npz`` file ``path`` by :func:`store`.

    Raises ParityError when a matrix is not found in the graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        write_onnx(net, example, graph, outputs)
        found, given = store(graph, path, matrices, others), len(matrices) + len(others)
    if found != given:
        raise ParityError(f"{found} of {given} matrices were found in the graph")


def store(
    path: Path, out: Path, matrices: Iterable[Coded], others: Iterable[tuple[Tensor, Tensor]] = ()
) -> int:
    """Write the ONNX file at ``path`` to the ``.npz`` file ``out``: ``matrices`` in four bits.

    ``others`` are stored in eight (see :func:`eight_bits`), and so are whole numbers; other
    large float weights that are exact in 16 bits are stored so. These stand behind nodes
    that the runtime folds. Returns how many of both were found, each by its values.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load(str(path))
    graph, to = model.graph, _Writer()
    known = {np.ascontiguousarray(m.value().numpy().T).tobytes(): m for m in matrices}
    coarse = {}
    for codes, step in others:  # the exporter turns some matrices over
        for c, s in ((codes, step), (codes.T.contiguous(), step.T)):
            coarse[(c.float() * s).numpy().tobytes()] = c, s
    held: dict[str, tuple[str, str]] = {}
    found = 0
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        name = tensor.name
        matrix = known.get(values.tobytes()) if values.ndim == 2 else None
        if matrix is not None:
            held[name] = to.matrix(name, matrix)
        elif values.tobytes() in coarse:
            found += 1
            codes, step = coarse[values.tobytes()]
            byte = to.constant(name + "_codes", codes.numpy())
            floats = to.node("Cast", [byte], name + "_float", to=TensorProto.FLOAT)
            to.node("Mul", [floats, to.constant(name + "_step", step.numpy())], name)
        elif values.size >= 1024 and np.array_equal(values.astype(np.int8), values):
            byte = to.constant(name + "_byte", values.astype(np.int8))
            to.node("Cast", [byte], name, to=tensor.data_type)
        elif (
            tensor.data_type == TensorProto.FLOAT
            and values.size >= 1024
            and np.array_equal(values.astype(np.float16).astype(values.dtype), values)
        ):
            half = to.constant(name + "_half", values.astype(np.float16))
            to.node("Cast", [half], name, to=TensorProto.FLOAT)
        else:
            to.constants[name] = tensor
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in held:
            to.multiply(node.input[0], held[node.input[1]], node.output[0])
        else:
            to.nodes.append(node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(to.nodes)
    graph.initializer.extend(to.constants.values())
    # numpy sets no dates: the same network gives the same bytes
    np.savez(out, graph=np.frombuffer(model.SerializeToString(), np.uint8), **to.packed)
    return len(held) + found
