"""The golden reports, as documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.report.as_json import load
from assay.report.document import Report

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))


@pytest.fixture(params=GOLDEN, ids=lambda p: p.stem)
def golden(request: pytest.FixtureRequest) -> Path:
    """The path of each golden document in turn."""
    path: Path = request.param
    return path


@pytest.fixture
def report(golden: Path) -> Report:
    return load(golden)


@pytest.fixture
def still() -> Report:
    return load(next(p for p in GOLDEN if p.stem == "still-with-faces"))


@pytest.fixture
def video() -> Report:
    return load(next(p for p in GOLDEN if p.stem == "video-with-tracks"))
