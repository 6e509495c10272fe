"""Which arithmetic a processor is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.models import processor


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    processor.multiplies_bytes.cache_clear()
    yield
    processor.multiplies_bytes.cache_clear()


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("model name\t: AMD EPYC 7763\nflags\t\t: fpu sse avx2 fma\n", False),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n\nflags\t\t: fpu\n", True),
        ("flags\t\t: fpu avx2 avx_vnni\n", True),
        ("Features\t: fp asimd asimddp\nCPU part\t: 0xd0c\n", True),
        ("Features\t: fp asimd\n", False),
        ("nothing that is known", True),
        ("", True),
    ],
)
def test_by_the_flags(
    text: str, fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    assert processor.multiplies_bytes() is fast


def test_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    assert processor.multiplies_bytes() is True
