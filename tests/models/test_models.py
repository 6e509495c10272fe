"""Models are what their cards say."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.analyzers.image import face_scoring
from assay.errors import ModelError
from assay.models import Calibration, available, card, prepare, runtime, store
from assay.models.card import InputSpec, read_card
from assay.models.golden import check_golden

NETWORKS = [key for key in available() if card(key).file]


def test_the_zoo_is_not_empty() -> None:
    assert {face_scoring.MODEL, "face-detector-v1"} <= set(available())


@pytest.mark.parametrize("key", available())
def test_cards_are_complete(key: str) -> None:
    found = card(key)
    assert found.licence
    assert found.summary or found.task
    assert found.limits, "every model states where it fails"
    if found.file:
        path = store.verify(key)
        assert path.stat().st_size < 30_000_000
    if found.calibration:
        # No ratio beyond what the sample can carry.
        n = min(found.calibration.n_real, found.calibration.n_fake)
        assert max(map(abs, found.calibration.llr)) <= np.log(max(n, 2)) + 1e-9


@pytest.mark.parametrize("key", [k for k in NETWORKS if (card(k).folder / "golden.json").exists()])
def test_golden_outputs(key: str) -> None:
    assert check_golden(key) > 0


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("key", [k for k in NETWORKS if card(k).file.endswith(".npz")])
def test_golden_outputs_in_either_arithmetic(
    key: str, floats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another processor would say."""
    network = runtime.open_network(store.model_path(key), 1, floats=floats)
    monkeypatch.setattr(runtime, "_session", lambda _: network)
    assert check_golden(key) > 0


def test_our_own_networks_have_golden_outputs() -> None:
    for key in NETWORKS:
        if card(key).points is not None:
            assert (card(key).folder / "golden.json").exists()


def test_all_weights_fit_in_one_wheel() -> None:
    weights = [p for end in ("*.onnx", "*.npz") for p in store.ZOO.rglob(end)]
    assert sum(p.stat().st_size for p in weights) < 90_000_000


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(store.ZOO / "face-detector-v1", tmp_path / "face-detector-v1")
    with (tmp_path / "face-detector-v1" / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff")
    monkeypatch.setattr(store, "ZOO", tmp_path)
    store.card.cache_clear()
    try:
        with pytest.raises(ModelError, match="differs"):
            store.verify("face-detector-v1")
    finally:
        store.card.cache_clear()


@pytest.mark.parametrize("key", ["", "nonsense-v1", "../zoo/face-detector-v1", "face-detector-v1/"])
def test_unknown_models(key: str) -> None:
    with pytest.raises(ModelError, match="not installed"):
        card(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[model",
        "[model]\nname='x'\nversion=2\nlicence='MIT'",
        "[model]\nname='x'\nversion=1\nlicence='MIT'\nfile='../../etc/passwd'\nsha256='00'",
        "[model]\nname='x'\nversion=1\nlicence='MIT'\n[calibration]\nkind='spline'",
        "[model]\nname='x'\nversion=1\nlicence='MIT'\n[calibration]\nkind='piecewise_linear'\n"
        "score=[1,0]\nllr=[0,1]\nn_real=1\nn_fake=1",
        "[model]\nname='x'\nversion=1\nlicence='MIT'\n[calibration]\nkind='piecewise_linear'\n"
        "score=[0,1]\nllr=[0,nan]\nn_real=1\nn_fake=1",
    ],
)
def test_bad_cards_are_refused_by_name(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "x-v1"
    folder.mkdir()
    (folder / "card.toml").write_text(text)
    with pytest.raises(ModelError, match=r"x-v1.card\.toml"):
        read_card(folder)


knots = st.lists(st.floats(-20, 20), min_size=2, max_size=8, unique=True).map(sorted)


@given(knots, st.data())
def test_calibration_is_monotone_bounded_and_as_numpy_has_it(
    x: list[float], data: st.DataObject
) -> None:
    y = sorted(data.draw(st.lists(st.floats(-5, 5), min_size=len(x), max_size=len(x))))
    curve = Calibration(score=tuple(x), llr=tuple(y), n_real=9, n_fake=9)
    probes = sorted(data.draw(st.lists(st.floats(-30, 30), min_size=1, max_size=9)))
    got = [curve(p) for p in probes]
    assert all(y[0] - 1e-9 <= v <= y[-1] + 1e-9 for v in got)
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(got))
    assert np.allclose(got, np.interp(probes, x, y), atol=1e-6)


def test_square_crop_matches_pillow_inside_and_repeats_the_border() -> None:
    from PIL import Image

    r = np.random.RandomState(0)
    pixels = r.randint(0, 255, (90, 120, 3), np.uint8)
    got = prepare.square_crop(pixels, 10, 20, 48, 24)
    want = np.asarray(
        Image.fromarray(pixels[20:68, 10:58]).resize((24, 24), Image.Resampling.BICUBIC)
    )
    assert np.array_equal(got, want)
    outside = prepare.square_crop(np.full((50, 50, 3), 77, np.uint8), -30, -30, 100, 32)
    assert (outside == 77).all()


@given(
    st.tuples(*[st.floats(-50, 400)] * 2, *[st.floats(2, 500)] * 2),
    st.integers(8, 300),
    st.integers(8, 300),
)
def test_face_square_lies_in_the_picture(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    left, top, side = prepare.face_square(box, 1.0, width, height)
    assert side == min(max(box[2:]), width, height)
    assert 0 <= left <= width - side + 1e-9
    assert 0 <= top <= height - side + 1e-9
    centre = box[0] + box[2] / 2
    if side / 2 <= centre <= width - side / 2:  # only moved where it must be
        assert abs(left + side / 2 - centre) < 1e-6


def test_picture_tensor_is_the_cards_normalisation() -> None:
    spec = InputSpec(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    crops = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    got = prepare.picture_tensor(crops, spec)
    want = (crops / 255.0 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    assert got.dtype == np.float32
    assert np.allclose(got, want.transpose(0, 3, 1, 2), atol=1e-6)


@given(st.integers(0, 400), st.integers(1, 60))
def test_audio_windows_cover_everything(length: int, hop: int) -> None:
    spec = InputSpec(kind="audio", samples=100, rate=16000)
    sound = np.arange(length, dtype=np.float32)
    windows, starts = prepare.audio_windows(sound, spec, hop)
    assert windows.shape == (len(starts), 100)
    if length:
        seen = np.unique(windows)
        if hop <= 100:
            assert len(seen) == length
        assert starts[-1] == max(0, length - 100)
