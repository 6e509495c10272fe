"""Fusion: order does not matter, more evidence never lowers the odds, facts stay facts."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.findings import Claim, Finding, Kind, NotApplicable, Question, Strength
from assay.fusion import Sensitivity, Verdict, fuse
from assay.fusion.outcome import Outcome
from assay.fusion.scope import UNLIKE_KNOWN
from assay.media import MediaKind
from assay.models import Calibration, OperatingPoints, store
from assay.models.card import Card, InputSpec


def _card(name: str, points: OperatingPoints | None) -> Card:
    return Card(
        name=name,
        version=1,
        task="",
        question="",
        licence="Apache-2.0",
        summary="",
        file="",
        sha256="",
        size=0,
        created="",
        origin="",
        input=InputSpec(),
        outputs={},
        gates={},
        # The identity between -4 and 4: the raw score *is* the ratio.
        calibration=Calibration(score=(-4.0, 4.0), llr=(-4.0, 4.0), n_real=500, n_fake=500),
        points=points,
        metrics=(),
        data=(),
        limits=(),
        folder=store.ZOO / f"{name}-v1",
    )


@pytest.fixture(autouse=True)
def _cards(monkeypatch: pytest.MonkeyPatch) -> None:
    net = _card("net", OperatingPoints(fpr_1pct=3, fpr_5pct=2, low_band=-2, tpr_at_fpr_1pct=0.8))
    trace = _card("trace", None)
    cards = {"net-v1": net, "trace-v1": trace}
    for module in ("assay.fusion.calibration.card", "assay.fusion.verdict.card"):
        monkeypatch.setattr(module, cards.__getitem__)


def net(score: float, question: Question, group: str = "g") -> tuple[str, Finding]:
    return "test.net", Finding(
        code="t.net",
        kind=Kind.MODEL,
        claim=Claim.NEUTRAL,
        because=f"The network answered {score:.2f}.",
        question=question,
        group=group,
        raw_score=score,
        curve="net-v1",
    )


def trace(score: float) -> tuple[str, Finding]:
    return "test.trace", Finding(
        code="t.trace",
        kind=Kind.STRUCTURE,
        claim=Claim.NEUTRAL,
        because="A trace.",
        question=Question.LOCAL_EDIT,
        group="local",
        raw_score=score,
        curve="trace-v1",
    )


def fact(claim: Claim, strength: Strength) -> tuple[str, Finding]:
    return "test.fact", Finding(
        code="t.fact",
        kind=Kind.PROVENANCE,
        claim=claim,
        because=f"The file says {claim}.",
        strength=strength,
    )


FACE, WHOLE, LOCAL = (
    Question.FACE_MANIPULATION,
    Question.GENERATED_IMAGE,
    Question.LOCAL_EDIT,
)
scores = st.floats(-6, 6)
findings = st.lists(
    st.builds(net, scores, st.sampled_from([FACE, WHOLE]), st.sampled_from("ab"))
    | st.builds(trace, scores)
    | st.builds(fact, st.sampled_from(Claim), st.sampled_from(Strength)),
    max_size=8,
)


def test_an_item_unlike_all_known_ones_is_judged_less_surely() -> None:
    def of(ood_score: float | None) -> Outcome:
        name, finding = net(1.0, WHOLE)
        data = {} if ood_score is None else {"ood_score": ood_score}
        return fuse(MediaKind.IMAGE, [(name, replace(finding, data=data))])

    plain, odd = of(None), of(0.995)
    assert plain.interval is not None
    assert odd.interval is not None
    assert plain.interval == of(0.9).interval
    assert odd.probability == plain.probability
    assert odd.interval.low < plain.interval.low < plain.interval.high < odd.interval.high
    assert odd.scope.ood_score == 0.995
    assert odd.scope.quality_flags == (UNLIKE_KNOWN,)
    assert of(0.9).scope.quality_flags == ()


@given(findings, st.randoms(use_true_random=False), st.floats(0.01, 0.99))
def test_order_does_not_matter(
    items: list[tuple[str, Finding]], rng: random.Random, prior: float
) -> None:
    shuffled = items[:]
    rng.shuffle(shuffled)
    assert fuse(MediaKind.IMAGE, items, prior=prior) == fuse(MediaKind.IMAGE, shuffled, prior=prior)


@given(
    st.lists(st.tuples(scores, st.sampled_from([FACE, WHOLE]), st.sampled_from("ab")), min_size=1),
    st.data(),
)
def test_a_higher_score_never_lowers_the_probability(
    raw: list[tuple[float, Question, str]], data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(raw) - 1))
    rise = data.draw(st.floats(0, 5))
    higher = [(s + rise if i == which else s, q, g) for i, (s, q, g) in enumerate(raw)]
    before = fuse(MediaKind.IMAGE, [net(*r) for r in raw]).probability
    after = fuse(MediaKind.IMAGE, [net(*r) for r in higher]).probability
    assert before is not None
    assert after is not None
    assert after >= before - 1e-12


@given(findings)
def test_numbers_are_probabilities(items: list[tuple[str, Finding]]) -> None:
    outcome = fuse(MediaKind.IMAGE, items)
    if outcome.probability is not None:
        assert outcome.interval is not None
        assert 0 <= outcome.interval.low <= outcome.probability <= outcome.interval.high <= 1
    assert math.isclose(sum(h.share for h in outcome.hypotheses), 1.0)
    assert outcome.headline


def test_repeating_a_finding_of_one_group_changes_nothing() -> None:
    once = fuse(MediaKind.IMAGE, [net(2.5, FACE)])
    thrice = fuse(MediaKind.IMAGE, [net(2.5, FACE)] * 3)
    assert once.probability == pytest.approx(thrice.probability)


def test_a_generated_picture_shows_in_its_faces_as_well() -> None:
    def ratios(*items: tuple[str, Finding]) -> dict[Question, float]:
        return {h.question: h.llr for h in fuse(MediaKind.IMAGE, items).hypotheses}

    alone = ratios(net(3, WHOLE))
    assert alone[WHOLE] == 3
    assert ratios(net(2, FACE))[WHOLE] == 0  # a face alone does not test the whole picture
    with_fake, with_clean = (
        ratios(net(3, WHOLE), net(2, FACE)),
        ratios(net(3, WHOLE), net(-2, FACE)),
    )
    assert with_clean[WHOLE] < with_fake[WHOLE] < 3 + 2  # less than two tests of their own
    assert with_fake[FACE] == 2  # a swapped face does not show in the rest of the picture
    # of several faces their mean, whatever groups they stand in
    group = ratios(net(3, WHOLE), net(2, FACE), net(-2, FACE, "h"))
    assert group[WHOLE] == pytest.approx((with_fake[WHOLE] + with_clean[WHOLE]) / 2)


def test_good_marks_on_one_question_do_not_vouch_for_the_others() -> None:
    outcome = fuse(MediaKind.IMAGE, [net(-4, FACE)])
    assert outcome.probability is not None
    assert outcome.probability > 0.3  # generated or edited remains possible
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert any("Not tested" in reason for reason in outcome.reasons)


def test_authentic_needs_every_question() -> None:
    outcome = fuse(MediaKind.IMAGE, [net(-4, FACE), net(-4, WHOLE), trace(-4)])
    assert outcome.verdict is Verdict.AUTHENTIC
    without_face = fuse(
        MediaKind.IMAGE,
        [net(-4, WHOLE), trace(-4)],
        [NotApplicable(code="no_face", reason="No face.", question=FACE)],
    )
    assert without_face.verdict is Verdict.AUTHENTIC


def test_a_flagged_network_convicts_and_the_prior_can_hold_it_back() -> None:
    flagged = [net(4, FACE)]
    assert fuse(MediaKind.IMAGE, flagged).verdict is Verdict.MANIPULATED
    assert fuse(MediaKind.IMAGE, [net(4, WHOLE)]).verdict is Verdict.SYNTHETIC
    rare = fuse(MediaKind.IMAGE, flagged, prior=0.001)
    assert rare.verdict is Verdict.SUSPICIOUS
    assert rare.decision.stated_fpr == pytest.approx(0.01)
    assert rare.decision.stated_fnr == pytest.approx(1 - 0.8 / 3)


def test_a_trace_without_an_operating_point_never_convicts() -> None:
    outcome = fuse(MediaKind.IMAGE, [trace(4)], prior=0.5)
    assert outcome.verdict is Verdict.SUSPICIOUS
    assert outcome.decision.stated_fpr is None


def test_facts_are_not_averaged_with_estimates() -> None:
    declared = fact(Claim.SYNTHETIC, Strength.STRONG)
    alone = fuse(MediaKind.IMAGE, [net(-3, WHOLE)])
    both = fuse(MediaKind.IMAGE, [net(-3, WHOLE), declared])
    assert both.probability == alone.probability
    assert both.verdict is Verdict.SYNTHETIC
    assert both.conflicts


def test_a_trusted_capture_against_a_flag_is_a_conflict_for_a_person() -> None:
    trusted = fact(Claim.AUTHENTIC, Strength.DECISIVE)
    assert fuse(MediaKind.IMAGE, [trusted]).verdict is Verdict.AUTHENTIC
    outcome = fuse(MediaKind.IMAGE, [trusted, net(4, FACE)])
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert len(outcome.conflicts) == 1


def test_nothing_to_say_is_not_applicable_with_the_reasons() -> None:
    outcome = fuse(
        MediaKind.AUDIO,
        [],
        [NotApplicable(code="no_speech", reason="No speech.", question=Question.SYNTHETIC_SPEECH)],
    )
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert "No speech." in outcome.reasons
    assert outcome.probability is None


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0, math.nan])
def test_impossible_priors_are_refused(prior: float) -> None:
    with pytest.raises(ValueError, match="prior"):
        fuse(MediaKind.IMAGE, [], prior=prior)


def test_one_refusal_does_not_close_a_question_that_another_looked_into() -> None:
    refusal = NotApplicable(code="no_cfa", reason="No pattern.", question=LOCAL)
    dropped = fuse(MediaKind.IMAGE, [net(-4, WHOLE)], [refusal])
    kept = fuse(MediaKind.IMAGE, [net(-4, WHOLE)], [refusal], asked=[LOCAL])
    assert LOCAL not in {h.question for h in dropped.hypotheses}
    assert LOCAL in {h.question for h in kept.hypotheses}


def test_high_sensitivity_makes_suspicious_and_never_convicts() -> None:
    item = net(2.5, FACE)
    usual = fuse(MediaKind.IMAGE, [item], prior=0.01)
    high = fuse(MediaKind.IMAGE, [item], prior=0.01, sensitivity=Sensitivity.HIGH)
    assert usual.verdict is Verdict.INCONCLUSIVE
    assert high.verdict is Verdict.SUSPICIOUS
    assert high.probability == usual.probability
    assert (usual.decision.stated_fpr, high.decision.stated_fpr) == (0.01, 0.05)
    assert high.decision.stated_fnr is None
    assert fuse(MediaKind.IMAGE, [item], prior=0.9, sensitivity=Sensitivity.HIGH).verdict is (
        Verdict.SUSPICIOUS
    )
    strict = [net(3.1, FACE)]
    for sensitivity in Sensitivity:
        verdict = fuse(MediaKind.IMAGE, strict, prior=0.9, sensitivity=sensitivity).verdict
        assert verdict is Verdict.MANIPULATED
