"""The speech classifier's parts against torch's own, and the way of its weights into the file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("soxr")
from assay_lab.data import speech as data  # noqa: E402
from assay_lab.train import quality_net as q  # noqa: E402
from assay_lab.train import speech_batches as batches  # noqa: E402
from assay_lab.train import speech_features as features  # noqa: E402
from assay_lab.train import speech_head as head  # noqa: E402
from assay_lab.train import speech_net as net  # noqa: E402
from assay_lab.train.folds import FOLDS, fold_of  # noqa: E402

RATE = 16_000


def sound(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    x = sum(np.sin(2 * np.pi * rng.uniform(90, 3000) * t) for _ in range(8))
    return ((0.5 + 0.5 * np.sin(9 * t)) * x / 16 + 1e-3 * rng.standard_normal(t.size)).astype("f4")


@pytest.fixture
def caches(tmp_path: Path) -> tuple[Path, Path]:
    """Two caches of one source each, with real and fake clips."""
    for name in "ab":
        rows = []
        for k in range(12):
            fake = k % 3 == 0
            row = dict.fromkeys(data.COLUMNS, "")
            row |= {"label": "fake" if fake else "real", "source": name, "path": f"{name}{k}.wav"}
            row |= {"system": f"S{k % 5}" if fake else "", "sha256": f"{k + 64 * ord(name):064x}"}
            rows.append((row, data.to_int16(sound(3.0, k))))
        data.write_cache([rows], tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def test_moments_tell_slow_change_from_fast() -> None:
    t = torch.arange(200.0)
    slow, fast = torch.sin(t / 20), torch.sin(t * 2)
    found = q.moments(torch.stack([slow, fast])[None])
    assert found.shape == (1, 3, 2)
    x = torch.stack([slow, fast]).numpy()
    assert np.allclose(found[0, 0], x.mean(1), atol=1e-6)
    assert np.allclose(found[0, 1], x.std(1), atol=1e-4)
    assert np.allclose(found[0, 2], np.sqrt(np.square(np.diff(x)).mean(1)), atol=1e-4)
    assert found[0, 2, 1] > 10 * found[0, 2, 0]


def test_the_kernels_are_a_fourier_transform() -> None:
    x = np.random.default_rng(3).standard_normal(400)
    n = np.arange(400)
    theirs = np.fft.rfft(x * (0.5 - 0.5 * np.cos(2 * np.pi * n / 400)))
    ours = q.fourier(400).double().numpy()[:, 0] @ x
    assert np.allclose(ours, np.concatenate([theirs.real, theirs.imag]), atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_the_exported_front_ends_are_nearly_the_exact_ones(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from assay_lab.export import speech_fronts
    from assay_lab.export.onnx_graph import run_onnx, write_onnx

    torch.manual_seed(4)
    fronts = net.Fronts().eval()
    for layer in fronts.quality.layers:  # so that sound comes through random weights
        torch.nn.init.kaiming_normal_(layer.weight, 0.1)
    x = np.stack([sound(4.0, s) for s in range(6)])
    exact, whole = tmp_path / "exact.onnx", tmp_path / "whole.onnx"
    write_onnx(fronts, torch.from_numpy(x[:1]), exact, ("features",))
    speech_fronts.quantize(exact, x[:4], whole)
    a, b = run_onnx(exact, x)[0], run_onnx(whole, x)[0]
    with torch.no_grad():
        assert np.allclose(a, fronts(torch.from_numpy(x)).numpy(), atol=1e-3)
    floats = 3 * 3 * 512  # features of Whisper, which stays in floats

    def off(one: np.ndarray, other: np.ndarray) -> float:
        off = (one - other)[..., :-floats] / (a.std(0)[:-floats] + 0.02)
        return float(np.sqrt(np.square(off).mean()))

    assert 0 < off(b, a) < 0.3
    assert np.allclose(a[:, -floats:], b[:, -floats:], atol=1e-3)
    # No range depends on what else is in the batch.
    assert off(run_onnx(whole, x[2:3])[0][0], b[2]) < 0.1 * off(b, a)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_network_is_its_front_ends_and_a_classifier(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from assay_lab.export import speech as export
    from assay_lab.export.onnx_graph import run_onnx, sha256, write_onnx

    class Few(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(-1, 40, 1600).abs().amax(2)

    torch.manual_seed(5)
    fronts, model = tmp_path / "fronts.onnx", tmp_path / "model.onnx"
    write_onnx(Few(), torch.zeros(1, 64_000), fronts, ("features",))
    judge = net.Classifier(40, 32)
    torch.save(judge.state_dict(), tmp_path / "best.pt")
    (tmp_path / "fronts.txt").write_text(sha256(fronts))
    export.write_network(tmp_path, "best", fronts, model)
    x = np.stack([sound(4.0, s) for s in range(3)])
    expected = export.load(tmp_path, "best")(torch.from_numpy(run_onnx(fronts, x)[0]))
    assert np.allclose(run_onnx(model, x)[0], expected.detach().numpy(), atol=1e-5)
    (tmp_path / "fronts.txt").write_text("0")
    with pytest.raises(ValueError, match="other front ends"):
        export.write_network(tmp_path, "best", fronts, model)


def test_the_front_ends_hear_what_they_say() -> None:
    torch.manual_seed(1)
    fronts = net.Fronts().eval()
    x = torch.from_numpy(np.stack([sound(1.0, s) for s in (1, 2)]))
    with torch.no_grad():
        found = fronts(x)
        assert found.shape == (2, net.FEATURES)
        # Neither hears how loud a recording is.
        assert torch.allclose(fronts(0.5 * x), found, atol=2e-3)


def test_batches_are_a_function_of_their_number(caches: tuple[Path, Path]) -> None:
    batches.start(batches.Clips(list(caches)), None, 4, 7)
    first, labels, drawn = batches.prepare(3)
    again, *_ = batches.prepare(3)
    other, *_ = batches.prepare(4)
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert labels.tolist() == [0, 1, 0, 1]
    assert batches.Clips(list(caches)).fake[drawn].tolist() == [False, True, False, True]
    assert np.isfinite(first).all()
    assert np.abs(first).max() <= 1


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
    assert {i for i, _ in features.plain_jobs(clips)} == set(range(12))
    clips.doubtful[4] = True
    assert 4 not in {i for i, _ in features.plain_jobs(clips)}
    sampler = batches.Sampler(clips)
    rng = np.random.default_rng(0)
    assert {sampler.draw(False, rng) for _ in range(200)} == {1, 2, 5, 7, 8, 10, 11}


def test_plain_windows_are_few_of_many_sources(
    caches: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "PER_SOURCE", 3)
    monkeypatch.setattr(features, "PER_SYSTEM", 1)
    clips = batches.Clips(list(caches))
    jobs = features.plain_jobs(clips)
    assert jobs == features.plain_jobs(clips)
    plain = [i for i, kind in jobs if kind == 0]
    for name in "ab":
        here = [i for i in plain if clips.rows[i]["source"] == name]
        assert sum(not clips.fake[i] for i in here) == 3
        assert len({clips.rows[i]["system"] for i in here if clips.fake[i]}) == 4
        assert sum(clips.fake[i] for i in here) == 4
    assert {kind for _, kind in jobs} == {0, 1, 2}


def run_of(folder: Path, caches: list[Path], seed: int, fronts: bytes = b"1") -> np.ndarray:
    """Write features of a made-up kind, in which fakes stand out; returns them."""
    clips = batches.Clips(caches)
    folder.mkdir()
    (folder / "fronts.onnx").write_bytes(fronts)
    features.claim(folder, clips, folder / "fronts.onnx")
    rng = np.random.default_rng(seed)
    kept = []
    for kind, variant in (("plain", 0), ("drawn", 3)):
        (folder / kind).mkdir()
        index = rng.permutation(len(clips.rows))
        x = (rng.standard_normal((len(index), 40)) + 2 * clips.fake[index, None]).astype(np.float16)
        y = clips.fake[index].astype(np.float32)
        path = folder / kind / "000000.npz"
        features._save(path, x=x, y=y, index=index, variant=np.full(len(index), variant))
        kept.append(x)
    return np.concatenate(kept)


def test_features_of_several_runs_belong_to_their_clips(
    caches: tuple[Path, Path], tmp_path: Path
) -> None:
    run_of(tmp_path / "one", [caches[0]], 1)
    x = run_of(tmp_path / "two", [caches[1]], 2)
    clips = batches.Clips(list(caches))
    found, fronts = head.load([tmp_path / "one", tmp_path / "two"], clips)
    assert len(fronts) == 64
    assert len(found.y) == 48
    assert (clips.fake[found.index] == (found.y > 0.5)).all()
    assert {clips.rows[i]["source"] for i in found.index[:24]} == {"a"}
    assert {clips.rows[i]["source"] for i in found.index[24:]} == {"b"}
    assert np.array_equal(found.x[24:], x)
    # The order of the caches does not matter, their being there does.
    turned = batches.Clips([caches[1], caches[0]])
    again, _ = head.load([tmp_path / "one"], turned)
    assert [turned.rows[i]["path"] for i in again.index] == [
        clips.rows[i]["path"] for i in found.index[:24]
    ]
    with pytest.raises(ValueError, match="not given"):
        head.load([tmp_path / "two"], batches.Clips([caches[0]]))
    with pytest.raises(ValueError, match="other caches"):
        features.claim(tmp_path / "two", clips, tmp_path / "two" / "fronts.onnx")
    run_of(tmp_path / "three", [caches[1]], 2, b"2")
    with pytest.raises(ValueError, match="or front ends"):
        features.claim(tmp_path / "two", clips, tmp_path / "three" / "fronts.onnx")
    with pytest.raises(ValueError, match="different front ends"):
        head.load([tmp_path / "one", tmp_path / "three"], clips)
    # What is doubted after the features were computed does not count.
    clips.doubtful[found.index[0]] = True
    fewer, _ = head.load([tmp_path / "one", tmp_path / "two"], clips)
    assert found.index[0] not in fewer.index
    assert len(fewer.y) == 46


def test_systems_weigh_alike_in_the_fit() -> None:
    y = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1], np.float32)
    systems = np.array(["", "", "", "A", "A", "A", "A", "B", "B"])
    weight = head.balance(y, systems)
    assert weight.sum() == pytest.approx(1)
    assert weight[y == 0].sum() == pytest.approx(weight[y == 1].sum())
    assert weight[systems == "A"].sum() == pytest.approx(weight[systems == "B"].sum())


def test_the_fit_learns_and_is_a_function_of_its_seed() -> None:
    rng = np.random.default_rng(2)
    z = rng.standard_normal((600, 30))
    x = (z * np.linspace(0.1, 9, 30) + 5).astype(np.float16)
    y = (z.sum(1) > 0).astype(np.float32)
    windows = head.Windows(x, y, np.arange(600), np.zeros(600, np.int64))
    scale = head.moments(x)
    assert np.allclose(scale[0], x.astype(np.float64).mean(0), atol=1e-3)
    assert np.allclose(scale[1], x.astype(np.float64).std(0), atol=2e-3)
    rows = np.arange(400)
    made = [head.fit(windows, rows, np.full(400, 1 / 400), 3, scale, 200) for _ in range(2)]
    first, second = (head.logits(m, x[400:]) for m in made)
    assert np.array_equal(first, second)
    assert ((first > 0) == (y[400:] > 0.5)).mean() > 0.85


def test_sources_are_judged_by_classifiers_that_never_met_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head, "STEPS", 3)
    names = np.array([f"page{k // 8}" for k in range(160)])
    fold = fold_of(names)
    assert set(fold) == set(range(FOLDS))
    y = (np.arange(160) % 2).astype(np.float32)
    system = np.where(y > 0.5, np.where(np.arange(160) % 8 == 1, "everywhere", names), "")
    x = np.random.default_rng(0).standard_normal((160, 8)).astype(np.float16)
    variant = np.where(np.arange(160) % 8 < 6, 0, 3)
    windows = head.Windows(x, y, np.arange(160), variant)
    head._process.update(windows=windows, system=system, fold=fold, scale=head.moments(x))
    _, picked, found = head._without(2, 1)
    assert set(fold[picked]) == {2}
    assert (variant[picked] == 0).all()
    assert "everywhere" not in system[picked]
    assert set(y[picked]) == {0, 1}
    assert np.isfinite(found).all()
    assert head._without(FOLDS, 1)[1].size == 0


def test_calibration_counts_what_the_product_judges(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import soundfile

    from assay_lab.export.speech import Validation

    path = Path(__file__).parents[1] / "media" / "samples" / "speech.flac"
    x, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    x = x if x.ndim == 1 else x[:, 0]
    sounds = [x, x[: RATE // 4], np.zeros(3 * RATE, np.int16)]
    clips = SimpleNamespace(samples=lambda i, _: sounds[i])
    index = np.arange(3)
    np.savez(tmp_path / "validation.npz", index=index, variant=0 * index, logit=index / 1.0)
    check = Validation(tmp_path, clips)
    assert check.judge(600.0, 99.0) == 0  # nothing is known of them yet
    check.listen(2)
    assert check.judge(1.0, 10.0) == 2
    assert check.index.tolist() == [0]
    assert check.logit.tolist() == [0.0]
    assert check.judge(600.0, 10.0) == 1


def test_pages_that_were_learned_from_are_no_new_pages(
    caches: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    from assay_lab.benchmark.speech_pages import unheard

    clips = batches.Clips(list(caches))
    for row in clips.rows:
        row["repository"] = f"owner/{row['source']}"
    columns = "source role repository ref licence language order pattern label system year type"
    header = columns.replace(" ", "\t")
    rule = "old\ttrain\towner/{}\tHEAD\tnone\ten\t0\t.\tspoof\tS3\t2020\ttts\n"
    recipe = tmp_path / "learned.tsv"
    recipe.write_text(f"{header}\n{rule.format('old')}")
    found = {i for i, _ in unheard(clips, [recipe])}
    assert found == {i for i in range(24) if clips.rows[i]["system"] != "S3"}
    recipe.write_text(f"{header}\n{rule.format('b')}")
    with pytest.raises(ValueError, match="owner/b"):
        unheard(clips, [recipe])


def test_new_pages_are_counted_as_pages() -> None:
    pytest.importorskip("onnx")
    from assay.models.card import Calibration, OperatingPoints
    from assay_lab.benchmark.speech_pages import measure

    rng = np.random.default_rng(1)
    fake = np.arange(900) % 3 == 1
    rows = [
        {"source": f"p{k % 20}", "system": f"t{k % 7}" if fake[k] else "",
         "type": "tts" if fake[k] else "", "year": str(2019 + k % 7) if fake[k] else ""}
        for k in range(900)
    ]  # fmt: skip
    logit = rng.normal(np.where(fake, 2.0, -2.0), 1.0)
    logit[~fake & (np.arange(900) % 20 == 3)] = 9.0  # one page that is all wrong
    logit[:10] = np.nan
    card = SimpleNamespace(
        key="speech-v0", sha256="0",
        calibration=Calibration(score=(-8.0, 8.0), llr=(-5.0, 5.0), n_real=9, n_fake=9),
        points=OperatingPoints(fpr_1pct=3.0, fpr_5pct=1.0, low_band=-3.0),
    )  # fmt: skip
    jobs = [(k, (k // 3) % 3) for k in range(900)]
    found = measure(card, SimpleNamespace(rows=rows, fake=fake), jobs, logit)
    assert found["not_judged"] == 10
    assert sum(row["real"] + row["fake"] for row in found["overall"]) == 890
    plain = found["overall"][0]
    assert plain["corruption"] == "none"
    assert plain["pages"] == plain["pages_with_real"] == 20
    assert plain["real_flagged_at_1pct_pages_alike"] == pytest.approx(1 / 20, abs=1e-9)
    assert found["real_by_page"]["p3"]["flagged_at_1pct"] == 1
    assert found["real_by_page"]["p4"]["flagged_at_1pct"] == 0
    assert plain["fake_flagged_at_1pct"] < plain["fake_flagged_at_5pct"]
    recent = found["fakes_of_recent_systems"]
    assert 0 < recent["fake"] < plain["fake"]
    assert recent["real"] == plain["real"]
    assert set(found["by_type"]) == {"tts"}
    assert sum(v["n"] for v in found["by_system"].values()) == plain["fake"]


def test_points_and_curve_come_from_the_scores(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from assay_lab.export.speech import Validation, sections

    rng = np.random.default_rng(0)
    rows = [{"source": f"s{k % 40}", "system": f"t{k % 30}" if k % 2 else ""} for k in range(1200)]
    fake = np.arange(1200) % 2 == 1
    clips = SimpleNamespace(rows=rows, fake=fake)
    index = np.arange(1200)
    logit = rng.normal(np.where(fake, 1.0, -1.0), 1.0)
    np.savez(tmp_path / "validation.npz", index=index, variant=index // 2 % 3, logit=logit)
    found = sections(Validation(tmp_path, clips))
    curve, points = found["calibration"], found["operating_points"]
    assert curve["n_real"] == curve["n_fake"] == 200
    assert curve["source"].partition(": ")[2].startswith("s0, s1, s10")
    assert curve["llr"] == sorted(curve["llr"])
    assert (logit[~fake] >= points["fpr_1pct"]).mean() <= 0.01
    assert points["fpr_5pct"] < points["fpr_1pct"]
    assert 0.2 < points["tpr_at_fpr_1pct"] < 0.9
    assert [m["corruption"] for m in found["metrics"][:3]] == [
        "none", "wide-band codec", "narrow-band codec",
    ]  # fmt: skip


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
    from assay_lab.export.speech import shrink

    torch.manual_seed(2)
    layers = torch.nn.Sequential(
        torch.nn.Linear(300, 200), torch.nn.GELU(), torch.nn.Linear(200, 100)
    )
    with torch.no_grad():
        for layer in (layers[0], layers[2]):
            rounded = net.to_8_bit(layer.weight)
            step = layer.weight.abs().amax(1, keepdim=True) / 127
            assert ((rounded - layer.weight).abs() <= 0.51 * step).all()
            layer.weight.copy_(rounded)
    path = tmp_path / "net.onnx"
    x = torch.randn(2, 3, 300)  # in time, as in a transformer
    write_onnx(layers, x, path, ("y",))
    before, size = run_onnx(path, x.numpy())[0], path.stat().st_size
    shrink(path)
    assert path.stat().st_size < 0.35 * size
    assert np.array_equal(run_onnx(path, x.numpy())[0], before)
