"""The PDF says what the report says, alike each time, and reads nothing from elsewhere."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest

from assay.errors import ReportError
from assay.report import wording
from assay.report.as_json import load, to_json
from assay.report.as_pdf import to_pdf
from assay.report.document import Report


def _text(data: bytes) -> list[str]:
    """Of each page, with white space made single; read by another library."""
    document = pypdfium2.PdfDocument(data)
    try:
        pages = []
        for number in range(len(document)):
            page = document[number]
            layer = page.get_textpage()
            pages.append(re.sub(r"\s+", " ", layer.get_text_range()))
            layer.close()
            page.close()
        return pages
    finally:
        document.close()


def _flat(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_it_says_what_the_report_says(report: Report) -> None:
    pages = _text(to_pdf(report))
    whole = _flat("".join(pages))
    assert _flat(report.headline) in whole
    assert wording.VERDICTS[report.verdict].lower() in pages[0].lower()
    for item in report.evidence:
        assert _flat(wording.clean(item.because, 1000)) in whole
    assert report.media.sha256 in whole
    digest = hashlib.sha256(to_json(report).encode()).hexdigest()
    for number, page in enumerate(pages, start=1):
        assert f"{number} / {len(pages)}" in page
        assert digest in _flat(page)
        assert report.analysis_id in _flat(page)


def test_it_is_the_same_each_time(still: Report) -> None:
    assert to_pdf(still) == to_pdf(still)


def test_the_picture_and_the_drawings_are_there(still: Report) -> None:
    document = pypdfium2.PdfDocument(to_pdf(still))
    kinds = [o.type for n in range(len(document)) for o in document[n].get_objects(max_depth=9)]
    document.close()
    bare = pypdfium2.PdfDocument(to_pdf(replace(still, pictures=())))
    without = [o.type for n in range(len(bare)) for o in bare[n].get_objects(max_depth=9)]
    bare.close()
    assert kinds.count(3) > without.count(3), "3 is an image"
    assert without.count(2) > 3, "2 is a path: the scale of the probability"


@pytest.mark.parametrize(
    "text",
    [
        "<img src='file:///etc/passwd'>",
        "<style>@import 'http://127.0.0.1:9/x.css'</style>",
        "</style><link rel=attachment href='file:///etc/passwd'>",
        '"; } @page { background: url(file:///etc/passwd) } "',
        "\u202etxet\x00\x1b[31m",
    ],
)
def test_hostile_text_stays_text(still: Report, text: str) -> None:
    hostile = replace(still, headline=text, media=replace(still.media, name=text), analysis_id=text)
    data = to_pdf(hostile)
    assert b"/EmbeddedFile" not in data
    assert "root:" not in "".join(_text(data))


def test_no_other_address_is_read(still: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.report import as_pdf

    page = "<h1>Hello</h1><img src='file:///etc/passwd'><img src='https://example.org/x.png'>"
    monkeypatch.setattr(as_pdf, "to_html", lambda report: f"<style></style>{page}")
    assert _text(to_pdf(still))[0].startswith("Hello")


def test_what_is_missing_is_named(still: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(ReportError, match=r"assay\[pdf\].*libpango-1\.0-0"):
        to_pdf(still)


def test_the_command_line_writes_one(golden: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.pdf"
    done = subprocess.run(
        [sys.executable, "-m", "assay", "report", golden, "--pdf", target], capture_output=True
    )
    assert done.returncode in (0, 1), done.stderr
    assert target.read_bytes().startswith(b"%PDF-")
    assert done.stdout == b""


def test_broken_pictures_stay_broken_afterwards(golden: Path) -> None:
    """WeasyPrint's import would let Pillow take half a picture for a whole one."""
    from PIL import ImageFile

    to_pdf(load(golden))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
