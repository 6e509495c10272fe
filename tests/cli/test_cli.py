"""The command line as a user meets it: a real process, real files, exit status and text."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from assay.analyzers.image import face_scoring
from assay.cli import batch


def assay(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "assay", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=240,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain picture, one that says it was generated, a broken one, and a text file."""
    root = tmp_path / "media"
    root.mkdir()
    noise = np.random.RandomState(3).randint(0, 255, (120, 160, 3), np.uint8)
    PillowImage.fromarray(noise).resize((320, 240)).save(root / "a plain.jpg", quality=90)
    info = PngInfo()
    info.add_text(
        "parameters",
        "a lighthouse\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x64, "
        "Model hash: abcdef12, Model: sd15",
    )
    PillowImage.fromarray(noise[:64, :64]).save(root / "b generated.png", pnginfo=info)
    (root / "notes.txt").write_text("nothing to see")
    deeper = root / "deeper"
    deeper.mkdir()
    (deeper / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    return root


def test_one_file(folder: Path) -> None:
    done = assay("analyze", folder / "a plain.jpg")
    assert done.returncode == 0, done.stderr
    assert "a plain.jpg" in done.stdout
    assert "\x1b[" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_declared_generated_picture_is_status_one(folder: Path) -> None:
    done = assay("analyze", folder / "b generated.png")
    assert done.returncode == 1, done.stderr
    assert "declares that it was generated" in " ".join(done.stdout.split())


def test_json_lines_over_a_folder(folder: Path) -> None:
    done = assay("analyze", folder, "--json", "--recursive", "--jobs", 2)
    assert done.returncode == 3  # the broken file
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    by_name = {Path(line["path"]).name: line for line in lines}
    assert set(by_name) == {"a plain.jpg", "b generated.png", "broken.png"}
    assert by_name["b generated.png"]["verdict"] == "synthetic"
    assert by_name["broken.png"]["error"]["type"] == "Corrupt"
    assert "broken.png" in done.stderr
    assert "1 not media" in done.stderr


def test_without_recursive_only_the_top(folder: Path) -> None:
    done = assay("analyze", folder, "--json")
    names = {Path(json.loads(line)["path"]).name for line in done.stdout.splitlines()}
    assert names == {"a plain.jpg", "b generated.png"}


def test_out_and_stored_report(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports"
    done = assay("analyze", folder, "--out", out)
    assert done.returncode == 1
    stored = sorted(out.glob("*.json"))
    assert len(stored) == 2
    assert len(list(out.glob("*.html"))) == 2
    for path in folder.glob("*.*"):
        path.unlink()  # the media is not needed any more
    page = tmp_path / "again.html"
    again = assay("report", stored[1], "--html", page)
    assert again.returncode == 1
    assert page.read_text("utf-8").startswith("<!doctype html>")
    shown = assay("report", stored[0])
    assert shown.returncode == 0
    assert "a plain.jpg" in shown.stdout


def test_a_json_line_is_itself_a_stored_report(folder: Path, tmp_path: Path) -> None:
    line = assay("analyze", folder / "a plain.jpg", "--json").stdout
    stored = tmp_path / "line.json"
    stored.write_text(line)
    assert assay("report", stored).returncode == 0


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["analyze"], 2, "Missing argument"),
        (["analyze", "x", "--prior", "2"], 2, "prior"),
        (["analyze", "does-not-exist.jpg"], 3, "does-not-exist.jpg"),
        (["report", "does-not-exist.json"], 3, "does-not-exist.json"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_usage_is_told(args: list[str], status: int, message: str) -> None:
    done = assay(*args)
    assert done.returncode == status
    assert message in done.stderr


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        with open(path, "wb") as file:
            PillowImage.new("RGB", (40, 40), "teal").save(file, "png")
    except OSError:
        pytest.skip("this file system takes only text as names")
    done = assay("analyze", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["media"]["format"] == "png"


def test_interrupt_keeps_what_is_done(tmp_path: Path) -> None:
    for number in range(40):
        PillowImage.effect_noise((700, 700), 60 + number).save(tmp_path / f"{number:02}.png")
    child = subprocess.Popen(
        [sys.executable, "-m", "assay", "analyze", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert json.loads(first)["media"]["format"] == "png"
    for line in rest.splitlines():
        json.loads(line)  # whole lines only
    assert "Interrupted" in errors


def test_an_interrupt_is_known_even_where_its_exception_is_swallowed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with batch._interruptible() as interrupted:
        assert not interrupted.is_set()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupted.is_set()
    assert signal.getsignal(signal.SIGINT) is before


def test_doctor_and_models() -> None:
    done = assay("doctor")
    assert done.returncode == 0, done.stdout
    assert "all well" in done.stdout
    cards = json.loads(assay("models", "--json").stdout)
    assert {face_scoring.MODEL, "face-detector-v1"} <= {c["key"] for c in cards}
    assert face_scoring.MODEL in assay("models").stdout


def test_import_is_light() -> None:
    code = "import sys, assay; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("cv2", "scipy", "av", "onnxruntime", "PIL", "c2pa", "rich", "typer"):
        assert f"'{heavy}'" not in done.stdout


def test_closed_pipe_is_no_crash(folder: Path) -> None:
    script = f'"{sys.executable}" -m assay analyze "{folder}" --json | head -n 1'
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 100
