"""The JavaScript client: made from the present OpenAPI document, and at work under Node."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[2] / "clients" / "typescript"


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    assert found, "Node is missing: install the Debian package nodejs"
    return found


def test_it_is_current() -> None:
    made = runpy.run_path(str(HERE / "generate.py"))
    for name, text in made["render"](made["document"]()).items():
        assert (HERE / name).read_text("utf-8") == text, f"run: python {HERE / 'generate.py'}"


def test_the_example_works(house: Any, node: str, astronaut_png: Path) -> None:
    with house.program() as client:
        key = client.headers["authorization"].removeprefix("Bearer ")
        done = subprocess.run(
            [node, HERE / "example.mjs", house.url, key, astronaut_png],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        (row,) = client.get("/api/v1/analyses").json()["items"]
        assert done.stdout.strip() == f"{row['verdict']}: {row['headline']}"
        assert "running" in done.stderr
        assert row["prior"] == 0.1


def test_problems_are_told(house: Any, node: str, astronaut_png: Path) -> None:
    done = subprocess.run(
        [node, HERE / "example.mjs", house.url, "assay_x_y", astronaut_png],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("401 ")
