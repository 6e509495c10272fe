"""The report for the terminal: readable at 80 columns, plain when piped."""

from __future__ import annotations

import io
from collections.abc import Iterable

from assay.findings import Claim, Kind
from assay.report.document import Evidence, Report, Verdict
from assay.report.words import (
    CLAIM_WORDS,
    KIND_TITLES,
    VERDICT_WORDS,
    clock,
    error_rate,
    order,
    percent,
    safe,
    size,
    weight,
    what_would_change,
)

__all__ = ["to_line", "to_text"]

_COLOURS = {
    Verdict.AUTHENTIC: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.SUSPICIOUS: "dark_orange",
    Verdict.MANIPULATED: "red",
    Verdict.SYNTHETIC: "red",
    Verdict.NOT_APPLICABLE: "bright_black",
}
_MARKS = {
    Claim.AUTHENTIC: "+",
    Claim.MANIPULATED: "!",
    Claim.SYNTHETIC: "!",
    Claim.NEUTRAL: "-",
}
_SHORT = 3  # neutral findings a group shows without --explain


def to_line(report: Report) -> str:
    """One line of a batch: verdict and probability, in columns."""
    p = "" if report.probability is None else percent(report.probability)
    return f"{report.verdict.value:<14}  {p:>11}"


def to_text(report: Report, *, width: int = 80, color: bool = False, explain: bool = False) -> str:
    """The report as text of at most ``width`` columns.

    ``explain`` adds every piece of evidence with scores, weights and limits, what was and
    was not analysed, and the timing. Without ``color`` the text holds no escape codes.
    """
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=color,
        color_system="256" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    _Writer(console).write(report, explain=explain)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


class _Writer:
    def __init__(self, console: object) -> None:
        self._console = console

    def write(self, report: Report, *, explain: bool) -> None:
        media = report.media
        self._line(safe(media.name, 200), "bold")
        self._line(_facts(report), "dim", 2)
        self._line("")
        self._line(VERDICT_WORDS[report.verdict].upper(), f"bold {_COLOURS[report.verdict]}")
        self._line(report.headline)
        if report.probability is not None and report.interval is not None:
            self._line(
                f"Probability of not being authentic: {percent(report.probability)} "
                f"({percent(report.interval.low)} to {percent(report.interval.high)}), "
                f"if {percent(report.prior)} of such files are not."
            )
        self._line(error_rate(report), "dim")
        self._section("Why", report.reasons)
        self._section("Conflicts", (c.because for c in report.conflicts))
        for kind in KIND_TITLES:
            self._evidence(kind, [e for e in report.evidence if e.kind is kind], explain)
        self._line("")
        p = report.provenance
        signer = f", signed by {safe(p.signer, 120)}" if p.signer else ""
        self._line(f"Content Credentials: {p.c2pa_state}{signer}")
        if report.attribution.top:
            names = ", ".join(safe(n, 80) for n in report.attribution.top)
            self._line(f"Generator named by the file: {names}")
        failed = [s for s in report.coverage.skipped if s.code == "failed"]
        self._section("Could not run", (f"{s.what}: {s.why}" for s in failed))
        self._section("Not looked at in full", report.coverage.truncated)
        if explain:
            self._section("What would change this", what_would_change(report))
            self._section(
                "Looked and answered",
                (
                    f"{a.analyzer} v{a.version}, {a.seconds:.2f} s, {a.findings} finding(s)"
                    for a in report.coverage.analysed
                ),
            )
            self._section(
                "Did not apply",
                (
                    f"{s.what}: {s.why} [{s.code}]"
                    for s in report.coverage.skipped
                    if s.code != "failed"
                ),
            )
            self._section(
                "Hypotheses",
                (
                    f"{h.question.value}: share {percent(h.share)}, "
                    + (weight(h.llr) if h.tested else "not tested")
                    for h in report.hypotheses
                ),
            )
            self._section(
                "Models",
                (
                    f"{m.name}-v{m.version}, {m.licence}, sha256 {m.sha256[:16]}"
                    for m in report.engine.models
                ),
            )
            seconds = ", ".join(f"{k} {v:.2f} s" for k, v in report.timing.items())
            self._line("")
            self._line(f"Analysis {report.analysis_id}, {report.created_at}", "dim")
            self._line(f"Assay {report.engine.version}; {seconds}", "dim")
        self._line(f"sha256 {media.sha256}", "dim")

    def _evidence(self, kind: Kind, items: list[Evidence], explain: bool) -> None:
        if not items:
            return
        items.sort(key=order)
        shown = items
        if not explain:
            telling = [e for e in items if e.claim is not Claim.NEUTRAL or e.llr is not None]
            neutral = [e for e in items if e not in telling]
            shown = telling + neutral[:_SHORT]
        self._line("")
        self._line(KIND_TITLES[kind], "bold")
        for item in shown:
            style = "" if item.claim is not Claim.NEUTRAL else "dim"
            self._line(f"{_MARKS[item.claim]} {safe(item.because)}", style, 2, hang=2)
            detail = []
            if item.where.start is not None:
                end = item.where.end
                detail.append(clock(item.where.start) + (f" to {clock(end)}" if end else ""))
            if item.llr is not None:
                detail.append(weight(item.llr))
            if explain:
                detail += [item.id, item.code, CLAIM_WORDS[item.claim]]
                if item.strength.value != "none":
                    detail.append(f"{item.strength.value} fact")
                if item.raw_score is not None:
                    detail.append(f"raw score {item.raw_score:.4g}")
                if item.llr is None:
                    detail.append(weight(None))
            if detail:
                self._line("; ".join(detail), "dim", 4)
            if explain:
                for sentence in item.limits:
                    self._line(f"limit: {sentence}", "dim", 4, hang=7)
        if len(shown) < len(items):
            self._line(f"{len(items) - len(shown)} more with --explain", "dim", 4)

    def _section(self, title: str, sentences: Iterable[str]) -> None:
        texts = [safe(s) for s in sentences]
        if not texts:
            return
        self._line("")
        self._line(title, "bold")
        for text in texts:
            self._line(f"- {text}", indent=2, hang=2)

    def _line(self, text: str, style: str = "", indent: int = 0, *, hang: int = 0) -> None:
        from rich.console import Console
        from rich.text import Text

        assert isinstance(self._console, Console)
        room = max(20, self._console.width - indent - hang)
        parts = Text(text).wrap(self._console, room) if text else [Text("")]
        for number, part in enumerate(parts):
            part.rstrip()
            blank = " " * (indent + (hang if number else 0))
            self._console.print(Text(blank).append(part.plain, style or None), soft_wrap=True)


def _facts(report: Report) -> str:
    media = report.media
    parts = [f"{media.format.upper()} {media.kind}"]
    if media.width and media.height:
        parts.append(f"{media.width} x {media.height}")
    if media.duration is not None:
        parts.append(clock(media.duration))
    if media.frame_rate:
        parts.append(f"{media.frame_rate:.4g} frames/s")
    if media.sample_rate:
        parts.append(f"sound {media.sample_rate} Hz" if media.width else f"{media.sample_rate} Hz")
    parts.append(size(media.bytes))
    if not media.extension_matches:
        parts.append("the name's extension says otherwise")
    return ", ".join(parts)
