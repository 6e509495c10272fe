"""Plain text: readable at 80 columns, without surprises for the terminal."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from rich.cells import cell_len

from assay.findings import Claim
from assay.report import wording
from assay.report.as_json import load
from assay.report.as_text import to_line, to_text
from assay.report.document import Report


def test_text_is_as_it_was(golden: Path) -> None:
    stored = golden.with_suffix(".txt").read_text("utf-8")
    assert to_text(load(golden), explain=True) == stored, "run: python tests/report/make_golden.py"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("explain", [False, True])
def test_no_line_is_too_long(report: Report, width: int, explain: bool) -> None:
    for line in to_text(report, width=width, explain=explain).splitlines():
        assert cell_len(line) <= width


def test_no_line_is_too_long_with_wide_letters(still: Report) -> None:
    media = dataclasses.replace(still.media, name="写真" * 60 + ".png", format="形" * 50)
    report = dataclasses.replace(still, media=media, headline="断" * 200, reasons=("x" * 500,))
    for line in to_text(report, explain=True).splitlines():
        assert cell_len(line) <= 80


def test_colour_only_when_asked(report: Report) -> None:
    assert "\x1b" not in to_text(report, explain=True)
    coloured = to_text(report, color=True)
    assert "\x1b[" in coloured


def test_it_says_what_matters(still: Report) -> None:
    text = " ".join(to_text(still).split())
    assert text.startswith("MANIPULATED " + still.headline)
    for said in ("97 % (93 % to 99 %)", "about 1 in 100", "Not tested", "if 50 % of such files"):
        assert said in text
    assert "Ledger" not in text
    assert "Ledger" in to_text(still, explain=True)
    for item in still.evidence:
        assert item.because in text


def test_terminal_codes_and_markup_are_harmless(still: Report) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J[bold red]x[/] :smile: \u202egnp.exe\r\n\x9b31m"
    item = dataclasses.replace(still.evidence[0], because=evil, limits=(evil,), code=evil)
    report = dataclasses.replace(
        still,
        media=dataclasses.replace(still.media, name=evil, codec=evil),
        headline=evil,
        reasons=(evil,),
        evidence=(item,),
    )
    for text in (to_text(report, explain=True), to_line(report)):
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e", "\r"}
        assert "[U+202E]" in text.replace("\n", "") or "[U+001B]" in text
    assert "[bold red]x[/]" in " ".join(to_text(report).split())
    assert len(to_line(report).splitlines()) == 1


def test_undecodable_names_can_be_printed(still: Report) -> None:
    media = dataclasses.replace(still.media, name="\udcff\udc80.png")
    to_text(dataclasses.replace(still, media=media)).encode("utf-8")


def test_a_line_for_batches(report: Report) -> None:
    line = to_line(report)
    assert "\n" not in line
    assert line.startswith(wording.VERDICTS[report.verdict])


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.0, "no support either way"),
        (1.9, "no support either way"),
        (5, "weak support for not authentic"),
        (1 / 5, "weak support for authentic"),
        (50, "moderate support for not authentic"),
        (500, "moderately strong support for not authentic"),
        (5e3, "strong support for not authentic"),
        (5e5, "very strong support for not authentic"),
        (1e-9, "extremely strong support for authentic"),
    ],
)
def test_the_verbal_scale(ratio: float, words: str) -> None:
    assert wording.support(math.log(ratio)) == words


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "<0.1 %"), (1.0, ">99.9 %"), (0.5, "50 %"), (0.012, "1.2 %"), (0.9952, "99.5 %")],
)
def test_percentages_never_round_to_certainty(value: float, said: str) -> None:
    assert wording.percent(value) == said


@pytest.mark.parametrize("llr", [0.0, 0.7, -3.3, 4.6, 30.0, 1e6, -1e6])
def test_weights_can_always_be_said(still: Report, llr: float) -> None:
    assert wording.weight(dataclasses.replace(still.evidence[2], llr=llr))


def test_clean_is_bounded_and_leaves_ordinary_text() -> None:
    assert wording.clean("Ein Bild, 写真, مرحبا, é") == "Ein Bild, 写真, مرحبا, é"
    assert len(wording.clean("\u202e" * 10**6, 100)) <= 101
    assert len(wording.clean("Z" + "\u0301" * 1000)) < 10
    assert wording.clean("a\u2028b\nc") == "a b c"
    assert wording.clean("a" * 10, 5) == "aaaaa…"


def test_times() -> None:
    assert wording.clock(7.44) == "0:07.4"
    assert wording.clock(59.96) == "1:00.0"
    assert wording.clock(3723.4) == "1:02:03.4"
    assert wording.moment("2026-11-24T13:00:00+01:00") == "2026-11-24 12:00 UTC"
    assert wording.moment("yesterday") == "yesterday"


def test_numbers_flags_and_calls(still: Report) -> None:
    assert wording.number(18_800.0) == "18800"
    assert wording.number(-2.414) == "−2.41"
    assert wording.flag("too_small") == "Too small"
    assert wording.flag("Narrow band: up to 3.4 kHz.") == "Narrow band: up to 3.4 kHz."
    item = dataclasses.replace(still.evidence[2], claim=Claim.NEUTRAL, llr=1.0)
    assert wording.claim(item) == "not clear enough to call"
    assert wording.claim(dataclasses.replace(item, llr=None)) == "points neither way"
