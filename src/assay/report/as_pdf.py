"""The report as a paginated PDF, printed from the HTML report by WeasyPrint (extra ``pdf``).

Needs the report alone. WeasyPrint gets no access to files or the network: the only
addresses that it may read are ``data:`` ones, which are the report's own pictures. Equal
reports give equal bytes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from assay.errors import ReportError
from assay.report import wording
from assay.report.as_html import to_html
from assay.report.as_json import to_json
from assay.report.document import Report

__all__ = ["to_pdf"]

_TEMPLATES = Path(__file__).with_name("templates")
_SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_PICTURE_TAG = re.compile(r"<svg\b[^>]*>")
_PALETTE = re.compile(r"(--[a-z]+):\s*([^;}]+)")
_VARIABLE = re.compile(r"var\((--[a-z]+)\)")


def to_pdf(report: Report) -> bytes:
    """``report`` on A4 pages, each with its number, the report's id and its SHA-256.

    The hash is that of the JSON form (:func:`assay.report.as_json.to_json`), from which
    everything on the pages can be made again.

    Raises:
        ReportError: WeasyPrint or a library that it needs is missing, or rendering fails.
    """
    from PIL import ImageFile

    whole_only = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except (ImportError, OSError) as error:
        raise ReportError(
            "PDF needs the extra `pdf` (pip install 'assay[pdf]') and the libraries Pango and "
            f"HarfBuzz (Debian: libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0): {error}"
        ) from error
    finally:
        # Its import lets the whole process take broken pictures for whole ones.
        ImageFile.LOAD_TRUNCATED_IMAGES = whole_only

    class Nothing(URLFetcher):  # type: ignore[misc]
        """Reads what is in the page itself and refuses every other address."""

        def fetch(self, url: str, headers: Any = None) -> Any:
            if not url.startswith("data:"):
                raise ValueError("a report reads nothing from elsewhere")
            return super().fetch(url, headers)

    document = to_json(report)
    page = _page(report, hashlib.sha256(document.encode()).hexdigest())
    try:
        made = weasyprint.HTML(string=page, base_url=None, url_fetcher=Nothing()).write_pdf(
            pdf_identifier=hashlib.sha256(document.encode()).digest()[:16],
        )
    except Exception as error:
        # The library draws what hostile media put into the report; it may stumble anywhere.
        raise ReportError(f"the PDF cannot be made: {type(error).__name__}: {error}") from error
    assert isinstance(made, bytes)
    return made


def _page(report: Report, digest: str) -> str:
    """The HTML report with a style for paper, which each drawing carries too.

    WeasyPrint draws inline SVG apart from the page: it sees neither the page's style nor
    its variables.
    """
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    paper = (_TEMPLATES / "paper.css").read_text("utf-8")
    palette = dict(_PALETTE.findall(style.rsplit("@media print", 1)[1].split("}", 1)[0]))
    drawing = _fixed((_TEMPLATES / "drawing.css").read_text("utf-8"), palette)
    name = f"Assay report {wording.clean(report.analysis_id, 40)}, SHA-256 of its JSON {digest}"
    footer = f"@page {{ @bottom-left {{ content: {_quoted(name)}; }} }}"
    page = _SCRIPT.sub("", to_html(report))
    page = _PICTURE_TAG.sub(lambda tag: f"{tag.group()}<style>{drawing}</style>", page)
    return _STYLE.sub(lambda _: f"<style>{_fixed(style + paper, palette)}{footer}</style>", page, 1)


def _fixed(style: str, palette: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda found: palette[found.group(1)].strip(), style)


def _quoted(text: str) -> str:
    """As a CSS string that ends where it should."""
    return '"' + "".join(c if c.isalnum() or c in " -" else f"\\{ord(c):x} " for c in text) + '"'
