"""The face network: frozen blocks with an addition, its map, its stored form and the way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assay_lab.train.face_net import SIZE, Adapted, FaceNet  # noqa: E402


def test_nothing_is_added_before_training() -> None:
    base = torch.nn.Linear(24, 12)
    adapted, x = Adapted(base, 4).eval(), torch.randn(5, 24)
    torch.testing.assert_close(adapted(x), base(x))
    with torch.no_grad():
        adapted.up.normal_()
        added = base(x) + x @ (adapted.up @ adapted.down).T
    torch.testing.assert_close(adapted(x), added)
    assert {n for n, _ in adapted.named_parameters()} == {"up", "down"}
    assert set(adapted.state_dict()) == {"up", "down"}, "checkpoints hold what is trained"


def test_the_map_is_the_logit_without_its_bias() -> None:
    torch.manual_seed(0)
    net = FaceNet().eval()
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        logit, share = net(x)
        trained, where = net.training_outputs(x)
    assert share.shape == where.shape == (2, 10, 10)
    torch.testing.assert_close(share.sum((1, 2)) + net.out.bias, logit)
    torch.testing.assert_close(trained, logit, atol=1e-4, rtol=1e-4)


def test_only_later_blocks_learn() -> None:
    net = FaceNet().train()
    with torch.autocast("cpu", torch.bfloat16):
        logit, where = net.training_outputs(torch.randn(2, 3, SIZE, SIZE))
    (logit.sum() + where.sum()).backward()
    moved = {n.split(".")[1] for n, p in net.features.named_parameters() if p.grad is not None}
    assert moved == {"2", "3", "4", "5"}


def test_the_stored_network_answers_as_the_trained_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random blocks rounded as they are stored stand for those of CLIP."""
    pytest.importorskip("onnx")
    from assay_lab.export import face_release, faces, four_bits
    from assay_lab.export.onnx_graph import run_onnx, write_onnx
    from assay_lab.train import face_net
    from assay_lab.train.image_net import Coded, Features, levels

    def rounded(net: Features, _: object) -> list[Coded]:
        torch.manual_seed(1)
        coded = []
        with torch.no_grad():
            for name, value in net.named_parameters():
                if name.startswith("blocks.") and value.ndim == 2:
                    coded.append(levels(torch.randn(value.shape) / value.shape[1] ** 0.5))
                    value.copy_(coded[-1].value())
                elif not name.endswith(("norm1.weight", "norm2.weight", "first.weight")):
                    value.copy_((torch.randn_like(value) * 0.02).half().float())
        return coded

    monkeypatch.setattr(face_net, "load_tower", rounded)
    trained = FaceNet("clip")
    with torch.no_grad():
        for name, value in trained.named_parameters():
            if name.endswith(".up"):
                value.normal_(0, 0.05)
            elif ".norm" in name and value.requires_grad:  # equal numbers are stored once
                value.add_(torch.randn_like(value), alpha=0.01)
        trained.out.weight.normal_(0, 0.3)
    torch.save({"average": trained.state_dict()}, tmp_path / "last.pt")
    net = faces.load(tmp_path / "last.pt", Path("clip")).eval()
    coarse = face_release.stored(net)
    graph, path = tmp_path / "graph.onnx", tmp_path / "model.npz"
    write_onnx(net, torch.zeros(2, 3, SIZE, SIZE), graph, ("logit", "map"))
    assert four_bits.store(graph, path, net.coded, coarse) == 26
    assert path.stat().st_size < 25_000_000
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        logit, share = net(x)
        assert trained.eval()(x)[0] == pytest.approx(logit.numpy(), abs=0.5)
    found = run_onnx(path, x.numpy())
    assert found[0] == pytest.approx(logit.numpy(), abs=0.01)
    assert found[1].sum((1, 2)) == pytest.approx(share.sum((1, 2)).numpy(), abs=0.01)
    assert np.abs(found[1]).max() > 0

    again = FaceNet("clip")
    face_release.restore(again, path)
    for name, value in net.named_parameters():
        if value.requires_grad and not name.startswith("where."):
            torch.testing.assert_close(again.get_parameter(name), value, msg=name)
    with torch.no_grad():
        assert again.eval()(x)[0] == pytest.approx(logit.numpy(), abs=1e-4)


def test_a_file_of_another_graph_is_not_taken(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from assay.analyzers.image.synthetic import MODEL
    from assay.models import model_path
    from assay_lab.export.face_release import restore

    with pytest.raises(ValueError, match="holds no"):
        restore(FaceNet(), model_path(MODEL))
