"""Store the matrices of a transformer in four bits, those of heads in eight.

The product unpacks the former when it loads the file (``assay.models.packed``). It multiplies by
them in whole numbers of eight bits where the processor is faster at that than in floats. What it
multiplies with is split then into two such numbers, a coarse and a fine one, in a range of its own
for every row (a token), whatever else is in the batch. One alone is twice as fast, but its rounding
grows through the blocks until another processor gives visibly other scores. The values of the
matrices are exactly those that heads were trained on.
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

_DOMAIN, _OPSET = "assay", 17


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
        half = self.constant(name + "_half", coded.step[:, 0].numpy().astype(np.float16))
        return name, self.node("Cast", [half], name + "_step", to=TensorProto.FLOAT)

    def multiply(self, x: str, matrix: tuple[str, str], output: str) -> None:
        """``x`` times the matrix, in the arithmetic that the product chooses."""
        self.node("Multiply", [x, *matrix], output, domain=_DOMAIN)


Step = tuple[str, str, str, dict[str, Any]]
"""Of a function: operator, inputs and outputs with spaces between, attributes."""


def _arithmetic(
    steps: Sequence[Step], constants: dict[str, Any], kind: int, held: dict[str, NDArray[Any]]
) -> NDArray[np.uint8]:
    """What the graph lacks: the function ``Multiply`` and the matrices as a ``kind`` of numbers.

    ``Multiply`` takes ``x [..., in]``, whole numbers ``[in, out]`` and their ``step [out]`` to
    ``y [..., out]``. ``held`` are the arrays beside the graph.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in constants.items()
    ]
    nodes += [helper.make_node(op, i.split(), o.split(), **more) for op, i, o, more in steps]
    model = ModelProto()
    opset = [helper.make_opsetid("", _OPSET)]
    model.functions.append(
        helper.make_function(_DOMAIN, "Multiply", ["x", "whole", "step"], ["y"], nodes, opset)
    )
    for name, codes in held.items():
        if name.endswith(".codes"):
            place = TensorProto(
                name=name.removesuffix(".codes"), data_type=kind,
                dims=[2 * len(codes), codes.shape[1]], data_location=TensorProto.EXTERNAL,
            )  # fmt: skip
            entry = place.external_data.add()
            entry.key, entry.value = "location", "packed"
            model.graph.initializer.append(place)
    return np.frombuffer(model.SerializeToString(), np.uint8)


def both_ways(held: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.uint8]]:
    """Both ways to multiply by the matrices ``held`` beside a graph, as models to join to it."""
    from onnx import TensorProto

    return {
        "whole": _arithmetic(*_in_whole_numbers(), TensorProto.INT8, held),
        "floats": _arithmetic(*_in_floats(), TensorProto.FLOAT, held),
    }


def _in_whole_numbers() -> tuple[list[Step], dict[str, Any]]:
    """Each row of ``x`` as two numbers of eight bits, a coarse and a fine one."""
    from onnx import TensorProto

    constants = {
        "least": np.float32(1e-12), "top": np.float32(127), "finer": np.float32(254),
        "middle": np.float32(128), "zero": np.uint8(128),
    }  # fmt: skip
    steps: list[Step] = [
        ("Abs", "x", "size", {}),
        ("ReduceMax", "size", "peak", {"axes": [-1], "keepdims": 1}),
        ("Max", "peak least", "range", {}),
        ("Div", "top range", "factor", {}),
        ("Mul", "x factor", "scaled", {}),
        ("Round", "scaled", "coarse", {}),
        ("Sub", "scaled coarse", "rest", {}),
        ("Mul", "rest finer", "fine", {}),
        ("Round", "fine", "rounded", {}),
        ("Concat", "coarse rounded", "both", {"axis": 0}),
        ("Add", "both middle", "lifted", {}),
        ("Cast", "lifted", "bytes", {"to": TensorProto.UINT8}),
        ("MatMulInteger", "bytes whole zero", "sums", {}),
        ("Cast", "sums", "floats", {"to": TensorProto.FLOAT}),
        ("Split", "floats", "first second", {"axis": 0}),
        ("Div", "second finer", "small", {}),
        ("Add", "first small", "total", {}),
        ("Div", "total factor", "by_row", {}),
        ("Mul", "by_row step", "y", {}),
    ]
    return steps, constants


def _in_floats() -> tuple[list[Step], dict[str, Any]]:
    return [("MatMul", "x whole", "sums", {}), ("Mul", "sums step", "y", {})], {}


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
    from onnx import TensorProto, helper, numpy_helper

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
    model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    written = np.frombuffer(model.SerializeToString(), np.uint8)
    # numpy sets no dates: the same network gives the same bytes
    np.savez(out, graph=written, **both_ways(to.packed), **to.packed)
    return len(held) + found
