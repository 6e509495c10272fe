"""The report as plain text for a terminal or an e-mail."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from assay.findings import Claim, Kind
from assay.fusion.outcome import Evidence, Verdict
from assay.report import wording
from assay.report.document import Report
from assay.report.wording import clean

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["to_line", "to_text"]

_SHOWN = 4  # pieces of evidence of one kind without `explain`
_COLOURS = {
    Verdict.AUTHENTIC: "green",
    Verdict.SUSPICIOUS: "yellow",
    Verdict.MANIPULATED: "red",
    Verdict.SYNTHETIC: "red",
}
_SIGNS = {
    Claim.AUTHENTIC: "+",
    Claim.MANIPULATED: "!",
    Claim.SYNTHETIC: "!",
    Claim.NEUTRAL: "-",
}


def to_text(report: Report, *, width: int = 80, color: bool = False, explain: bool = False) -> str:
    """``report`` as text of at most ``width`` columns (40 or more), ending in a newline.

    Args:
        report: the document; nothing else is needed.
        width: columns.
        color: use terminal colours; they repeat what the words say.
        explain: also every piece of evidence with limits, scores and weight, what was
            looked at, and how long it took.
    """
    from rich.console import Console

    page = _Page(
        Console(
            file=io.StringIO(),
            width=max(40, width),
            color_system="standard" if color else None,
            force_terminal=color,
            markup=False,
            highlight=False,
            emoji=False,
            legacy_windows=False,
            soft_wrap=False,
            _environ={},
        )
    )
    _verdict(page, report)
    _probability(page, report)
    _stability(page, report)
    _reasons(page, report)
    _evidence(page, report, explain)
    _conflicts(page, report)
    _not_tested(page, report)
    _provenance(page, report)
    _file(page, report)
    if explain:
        _ledger(page, report)
        _coverage(page, report)
    _foot(page, report)
    return page.text()


def to_line(report: Report) -> str:
    """Verdict, probability and headline on one line, for batches; without the file name."""
    chance = "" if report.probability is None else wording.percent(report.probability)
    return f"{wording.VERDICTS[report.verdict]:<14} {chance:>7}  {clean(report.headline, 100)}"


class _Page:
    """Wrapped paragraphs and items on a rich console that writes into memory."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def text(self) -> str:
        file = self._console.file
        assert isinstance(file, io.StringIO)
        # Cells are padded to the width of the table; nobody needs the blanks.
        lines = [line.rstrip() for line in file.getvalue().splitlines()]
        return "\n".join(lines).strip("\n") + "\n"

    def heading(self, title: str) -> None:
        self._console.print()
        self.paragraph(title, style="bold", indent=0)

    def paragraph(self, said: str, *, style: str = "", indent: int = 2) -> None:
        self._table(" " * indent, said, style)

    def item(self, sign: str, said: str, *, style: str = "", indent: int = 2) -> None:
        self._table(f"{' ' * indent}{sign} ", said, style)

    def pair(self, name: str, value: str, *, wide: int = 12) -> None:
        self._table(f"  {name:<{wide}}", value, "")

    def _table(self, lead: str, said: str, style: str) -> None:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=0, pad_edge=False)
        grid.add_column(width=len(lead), no_wrap=True)
        grid.add_column(ratio=1, overflow="fold")
        grid.expand = True
        grid.add_row(Text(lead), Text(said, style=style))
        self._console.print(grid)


def _verdict(page: _Page, report: Report) -> None:
    style = f"bold {_COLOURS.get(report.verdict, '')}".strip()
    page.paragraph(wording.VERDICTS[report.verdict].upper(), style=style, indent=0)
    page.paragraph(clean(report.headline), style="bold", indent=0)
    page.paragraph(clean(report.media.name, 200), style="dim", indent=0)


def _probability(page: _Page, report: Report) -> None:
    page.heading("How sure")
    if report.probability is None:
        page.paragraph("No probability: no calibrated test applied to this file.")
    else:
        span = f" ({wording.interval(report)})" if report.interval else ""
        page.paragraph(
            f"Probability of not being authentic: {wording.percent(report.probability)}{span}, "
            f"if {wording.percent(report.prior)} of such files are not authentic to begin with."
        )
        if wording.has_facts(report):
            page.paragraph(wording.FACTS_APART)
    page.paragraph(wording.stated_rate(report))
    note = wording.scope_note(report)
    if note:
        page.paragraph(note)
    for flag in report.scope.quality_flags[:20]:
        page.item("-", f"What limited the tests: {wording.flag(flag)}")


def _reasons(page: _Page, report: Report) -> None:
    # What the evidence or the list of untested questions says anyway is not said twice.
    said = {e.because for e in report.evidence}
    said |= {c.because for c in report.conflicts} | {s.why for s in report.coverage.skipped}
    own = [r for r in report.reasons if r not in said and not r.startswith("Not tested:")]
    if own:
        page.heading("Why this verdict")
        for reason in own[:20]:
            page.item("-", clean(reason))


def _evidence(page: _Page, report: Report, explain: bool) -> None:
    if not report.evidence:
        page.heading("Evidence")
        page.paragraph("None was found.")
        return
    for kind in Kind:
        items = [e for e in report.evidence if e.kind is kind]
        if not items:
            continue
        items.sort(key=_weightiest, reverse=True)
        page.heading(wording.KINDS[kind])
        shown = items if explain else items[:_SHOWN]
        for item in shown:
            where = wording.place(item)
            page.item(
                _SIGNS[item.claim],
                f"{clean(item.because)} [{item.id and clean(item.id, 12)}"
                f"{'; ' + where if where else ''}; {wording.weight(item)}]",
            )
        if len(items) > len(shown):
            page.item(" ", f"and {len(items) - len(shown)} more (shown with --explain)")


def _weightiest(item: Evidence) -> tuple[float, float]:
    rank = {"decisive": 3.0, "strong": 2.0, "weak": 1.0, "none": 0.0}[item.strength.value]
    # Something that points somewhere goes before a bystander without weight.
    return max(rank, min(3.0, abs(item.llr or 0.0))), float(item.claim is not Claim.NEUTRAL)


def _stability(page: _Page, report: Report) -> None:
    said = wording.stability(report)
    if not said or report.stability is None:
        return
    page.heading("Would the answer survive?")
    page.paragraph(said)
    for variant in report.stability.variants:
        chance = "" if variant.probability is None else f" {wording.percent(variant.probability)},"
        verdict = wording.VERDICTS[variant.verdict].lower()
        page.item("-", f"{clean(variant.what, 200)}:{chance} {verdict}")


def _conflicts(page: _Page, report: Report) -> None:
    if report.conflicts:
        page.heading("Conflicts")
        for conflict in report.conflicts:
            between = ", ".join(clean(i, 12) for i in conflict.between[:10])
            page.item("!", f"{clean(conflict.because)} [{between}]")


def _not_tested(page: _Page, report: Report) -> None:
    untested = [h for h in report.hypotheses if not h.tested]
    if not (untested or report.coverage.skipped or report.coverage.truncated):
        return
    page.heading("Not tested")
    for hypothesis in untested:
        page.item("-", f"No calibrated test for: {wording.QUESTIONS[hypothesis.question]}.")
    for skipped in report.coverage.skipped:
        page.item("-", f"{clean(skipped.what, 60)}: {clean(skipped.why, 500)}")
    for note in report.coverage.truncated:
        page.item("-", f"Cut short: {clean(note, 500)}")


def _provenance(page: _Page, report: Report) -> None:
    found = report.provenance
    state = clean(found.c2pa_state, 20)
    said = f"Content Credentials (C2PA): {state}"
    if found.signer:
        said += f", in the name of {clean(found.signer, 100)}"
    said += "."
    if found.digital_source_type:
        said += f" Declared source: {clean(found.digital_source_type, 100)}."
    if report.attribution.top:
        named = ", ".join(clean(n, 60) for n in report.attribution.top[:5])
        said += f" The file names as generator: {named}."
    page.heading("Provenance")
    page.paragraph(said)


def _file(page: _Page, report: Report) -> None:
    page.heading("File")
    for name, value in wording.facts(report.media):
        page.pair(name, value)


def _ledger(page: _Page, report: Report) -> None:
    page.heading("Ledger")
    for item in report.evidence:
        page.item(clean(item.id, 12), f"{clean(item.code, 80)} ({clean(item.analyzer, 80)})")
        rows = [("claim", wording.claim(item)), ("weight", wording.weight(item))]
        if item.llr is not None:
            rows.append(("llr", f"{item.llr:+.2f} (natural logarithm)"))
        if item.raw_score is not None:
            rows.append(("raw score", f"{item.raw_score:.4g}"))
        if item.question is not None:
            rows.append(("question", wording.QUESTIONS[item.question]))
        if item.model is not None:
            model = item.model
            rows.append(
                ("model", f"{clean(model.name, 60)} v{model.version}, {clean(model.licence, 60)}")
            )
        rows += [("limit", clean(limit, 600)) for limit in item.limits[:20]]
        for name, value in rows:
            page.pair("  " + name, value, wide=13)


def _coverage(page: _Page, report: Report) -> None:
    page.heading("Looked at")
    for one in report.coverage.analysed:
        count = f"{one.findings} finding{'s' * (one.findings != 1)}"
        page.item(
            "-",
            f"{clean(one.analyzer, 60)} v{one.version}: {clean(one.question, 200)} "
            f"{count}, {one.seconds:.2f} s",
        )
    page.heading("Ways of not being authentic that were weighed")
    for h in report.hypotheses:
        state = wording.support(h.llr) if h.tested else "not tested"
        share = wording.percent(h.share)
        page.item("-", f"{wording.QUESTIONS[h.question]}: share {share}, {state}")
    if report.timing:
        page.heading("Time")
        times = [f"{clean(stage, 40)} {used:.2f} s" for stage, used in report.timing.items()]
        page.paragraph(", ".join(times))


def _foot(page: _Page, report: Report) -> None:
    page.heading("Made by")
    models = ", ".join(f"{clean(m.name, 60)} v{m.version}" for m in report.engine.models)
    page.paragraph(
        f"Assay {clean(report.engine.version, 40)}, policy {clean(report.decision.policy, 40)}, "
        f"{wording.moment(report.created_at)}, report {clean(report.analysis_id, 64)}"
        f"{'; models: ' + models if models else ''}."
    )
