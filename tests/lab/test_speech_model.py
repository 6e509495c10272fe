"""The speech classifier's parts against torch's own, and the way of its weights into the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("soxr")
from assay_lab.data import speech as data  # noqa: E402
from assay_lab.data import speech_copies as copies  # noqa: E402
from assay_lab.train import quality_net as q  # noqa: E402
from assay_lab.train import speech_batches as batches  # noqa: E402
from assay_lab.train import speech_linear as linear  # noqa: E402
from assay_lab.train.speech_net import WhisperNet  # noqa: E402

RATE = 16_000


def sound(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    x = sum(np.sin(2 * np.pi * rng.uniform(90, 3000) * t) for _ in range(8))
    return ((0.5 + 0.5 * np.sin(9 * t)) * x / 16 + 1e-3 * rng.standard_normal(t.size)).astype("f4")


@pytest.fixture
def caches(tmp_path: Path) -> tuple[Path, Path]:
    """Two sources of real and fake clips, and copies of the real ones."""
    rows = []
    for k in range(24):
        source, fake = ("a", "b")[k % 2], k % 3 == 0
        pcm = data.to_int16(sound(3.0, k))
        row = dict.fromkeys(data.COLUMNS, "")
        row |= {"label": "fake" if fake else "real", "source": source, "path": f"{k}.wav",
                "system": f"S{k % 5}" if fake else "", "sha256": f"{k:064x}"}  # fmt: skip
        rows.append((row, pcm))
    data.write_cache([rows], tmp_path / "pages")
    made = {"griffin_lim": copies.griffin_lim, "lpc": copies.linear_prediction}
    pages = data.SpeechCache(tmp_path / "pages")
    data.write_cache(copies.copies(pages, made, 5.0, 6, {"b"}), tmp_path / "copies")
    return tmp_path / "pages", tmp_path / "copies"


def test_a_context_block_is_torch_s_transformer_layer() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.TransformerEncoderLayer(q.WIDTH, q.HEADS, 2 * q.WIDTH, batch_first=True)
    theirs.eval()
    ours = q.ContextBlock()
    pairs = {
        "qkv": (theirs.self_attn.in_proj_weight, theirs.self_attn.in_proj_bias),
        "proj": (theirs.self_attn.out_proj.weight, theirs.self_attn.out_proj.bias),
        "up": (theirs.linear1.weight, theirs.linear1.bias),
        "down": (theirs.linear2.weight, theirs.linear2.bias),
        "norm_a": (theirs.norm1.weight, theirs.norm1.bias),
        "norm_b": (theirs.norm2.weight, theirs.norm2.bias),
    }
    x = torch.randn(2, 31, q.WIDTH)
    with torch.no_grad():
        for name, (weight, bias) in pairs.items():
            getattr(ours, name).weight.copy_(weight)
            getattr(ours, name).bias.copy_(bias)
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_columns_are_those_of_the_smaller_nets() -> None:
    x = torch.from_numpy(np.stack([sound(1.0, s) for s in (1, 2)]))
    torch.manual_seed(1)
    large = (q.QualityNet(6, linear.CONTEXT), WhisperNet(linear.BLOCKS))
    small = (q.QualityNet(6, 0), WhisperNet(2))
    for a, b in zip(large, small, strict=True):
        kept = {k: v for k, v in a.state_dict().items() if k in b.state_dict()}
        b.load_state_dict({**b.state_dict(), **{k: v for k, v in kept.items()
                                               if v.shape == b.state_dict()[k].shape}})  # fmt: skip
    with torch.no_grad():
        every, few = (torch.cat([n.features(x) for n in nets], 1) for nets in (large, small))
    mask, count = linear.columns(0, 2)
    assert torch.allclose(every[:, mask], few, atol=1e-5)
    assert count == small[0].features(x).shape[1]
    assert linear.columns(linear.CONTEXT, linear.BLOCKS)[0].all()


def test_copies_are_rows_of_their_own(caches: tuple[Path, Path]) -> None:
    made = data.SpeechCache(caches[1])
    pages = {r["path"]: r for r in data.SpeechCache(caches[0]).rows}
    assert len(made) == 6
    assert {r["system"] for r in made.rows} == {"copy_griffin_lim", "copy_lpc"}
    for i, row in enumerate(made.rows):
        assert row["label"] == "fake"
        assert row["source"] == "a"
        assert pages[row["path"]]["label"] == "real"
        assert row["sha256"] != pages[row["path"]]["sha256"]
        assert np.abs(made.clip(i)).max() > 3000


def test_copies_change_no_validation(caches: tuple[Path, Path]) -> None:
    alone, both = batches.Clips([caches[0]]), batches.Clips(list(caches))
    (_, held), (train, again) = batches.split(alone, {"b"}), batches.split(both, {"b"})
    assert held.tolist() == again.tolist()
    assert {both.rows[i]["source"] for i in held} == {"b"}
    seen = {both.rows[i]["system"] for i in np.flatnonzero(train & both.fake)}
    assert not seen & {both.rows[i]["system"] for i in held if both.fake[i]}
    picked = batches.even(both, train, per_system=1, per_source=2)
    assert sum(not both.fake[i] for i in picked) == 2
    assert not any(both.rows[i]["system"].startswith("copy_") for i in picked)


def test_batches_are_a_function_of_their_number(caches: tuple[Path, Path]) -> None:
    batches.start(list(caches), "b", 0.3, None, 4, 7)
    first, labels, drawn = batches.prepare(3)
    again, *_ = batches.prepare(3)
    other, *_ = batches.prepare(4)
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert labels.tolist() == [0, 1, 0, 1]
    assert batches.Clips(list(caches)).fake[drawn].tolist() == [False, True, False, True]
    assert np.isfinite(first).all()
    assert np.abs(first).max() <= 1
    x, y, drawn = batches.prepare_even(0)
    assert x.shape == (4, 48_000)
    assert np.array_equal(x, batches.prepare_even(0)[0])
    assert set(y.tolist()) <= {0.0, 1.0}
    assert batches.Clips(list(caches)).fake[drawn].tolist() == y.astype(bool).tolist()


def test_resynthesised_references_are_no_real_speech(caches: tuple[Path, Path]) -> None:
    page = {"repository": "yangdongchao/UniAudio_demo", "label": "real"}
    rows = [
        {**page, "path": "samples/zero_shot_tts/gt/tts_1089-134686-0021.wav"},
        {**page, "path": "samples/zero_shot_vc/source/VC_vctk_0_1.wav"},
        {**page, "path": "samples/zero_shot_tts/gt/a.wav", "repository": "another/page"},
        {**page, "path": "samples/zero_shot_tts/gen/a.wav", "label": "fake"},
    ]
    assert batches.doubtful(rows).tolist() == [True, False, False, False]
    clips = batches.Clips([caches[0]])
    jobs = linear.held_jobs(clips, "b")
    (bad, _), *_ = [j for j in jobs if not clips.fake[j[0]]]
    clips.doubtful[bad] = True
    # The others keep their variants, so that features known stay good.
    assert linear.held_jobs(clips, "b") == [j for j in jobs if j[0] != bad]
    train, _ = batches.split(clips, {"a"})
    assert not train[bad]
    assert train.any()


def test_systems_weigh_alike_in_the_fit() -> None:
    y = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1], np.float32)
    systems = np.array(["", "", "", "A", "A", "A", "A", "B", "B"])
    weight = linear.balance(y, systems)
    assert weight.mean() == pytest.approx(1)
    assert weight[y == 0].sum() == pytest.approx(weight[y == 1].sum())
    assert weight[systems == "A"].sum() == pytest.approx(weight[systems == "B"].sum())


def test_the_fit_finds_the_weighted_optimum() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((400, 6)).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(400) > 0.4).astype(np.float32)
    weight = rng.uniform(0.2, 1.8, 400).astype(np.float32)
    weight /= weight.mean()
    w, b = linear.fit(x, y, 0.05, weight)
    # The gradient of the weighted loss, by hand.
    off = weight * (1 / (1 + np.exp(-(x @ w + b))) - y) / len(y)
    assert np.abs(x.T @ off + 0.05 * w).max() < 1e-3
    assert abs(off.sum()) < 1e-3


def test_calibration_counts_what_the_product_judges() -> None:
    pytest.importorskip("onnx")
    import soundfile

    from assay_lab.export.speech import passes

    path = Path(__file__).parents[1] / "media" / "samples" / "speech.flac"
    x, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    x = x if x.ndim == 1 else x[:, 0]
    assert passes(x, 1.0, 10.0)
    assert not passes(x, 600.0, 10.0)
    assert not passes(x[: RATE // 4], 1.0, 10.0)
    assert not passes(np.zeros(3 * RATE, np.int16), 1.0, 10.0)


def test_a_released_network_scores_held_out_clips_anew(caches: tuple[Path, Path]) -> None:
    pytest.importorskip("onnx")
    from assay.analyzers.audio.synthetic import MODEL
    from assay.models import runtime, store
    from assay_lab.export import speech as export

    clips = batches.Clips([caches[0]])
    scores = export.fresh_scores(store.model_path(MODEL), clips, "a,b", {"a"}, 2)
    assert {clips.rows[i]["source"] for i in scores["index"]} == {"b"}
    assert set(scores["variant"]) == {0, 1, 2}
    pairs = zip(scores["index"], scores["variant"], strict=True)
    x = np.concatenate([batches.clip_windows(clips.samples(int(i), int(v)), 1) for i, v in pairs])
    served = runtime.run(MODEL, {"input": x})["logit"]
    assert np.abs(served - scores["logit"]).max() < 1e-3


def test_the_card_says_first_what_the_open_test_found() -> None:
    from assay_lab.benchmark.speech import limit

    row = {"real": 126, "flagged_real_at_point": 0.0238, "flagged_fake_at_point": 0.41}
    bad = {**row, "corruption": "telephone", "flagged_real_at_point": 0.13}
    unseen = {"flagged_fake_at_point": 0.336}
    assert limit({"overall": [row, bad], "systems_never_trained_on": unseen}) == (
        "On the open test the 1 % point flagged 2.4 % of 126 real clips, and 13 % (telephone) "
        "after corruption; it caught 41 % of the fakes, 34 % of those from systems never trained "
        "on."
    )


def test_codecs_keep_the_length_and_depend_on_the_clip(caches: tuple[Path, Path]) -> None:
    clips = batches.Clips([caches[0]])
    plain = clips.samples(0)
    for variant in (1, 2):
        x = clips.samples(0, variant)
        assert x.shape == plain.shape
        assert not np.array_equal(x, plain)
        assert np.array_equal(x, clips.samples(0, variant))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_eight_bit_weights_come_back_exactly(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from assay_lab.export.onnx_graph import run_onnx, write_onnx
    from assay_lab.export.speech import shrink, to_8_bit

    torch.manual_seed(2)
    net = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.GELU(), torch.nn.Linear(200, 100))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            rounded = to_8_bit(layer.weight)
            step = layer.weight.abs().amax(1, keepdim=True) / 127
            assert ((rounded - layer.weight).abs() <= 0.51 * step).all()
            layer.weight.copy_(rounded)
    path = tmp_path / "net.onnx"
    x = torch.randn(2, 3, 300)  # in time, as in a transformer
    write_onnx(net, x, path, ("y",))
    before, size = run_onnx(path, x.numpy())[0], path.stat().st_size
    shrink(path)
    assert path.stat().st_size < 0.35 * size
    assert np.array_equal(run_onnx(path, x.numpy())[0], before)
