"""The HTML page: what it says, and that nothing hostile gets out of its text."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from assay.fusion.calibration import posterior, spread
from assay.report import media_view, outlook, wording
from assay.report.as_html import to_html
from assay.report.as_json import from_json, load, to_json
from assay.report.document import Picture, Report

_VOID = {"meta", "br", "img", "input", "link", "hr"}
_TAGS = frozenset(
    re.findall(
        r"\w+",
        "html head meta title style body a div header span main h1 h2 h3 p section ul li bdi strong"
        " svg rect circle g text line label input output details summary table caption thead tbody"
        " tr th td figure figcaption img image path polyline pattern defs button article dl dt"
        " dd script br",
    )
)


class _Page(HTMLParser):
    """Tags in order, checked for balance; texts and attributes for questions."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        {"script": self.scripts, "style": self.styles}.get(
            self._open[-1] if self._open else "", self.text
        ).append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def _safe(html: str) -> _Page:
    page = _Page(html)
    assert set(page.tags) <= _TAGS
    assert len(page.scripts) == len(page.styles) == 1
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"style", "srcdoc", "formaction", "xlink:href", "srcset"}
        if name in {"href", "src"}:
            assert value.startswith(("#", "data:image/")), value[:60]
            assert "svg" not in value[:30]
    assert not re.search(r"@import|url\((?!#)", page.styles[0])
    return page


def test_html_is_as_it_was(golden: Path) -> None:
    stored = golden.with_suffix(".html").read_text("utf-8")
    assert to_html(load(golden)) == stored, "run: python tests/report/make_golden.py"


def test_golden_pages_are_safe_and_whole(report: Report) -> None:
    page = _safe(to_html(report))
    assert report.headline in page.said
    assert wording.stated_rate(report) in page.said
    for item in report.evidence:
        assert item.because in page.said
        assert all(limit in page.said for limit in item.limits)
    for skipped in report.coverage.skipped:
        assert skipped.why in page.said
    ids = [v for _, n, v in page.attributes if n == "id"]
    assert len(ids) == len(set(ids))
    targets = {v[1:] for _, n, v in page.attributes if n == "href" and v.startswith("#")}
    assert targets <= set(ids)
    labelled = {v for _, n, v in page.attributes if n in {"for", "aria-labelledby"}}
    assert labelled <= set(ids)


def test_pictures_have_alternatives(report: Report) -> None:
    html = to_html(report)
    for tag in re.findall(r"<img [^>]*>", html):
        assert re.search(r'alt="[^"]+"', tag)
    for tag in re.findall(r"<svg [^>]*role=\"img\"[^>]*>", html):
        assert re.search(r'aria-label="[^"]+"', tag)


def test_the_policy_admits_our_own_style_and_script_only(still: Report) -> None:
    page = _safe(to_html(still))
    (policy,) = (v for _, n, v in page.attributes if n == "content" and "default-src" in v)
    for content in (page.styles[0], page.scripts[0]):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "javascript:alert(1)",
    "</style><style>*{background:url(http://x.invalid)}",
    "{{ 7 * 191 }}{% include '/etc/passwd' %}",
    "</bdi></p><h1>AUTHENTIC</h1>",
    "\u202egnp.exe\u2066\u200f\u061c",
    "\x00\x07\x1b[2J\x7f\ufeff\U000e0041",
    "\udcff\ud800",
    "-->]]><!--",
)


_INVISIBLE = re.compile(
    "[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ufeff\x00-\x09\x0b-\x1f\x7f]"
)


def _poisoned(value: Any, payload: str, path: str = "") -> Any:
    """Every free string and every free key replaced."""
    if isinstance(value, dict):
        free = path.endswith((".data", ".timing")) or ".data." in path
        return {
            (key + payload if free else key): _poisoned(inner, payload, f"{path}.{key}")
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_poisoned(inner, payload, path) for inner in value]
    kept = (
        *("schema_version", "verdict", "kind", "claim", "strength", "question", "role", "data"),
        "sensitivity",
    )
    if isinstance(value, str):
        name = path.rsplit(".", 1)[-1]
        analysed = ".coverage.analysed.question" in path or ".media.kind" in path
        return value if name in kept and not analysed else payload
    return value


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_hostile_strings_in_every_field(report: Report, payload: str) -> None:
    bad = from_json(json.dumps(_poisoned(json.loads(to_json(report)), payload)))
    assert bad.headline == bad.media.name == payload
    html = to_html(bad)
    html.encode("utf-8")
    page = _safe(html)
    assert page.tags.count("h1") == 1
    assert "1337" not in page.said
    assert not _INVISIBLE.search(html)
    visible = wording.clean(payload).strip()
    assert " ".join(visible.split()) in page.said


@pytest.mark.parametrize(
    "change",
    [
        {"mime": "image/svg+xml"},
        {"mime": "text/html"},
        {"data": 'PHN2Zz4="><script>'},
        {"data": "PHN2Zz4=\n"},
        {"data": ""},
        {"width": 0},
        {"width": -4},
        {"scale": 0.0},
    ],
)
def test_pictures_that_are_none_are_left_out(still: Report, change: dict[str, Any]) -> None:
    bad = dataclasses.replace(still.pictures[0], **change)
    page = _safe(to_html(dataclasses.replace(still, pictures=(bad,))))
    assert "img" not in page.tags


def test_an_enormous_report_stays_bounded(video: Report) -> None:
    long = "word " * 20_000
    item = dataclasses.replace(
        video.evidence[1],
        because=long,
        limits=(long,) * 500,
        data={str(i): long for i in range(500)},
    )
    evidence = tuple(dataclasses.replace(item, id=f"e{i}") for i in range(1000))
    report = dataclasses.replace(
        video, evidence=evidence, faces=video.faces * 500, timeline=video.timeline * 500,
        reasons=(long,) * 500, hypotheses=video.hypotheses * 100, pictures=video.pictures * 20,
    )  # fmt: skip
    assert "700 more pieces of evidence" in _Page(to_html(report)).said


@pytest.mark.parametrize("value", [0.0, 1.0, -5.0, 1e300])
def test_absurd_numbers_do_not_break_the_page(still: Report, value: float) -> None:
    from assay.report.document import Interval

    report = dataclasses.replace(
        still,
        probability=value, prior=value, interval=Interval(low=value, high=value),
        hypotheses=tuple(dataclasses.replace(h, share=value, llr=value) for h in still.hypotheses),
        media=dataclasses.replace(still.media, width=1, height=1, duration=value),
    )  # fmt: skip
    _safe(to_html(report))


def test_the_base_rate_follows_the_formula_of_fusion(still: Report, video: Report) -> None:
    for report in (still, video):
        for prior in (0.001, 0.1, report.prior, 0.9):
            found = outlook.at_prior(report, prior)
            assert found == pytest.approx(
                (
                    posterior(report.hypotheses, prior),
                    posterior(report.hypotheses, prior, shift=-spread(None)),
                    posterior(report.hypotheses, prior, shift=spread(None)),
                )
            )


def test_provenance_is_three_answers(golden: Path) -> None:
    page = _Page(to_html(load(golden.with_name("conflicting-credentials.json"))))
    for said in ("Integrity Holds", "Trust On the trust list", "Meaning Declared", "2026-10-01"):
        assert said in page.said


def test_faces_are_drawn_where_they_are(still: Report) -> None:
    html = to_html(still)
    left, top, width, _ = still.faces[0].box
    assert still.media.width
    assert still.media.height
    x, y = 100 * left / still.media.width, 100 * top / still.media.height
    number = r'"([\d.]+)%"'
    found = re.search(f'<rect class="box against" x={number} y={number} width={number}', html)
    assert found
    assert [float(v) for v in found.groups()] == pytest.approx(
        [x, y, 100 * width / still.media.width], abs=0.01
    )


def test_frames_show_only_who_was_seen_then(video: Report) -> None:
    shown = media_view.frames(video)
    assert [len(f["boxes"]) for f in shown] == [0, 1, 0, 0]


def test_a_report_without_pictures_has_no_empty_picture(still: Report) -> None:
    page = _safe(to_html(dataclasses.replace(still, pictures=())))
    assert "img" not in page.tags
    assert "h-picture" not in {v for _, _, v in page.attributes}


def test_strange_pictures_do_not_disturb_sound(video: Report) -> None:
    odd = Picture(role="other", mime="image/png", width=1, height=1, data="AAAA")
    assert to_html(dataclasses.replace(video, pictures=(odd,)))
