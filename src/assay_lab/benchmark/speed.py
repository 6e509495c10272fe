"""Speed and memory of the shipped pipeline, each case in a fresh process.

    python -m assay_lab.benchmark.speed --out benchmarks/speed.json

Media is made by code from the portrait and the speech among the test samples, so that the
face and voice networks are at work and the figures can be had anywhere. Wall seconds are
the median of the runs, memory is the peak resident size of the analysing process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from assay.models.processor import multiplies_bytes

_SAMPLES = Path(__file__).parents[3] / "tests" / "media" / "samples"

_CHILD = """
import json, resource, sys, time
started = time.perf_counter()
import assay
imported = time.perf_counter()
report = assay.analyze(sys.argv[1])
ended = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"import_s": imported - started, "analyze_s": ended - imported,
                  "peak_bytes": peak, "verdict": report.verdict,
                  "analyzers": {a.analyzer: a.seconds for a in report.coverage.analysed},
                  "failed": [s.what for s in report.coverage.skipped if s.code == "failed"]}))
"""


def _portrait(width: int, height: int) -> PillowImage.Image:
    """The sample portrait, cut to the shape and scaled."""
    picture = PillowImage.open(_SAMPLES / "astronaut.png").convert("RGB")
    return ImageOps.fit(picture, (width, height), centering=(0.4, 0.0))


def _photo(path: Path) -> None:
    pixels = np.asarray(_portrait(4000, 3000), np.float32)
    noise = np.random.RandomState(1).normal(0, 4, pixels.shape)
    PillowImage.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=92)


def _video(path: Path, seconds: int, width: int, height: int) -> None:
    import av

    big = np.asarray(_portrait(width + 128, height + 128))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "23"}
        for n in range(seconds * 25):
            x, y = n % 128, (n // 3) % 128
            picture = np.ascontiguousarray(big[y : y + height, x : x + width])
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _sound(path: Path, seconds: int) -> None:
    import soundfile

    speech, rate = soundfile.read(_SAMPLES / "speech.flac", dtype="float32")
    noise = np.random.RandomState(4).normal(0, 0.0005, seconds * rate)
    soundfile.write(path, np.resize(speech, seconds * rate) + noise.astype(np.float32), rate)


def _measure(path: Path, runs: int) -> dict[str, Any]:
    results = []
    for _ in range(runs):
        before = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, check=True
        )
        result = json.loads(done.stdout)
        result["process_s"] = time.perf_counter() - before
        results.append(result)
    last = results[-1]
    return {
        "runs": runs,
        "import_s": round(statistics.median(r["import_s"] for r in results), 3),
        "analyze_s": round(statistics.median(r["analyze_s"] for r in results), 3),
        "process_s": round(statistics.median(r["process_s"] for r in results), 3),
        "peak_mib": round(max(r["peak_bytes"] for r in results) / 2**20),
        "verdict": last["verdict"],
        "failed": last["failed"],
        "analyzers_s": last["analyzers"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed.json"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="also a 30-minute video")
    args = parser.parse_args()
    cases: dict[str, tuple[str, Callable[[Path], None], int]] = {
        "photo, 64 x 64 (cold start)": ("tiny.png", _tiny, args.runs),
        "photo, 12 megapixels, JPEG": ("photo.jpg", _photo, args.runs),
        "video, 10 s of 1080p, H.264": ("v.mp4", lambda p: _video(p, 10, 1920, 1080), args.runs),
        "sound, 60 s, 16 kHz WAV": ("s.wav", lambda p: _sound(p, 60), args.runs),
    }
    if args.long:
        cases["video, 30 min of 480p, H.264"] = (
            "long.mp4",
            lambda p: _video(p, 1800, 854, 480),
            1,
        )
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, make, runs) in cases.items():
            path = Path(folder) / file
            # In a process of its own: a child inherits the peak memory of what started it.
            maker = multiprocessing.get_context("fork").Process(target=make, args=(path,))
            maker.start()
            maker.join()
            if maker.exitcode:
                raise SystemExit(f"could not make {file}")
            results[name] = _measure(path, runs)
            print(name, json.dumps(results[name]), flush=True)
            path.unlink()
    document = {
        "command": "python -m assay_lab.benchmark.speed --out benchmarks/speed.json"
        + (" --long" if args.long else ""),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "multiplies_bytes": multiplies_bytes(),  # else networks multiply in floats
            "python": platform.python_version(),
        },
        "cases": results,
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n")


def _tiny(path: Path) -> None:
    PillowImage.radial_gradient("L").resize((64, 64)).convert("RGB").save(path)


if __name__ == "__main__":
    main()
