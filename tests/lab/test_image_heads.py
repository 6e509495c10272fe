from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assay.analyzers.image.picture_kind import beyond  # noqa: E402
from assay_lab.benchmark.metrics import auc  # noqa: E402
from assay_lab.train.folds import CHOOSING, FOLDS, fold_of  # noqa: E402
from assay_lab.train.image_attribution import family_of, fit_attribution  # noqa: E402
from assay_lab.train.image_features import (  # noqa: E402
    VERSION,
    VERSIONS,
    Stored,
    look,
    patch,
    version,
    versions,
    worn,
)
from assay_lab.train.image_known import MOST, remember  # noqa: E402
from assay_lab.train.image_net import (  # noqa: E402
    SIZE,
    Features,
    Known,
    PictureNet,
    levels,
    to_input,
)
from assay_lab.train.images import (  # noqa: E402
    HIDDEN,
    SEEDS,
    Head,
    apart,
    fit,
    game_of,
    pooled,
    train,
    weights_of,
    within_games,
)

NAMES = ("mean6", "cls6", "mean7", "cls7", "dev7")


def stored(n: int = 240, seed: int = 0) -> Stored:
    """Five parts of four features, of which one tells the classes apart; six sources."""
    rng = np.random.default_rng(seed)
    label = np.where(np.arange(n) % 2, "fake", "real")
    x = rng.normal(size=(n, 20)).astype(np.float32)
    x[:, 6] += (label == "fake") * 3
    kind = np.full(n, "photo")
    source = np.array([f"s{k % 6 if k % 24 else 6}" for k in range(n)])
    name, use = np.array([f"p{k // 2}" for k in range(n)]), np.full(n, "train")
    parts = {k: slice(4 * i, 4 * i + 4) for i, k in enumerate(NAMES)}
    group = np.array([f"a/{s}" for s in source])
    return Stored(x, np.arange(n) % 2, name, kind, label, source, use, group, parts)


def test_classes_weigh_alike_and_sources_by_the_root() -> None:
    data = stored()
    w = weights_of(data)
    assert w[data.fake].sum() == pytest.approx(w[~data.fake].sum())
    few, many = data.source == "s6", data.source == "s2"
    assert w[few].sum() / w[many].sum() == pytest.approx(np.sqrt(few.sum() / many.sum()))


def test_the_head_is_the_mean_of_its_perceptrons_and_learns() -> None:
    data, again = stored(), stored(seed=1)
    head = train(data, 400)
    assert head.first.weight.shape == (HIDDEN * SEEDS, 16)
    with torch.no_grad():
        scores = head(torch.from_numpy(again.x))[:, 0].numpy()
        z = (again.x[:, :16] - data.x[:, :16].mean(0)) / (data.x[:, :16].std(0, ddof=1) + 1e-2)
        hidden = torch.nn.functional.gelu(head.first(torch.from_numpy(z)))
        by_hand = (hidden @ head.last.weight.T + head.last.bias)[:, 0].numpy()
    assert scores == pytest.approx(by_hand, abs=1e-4)
    assert auc(again.fake, scores) > 0.95


def test_pooling_is_the_mean_of_each_picture() -> None:
    scores, first = pooled(np.array(["b", "a", "b", "a"]), np.array([1.0, 2.0, 3.0, 5.0]))
    assert scores.tolist() == [3.5, 2.0]
    assert first.tolist() == [1, 0]


def test_views_are_a_function_of_their_seed() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (300, 260, 3)).astype(np.uint8)
    for make in (look, worn, patch):
        one, two = (make(rgb, np.random.default_rng(7)) for _ in "ab")
        assert np.array_equal(one, two)
    assert patch(rgb, np.random.default_rng(1)).shape == (SIZE, SIZE, 3)
    assert patch(rgb[:90, :400], np.random.default_rng(1)).shape == (SIZE, SIZE, 3)


def test_folds_are_stable_and_even() -> None:
    folds = fold_of(np.array([f"owner/page {n}" for n in range(1000)]))
    assert folds.tolist() == fold_of(np.array([f"owner/page {n}" for n in range(1000)])).tolist()
    assert np.bincount(folds, minlength=FOLDS).min() > 150


def test_no_picture_is_judged_by_a_head_that_knew_its_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[set[str]] = []
    graded: set[str] = set()

    def grades(fake: object, source: list[str], scores: object) -> dict[str, float]:
        graded.update(source)
        return {}

    def noted(data: Stored, steps: int) -> Head:
        learned.append(set(data.group.tolist()))
        return Head(np.arange(4), 2)

    monkeypatch.setattr("assay_lab.train.images.train", noted)
    monkeypatch.setattr("assay_lab.train.images.grade", grades)
    data = stored(480)
    mine = np.array(["a/s1", "a/s5", "a/s6"])
    judged = np.isin(data.group, mine)
    data = replace(data, use=np.where(judged & (np.arange(480) > 240), "validation", "train"))
    _, judges, found = fit(data, 9)
    *without, released = learned
    groups = set(data.group.tolist())
    assert found["views"] == int((data.use == "train").sum())
    assert len(judges) == FOLDS
    assert released == groups
    for k, seen in enumerate(without):
        assert seen == groups - set(mine[fold_of(mine) == k].tolist())
    chosen = mine[np.isin(fold_of(mine), CHOOSING)]
    assert graded == {g.removeprefix("a/") for g in chosen.tolist()}
    assert len(graded) == 1


def test_each_picture_is_judged_by_the_head_of_its_fold() -> None:
    data = stored(60)
    heads = [Head(np.arange(4), 1) for _ in range(FOLDS)]
    for k, head in enumerate(heads):
        torch.nn.init.zeros_(head.last.weight)
        torch.nn.init.constant_(head.last.bias, float(k))
    assert apart(heads, data).tolist() == fold_of(data.group).tolist()


def test_versions_are_numbered_apart() -> None:
    from assay_lab.data.cache import Row

    def row(name: str) -> Row:
        return Row(name, "real", "photo", "", "s", "", "", "", "validation", "", "", "", 0, 0)

    found = [list(versions(row(f"picture {n}"))) for n in range(400)]
    assert all(f[0] == (0, "none") for f in found)
    more = [f[1] for f in found if len(f) == 2]
    assert 40 < len(more) < 100
    assert set(more) == {(VERSION * k, VERSIONS[k]) for k in (1, 2)}
    rgb = np.random.default_rng(0).integers(0, 256, (300, 200, 3)).astype(np.uint8)
    assert version(rgb, "half_size").shape == (150, 100, 3)
    assert version(rgb, "none") is rgb


def test_a_picture_in_both_uses_counts_once() -> None:
    data = stored(6)
    data = replace(
        data,
        name=np.array(["s:a#whole", "s:a", "s:b#whole", "s:c", "s:d#whole", "s:a"]),
        use=np.array(["train", "validation", "train", "validation", "train", "validation"]),
        view=np.array([0, 0, 0, 0, 1, VERSION]),
    )
    assert data.once().name.tolist() == ["s:a", "s:b#whole", "s:c"]


def test_beyond_compares_with_the_photograph() -> None:
    found = beyond(np.array([[1.0, 0.2, 0.4], [0.0, 0.7, -1.0]]))
    assert found.tolist() == pytest.approx([-0.6, 0.7])


def test_games_are_graded_within() -> None:
    """Halves of one game are compared, whatever another game scores."""
    source = np.array(["lab_ai", "lab_real"] * 20 + ["held_dexer_ai", "held_dexer_real"] * 5)
    fake = np.char.endswith(source, "_ai")
    others = ["flickr_real", "kurlyto_ai", "kurlyto_real", "lab_paint"]
    game = game_of(np.append(source, others))
    assert set(game) == {"lab", "held_dexer", ""}
    assert set(game[-4:]) == {""}
    game = game[:-4]
    scores = np.where(game == "lab", 10.0, 0.0) + fake
    assert within_games(fake, game, scores) == 1.0
    scores = np.where(game == "lab", fake, ~fake).astype(float)
    assert within_games(fake, game, scores) == pytest.approx(20 / 25)
    with pytest.raises(ValueError, match="no game"):
        within_games(fake, np.full(len(fake), ""), scores)


def test_sixteen_levels_lose_little() -> None:
    weight = torch.randn(32, 256, generator=torch.Generator().manual_seed(0))
    weight[:, 64:128] *= 0.2
    found = levels(weight)
    assert found.codes.shape == (32, 4, 64)
    assert int(found.codes.max()) <= 15
    assert 1 <= int(found.multiple.min()) <= int(found.multiple.max()) <= 7
    assert torch.equal(found.step.half().float(), found.step)
    assert torch.equal(found.whole(), found.whole().round())
    assert float((found.value() - weight).pow(2).mean() / weight.pow(2).mean()) < 0.02


def test_four_bits_multiply_as_the_matrix_does(tmp_path: Path) -> None:
    """The file as stored, run by the product, against the dequantised matrix in torch."""
    pytest.importorskip("onnx")
    from assay.models import packed
    from assay.models.runtime import open_network
    from assay_lab.export import four_bits
    from assay_lab.export.onnx_graph import write_onnx

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(128, 64), torch.nn.GELU(), torch.nn.Linear(64, 128))
    matrices = []
    with torch.no_grad():
        for layer in (net[0], net[2]):
            matrices.append(levels(layer.weight))
            layer.weight.copy_(matrices[-1].value())
    graph, path, x = tmp_path / "m.onnx", tmp_path / "m.npz", torch.randn(3, 7, 128)
    write_onnx(net, x, graph, ("y",))
    assert four_bits.store(graph, path, matrices) == 2
    again = tmp_path / "again.npz"
    four_bits.store(graph, again, matrices)
    assert again.read_bytes() == path.read_bytes()
    _, held = packed.read(path, floats=False)
    whole = [m.whole().numpy().T for m in matrices]
    assert all(np.array_equal(h, w) for h, w in zip(held.values(), whole, strict=True))
    with torch.no_grad():
        wanted = net(x).numpy()
    for floats, near in ((False, 1e-3), (True, 1e-6)):
        network = open_network(path, 1, floats=floats)
        (found,) = network.run(None, {"input": x.numpy()})
        assert found == pytest.approx(wanted, abs=near * float(np.abs(wanted).max()))
        # a row is rounded by itself, whatever else is in the batch
        (alone,) = network.run(None, {"input": x[1:2].numpy()})
        assert alone == pytest.approx(found[1:2], abs=1e-6)


def test_features_have_the_parts_they_name() -> None:
    net = Features((1, 2)).eval()
    x = to_input(torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8))
    columns = np.arange(8)
    known = Known(
        torch.arange(3), torch.eye(3), torch.zeros(3),
        torch.randint(-9, 9, (20, 3), dtype=torch.int8), torch.ones(20, dtype=torch.uint8),
    )  # fmt: skip
    both = PictureNet(
        net, Head(columns, 3), Head(columns + 768, 2), torch.nn.Linear(6 * 768, 4),
        torch.nn.Linear(6 * 768, 5), known,
    )  # fmt: skip
    with torch.no_grad():
        found = net(x)
        patch_logit, whole, scope, family, distance, neighbours = both.eval()(x)
    assert found.shape == (2, 768 * len(net.parts))
    assert torch.isfinite(found).all()
    assert patch_logit.shape == whole.shape == (2,)
    assert scope.shape == (2, 4)
    assert family.shape == (2, 5)
    assert distance.shape == (2,)
    assert neighbours.tolist() == [1.0, 1.0]


def test_known_pictures_are_found_as_scikit_learn_finds_them() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    data = stored()
    data = replace(data, x=np.tile(data.x, (1, 200)), parts={"cls7": slice(0, 768)})
    found = remember(data)
    memory, rng = found.memory, np.random.default_rng(3)
    x = (data.x[:9] + rng.normal(size=(9, data.x.shape[1])) * 0.1).astype(np.float32)
    with torch.no_grad():
        distance, generated = memory(torch.from_numpy(x))
        y = x[:, memory.columns.numpy()] @ memory.projection.numpy() + memory.shift.numpy()
    apart, at = neighbors.NearestNeighbors(n_neighbors=10).fit(memory.memory.numpy()).kneighbors(y)
    assert distance.numpy() == pytest.approx(apart.mean(1), rel=1e-3)
    assert generated.numpy() == pytest.approx(memory.generated.numpy()[at].mean(1))
    assert found.pictures == (data.view == 0).sum()
    assert list(found.distance) == sorted(found.distance)


def test_few_pictures_of_a_source_are_remembered() -> None:
    data = stored(1200)
    at = (data.view == 0) & (data.source == "s2")
    assert at.sum() > MOST
    found = remember(data.where(at | (data.source == "s6")))
    few = ((data.view == 0) & (data.source == "s6")).sum()
    assert found.pictures == MOST + min(MOST, few)


def test_a_family_is_named_from_where_it_was_right() -> None:
    rng = np.random.default_rng(0)
    n = 600
    family = np.array(["FLUX", "StyleGAN", ""])[np.arange(n) % 3]
    x = rng.normal(size=(n, 16)).astype(np.float32)
    x[:, 2] += 6 * (family == "FLUX")
    parts = {k: slice(4 * i, 4 * i + 4) for i, k in enumerate(("mean6", "cls6", "mean7", "cls7"))}
    data = replace(stored(n), x=x, parts=parts)
    sites = np.array([f"site {k // 3 % 9}" for k in range(n)])
    found = fit_attribution(data, family, sites)
    least = dict(zip(found.names, found.least, strict=True))
    assert least["FLUX"] < 1
    assert found.report["FLUX"]["right"] >= 0.85
    assert found.report["FLUX"]["found"] > 0.9
    assert least["StyleGAN"] == least["Midjourney"] == np.inf
    assert found.report["other_named"] < 0.1


def test_generators_are_put_into_families_by_name() -> None:
    names = {
        "Midjourney v6": "Midjourney",
        "v1-5-pruned-emaonly": "Stable Diffusion 1, 2 or XL",
        "sd3.5_large": "",
        "FLUX.1-dev": "FLUX",
        "Gemini 2.5 Flash Image (Nano Banana)": "GPT image or Gemini",
        "unknown (game, likely FLUX)": "?",
        "Kandinsky 3": "",
    }
    assert {n: family_of(n) for n in names} == names


def test_eight_bits_and_whole_numbers_come_back(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from assay_lab.export import four_bits
    from assay_lab.export.onnx_graph import run_onnx, write_onnx

    layer = torch.nn.Linear(96, 64)
    codes, step = four_bits.eight_bits(layer.weight.detach())
    with torch.no_grad():
        assert float((codes.float() * step - layer.weight).abs().max()) <= float(step.max())
        layer.weight.copy_(codes.float() * step)
    graph, path, x = tmp_path / "m.onnx", tmp_path / "m.npz", torch.randn(5, 96)
    write_onnx(layer, x, graph, ("y",))
    assert four_bits.store(graph, path, (), [(codes, step)]) == 1
    assert path.stat().st_size < 64 * 96 * 2
    with torch.no_grad():
        assert run_onnx(path, x.numpy())[0] == pytest.approx(layer(x).numpy(), abs=1e-5)


def test_the_point_is_sure_for_pictures_and_for_pages() -> None:
    from assay_lab.export.images import Seen, from_films, surest

    rng = np.random.default_rng(5)
    names = [f"{first}{k}" for first in ("photos", "page_", "film_") for k in range(20)]
    source = np.repeat(names, 50)
    count = len(source)
    scores = rng.normal(size=count) + 2.0 * np.char.startswith(source, "page_")
    seen = Seen(
        name=np.arange(count).astype(str), source=source, group=source,
        fake=np.zeros(count, bool), how=np.full(count, "none"),
        side=np.full(count, 500), patches=scores, whole=scores,
    )  # fmt: skip
    pages = seen.where(np.char.startswith(source, "page_"))
    photos = seen.where(np.char.startswith(source, "photos"))
    both = seen.where(~from_films(seen))
    assert len(both.source) == 2000
    assert surest(both, both.patches, 0.05) == surest(pages, pages.patches, 0.05)
    assert surest(photos, photos.patches, 0.05) < surest(both, both.patches, 0.05) - 1
