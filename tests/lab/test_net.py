"""The face network: its own backward pass, and the way back from a released model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assay.models.runtime import run  # noqa: E402
from assay.models.store import ZOO  # noqa: E402
from assay_lab.train import net as n  # noqa: E402


@pytest.mark.parametrize(
    ("kernel", "stride", "share"), [(3, 1, 1), (5, 1, 1), (3, 2, 1), (5, 2, 1), (5, 1, 2)]
)
def test_depthwise_gradients_are_those_of_torch(
    monkeypatch: pytest.MonkeyPatch, kernel: int, stride: int, share: int
) -> None:
    monkeypatch.setattr(n.DepthwiseConv, "share", share)
    torch.manual_seed(0)
    x = torch.randn(4, 6, 12, 12, requires_grad=True)
    if share > 1:  # an estimate from half the pairs is exact where the pairs are alike
        x = x[:2].detach().repeat(2, 1, 1, 1).requires_grad_()
    conv = n.SamePadConv(6, 6, kernel, stride, groups=6)
    results = []
    for mode in (True, False):
        conv.train(mode)
        conv.zero_grad()
        x.grad = None
        y = conv(x)
        (y * torch.linspace(-1, 1, y[0].numel()).view(y.shape[1:])).sum().backward()
        assert conv.weight.grad is not None
        assert conv.bias is not None
        assert x.grad is not None
        results.append((y, x.grad, conv.weight.grad.clone(), conv.bias.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_released_model_is_loaded_whole(tmp_path: Path) -> None:
    from assay.analyzers.image.face_scoring import MODEL

    pytest.importorskip("onnx")
    net = n.FaceNet()
    n.load_released(net, ZOO / MODEL)
    net.eval()
    x = np.random.default_rng(0).normal(size=(2, 3, 192, 192)).astype(np.float32)
    with torch.no_grad():
        both = [net(torch.from_numpy(v.copy()))[0].numpy() for v in (x, x[..., ::-1])]
    np.testing.assert_allclose(run(MODEL, {"input": x})["logit"], sum(both) / 2, atol=1e-3)


def test_another_network_is_refused() -> None:
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="another network"):
        n.load_released(n.FaceNet(), ZOO / "face-detector-v1")


def test_a_run_ends_its_schedule_in_time(tmp_path: Path) -> None:
    from assay_lab.train import loop

    def make(step: int) -> dict[str, torch.Tensor]:
        return {"x": torch.full((2, 3), float(step))}

    def loss(net: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict]:
        return net(batch["x"]).square().mean(), {}

    def steps(minutes: float) -> int:
        plan = loop.Plan(40, threads=1, workers=0, minutes=minutes)
        loop.fit(torch.nn.Linear(3, 1), loss, make, tmp_path / str(minutes), plan)
        state = torch.load(tmp_path / str(minutes) / "last.pt", weights_only=True)
        return int(state["step"])

    assert steps(0.0) == 40
    assert steps(1e-6) == 1
    plan = loop.Plan(1000, lr=1.0, warmup=10)
    assert loop.rate(0, plan, 0.0) == pytest.approx(0.1)
    assert loop.rate(500, plan, 0.5) == pytest.approx(0.505)
    assert loop.rate(999, plan, 1.0) == pytest.approx(0.01)
