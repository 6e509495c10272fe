"""Copy-synthesised twins of the real clips of a speech cache, as a cache of their own.

    python -m assay_lab.data.speech_copies --cache PAGES --out COPIES --minutes 15 \
        --hifigan generator_universal.pth.tar --hifigan generator_LJSpeech.pth.tar --lyra MODEL_DIR

Methods take turns over the real clips, source by source, so that a run cut short by
``--minutes`` is still even. A copy keeps the row of its original: source, language, path and
``group``; its ``system`` is ``copy_<method>`` and its ``year`` is empty. Methods whose weights
are not given are left out, and said so.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from assay_lab.data.speech import RATE, SpeechCache, to_int16, write_cache
from assay_lab.forge.copy_synthesis import HifiGan, Lyra, griffin_lim, linear_prediction, world

Floats = NDArray[np.float32]
Method = Callable[[Floats, np.random.Generator], Floats]
SECONDS = 5.0


def methods(hifigan: list[Path], lyra: Path | None) -> dict[str, Method]:
    """Named methods; the costly ones only with their weights."""
    found: dict[str, Method] = {
        "griffin_lim": griffin_lim,
        "world": world,
        "linear_prediction": linear_prediction,
    }
    for path in hifigan:
        net = HifiGan(path)
        name = "hifigan_" + path.name.split(".")[0].removeprefix("generator_").lower()
        found[name] = lambda x, _, net=net: net(x)  # type: ignore[misc]
    if lyra is not None:
        coder = Lyra(lyra)
        found["lyra"] = lambda x, rng: coder(x, int(rng.choice([64, 120, 184])))
    return found


def order(cache: SpeechCache, rng: np.random.Generator, sources: set[str]) -> Iterator[int]:
    """Real clips, one of each source in turn, in random order within a source."""
    waiting: dict[str, list[int]] = defaultdict(list)
    for i in rng.permutation(np.flatnonzero(cache.labels == 0)):
        if cache.rows[i]["source"] not in sources:
            waiting[cache.rows[i]["source"]].append(int(i))
    while waiting:
        for source in sorted(waiting):
            yield waiting[source].pop()
            if not waiting[source]:
                del waiting[source]


def copies(
    cache: SpeechCache, made: dict[str, Method], minutes: float, most: int, skip: set[str]
) -> Iterator[list[tuple[dict[str, str], NDArray[np.int16]]]]:
    """Batches of one copy each, until ``minutes`` or ``most`` copies are reached."""
    rng = np.random.default_rng(41)
    began = time.monotonic()
    spent: dict[str, float] = dict.fromkeys(made, 0.0)
    count: dict[str, int] = dict.fromkeys(made, 0)
    for index in order(cache, rng, skip):
        if sum(count.values()) >= most or time.monotonic() - began > 60 * minutes:
            break
        # The method that has used the least time, counting the cheap ones as if they cost more:
        # many cheap copies, some costly ones.
        name = min(made, key=lambda m: spent[m] + 0.1 * count[m])
        start = time.monotonic()
        row = cache.rows[index]
        x = cache.clip(index, 0, int(SECONDS * RATE)).astype(np.float32) / 32768
        try:
            pcm = to_int16(made[name](x, rng))
        except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            print(f"{name}: {row['path']}: {error}", flush=True)
            continue
        finally:
            spent[name] += time.monotonic() - start
        count[name] += 1
        yield [
            (
                {
                    **row, "label": "fake", "system": f"copy_{name}", "type": "vocoder", "year": "",
                    "sha256": hashlib.sha256(pcm.tobytes()).hexdigest(),
                },
                pcm,
            )
        ]  # fmt: skip
    for name in made:
        print(f"{name}: {count[name]} copies in {spent[name]:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Copy-synthesise the real clips of a cache.")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--most", type=int, default=3000)
    parser.add_argument("--skip", default="", help="comma-separated sources to leave alone")
    parser.add_argument("--hifigan", type=Path, action="append", default=[])
    parser.add_argument("--lyra", type=Path, help="folder of the three TFLite files")
    args = parser.parse_args()
    torch.set_num_threads(1)
    skip = {s for s in args.skip.split(",") if s}
    made = methods(args.hifigan, args.lyra)
    print("methods:", ", ".join(made), flush=True)
    batches = copies(SpeechCache(args.cache), made, args.minutes, args.most, skip)
    print(write_cache(batches, args.out))


if __name__ == "__main__":
    main()
