"""Human judgement of analyses: asked for, given, doubted, answered; never changed, only added to.

The verdict of the machine stays what it was. What people hold an item to be stands beside it
and is exported as labelled data.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from assay.storage.accounts import User
from assay.storage.analyses import Analysis
from assay.storage.tables import analyses, reviews

__all__ = [
    "ACTIONS",
    "JUDGEMENTS",
    "SYSTEM",
    "VERDICTS",
    "Label",
    "NotAllowed",
    "Review",
    "add",
    "allowed",
    "count_waiting",
    "human_verdict",
    "labels",
    "of_analysis",
    "open_for",
    "waiting",
]

ACTIONS = ("request", "confirm", "overrule", "second_opinion", "appeal", "answer")
JUDGEMENTS = frozenset({"confirm", "overrule", "answer"})
VERDICTS = ("authentic", "manipulated", "synthetic", "inconclusive")
"""What a person may hold an item to be."""
SYSTEM = "system"
"""``user_id`` of requests that the server makes itself."""
MOST_REASON = 4000  # characters

_WAITING = ("open", "second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One step. ``verdict`` is set for judgements: what this person holds the item to be."""

    id: str
    analysis_id: str
    user_id: str
    action: str
    verdict: str | None
    reason: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A judged item as data for evaluation.

    ``human_verdict`` is the last judgement, ``reviewers`` how many people judged, ``agreed``
    whether all of them held the same.
    """

    analysis_id: str
    sha256: str
    kind: str | None
    machine_verdict: str | None
    machine_probability: float | None
    human_verdict: str
    reason: str
    reviewers: int
    agreed: bool
    judged_at: float


class NotAllowed(ValueError):
    """The step does not fit the state, or is not for this person. The message says why."""


def of_analysis(c: Connection, analysis_id: str) -> list[Review]:
    """Every step, oldest first."""
    query = (
        select(reviews)
        .where(reviews.c.analysis_id == analysis_id)
        .order_by(reviews.c.created_at, reviews.c.id)
    )
    return [Review(**row) for row in c.execute(query).mappings()]


def human_verdict(steps: Sequence[Review]) -> Review | None:
    """The judgement that stands: the last one."""
    return next((s for s in reversed(steps) if s.action in JUDGEMENTS), None)


def allowed(user: User, row: Analysis, steps: Sequence[Review]) -> dict[str, str]:
    """For each of :data:`ACTIONS` why ``user`` may not take it now; empty when they may."""
    judge = user.role in ("owner", "reviewer")
    own = row.owner_id == user.id
    judged = [s for s in steps if s.action in JUDGEMENTS]
    last = steps[-1] if steps else None
    appealed = last is not None and last.action == "appeal"
    waits = row.review_state in _WAITING
    why = dict.fromkeys(ACTIONS, "")
    if row.status != "done":
        return dict.fromkeys(ACTIONS, "the analysis has no report")
    if not judge:
        for action in ("confirm", "overrule", "second_opinion", "answer"):
            why[action] = "this is for reviewers"
        if not own or user.role == "viewer":
            why["request"] = why["appeal"] = "this is for who submitted the file"
    if waits:
        why["request"] = "a review is asked for already"
        why["appeal"] = "a review is under way"
    elif judged:
        why["request"] = "it has been reviewed; appeal instead"
    if not judged and not waits:
        why["appeal"] = "there is no judgement to appeal against; ask for a review"
    if judged and judged[-1].user_id == user.id:
        why["appeal"] = why["appeal"] or "nobody appeals against their own judgement"
    for action in ("confirm", "overrule"):
        why[action] = why[action] or _may_judge(user, row, steps, appealed)
    why["second_opinion"] = why["second_opinion"] or (
        "a second opinion is asked for already"
        if row.review_state == "second"
        else "answer the appeal"
        if appealed
        else ""
    )
    why["answer"] = why["answer"] or (
        "there is no appeal" if not appealed else _own_word(user, steps)
    )
    return why


def _may_judge(user: User, row: Analysis, steps: Sequence[Review], appealed: bool) -> str:
    if appealed:
        return "answer the appeal"
    if row.review_state == "second":
        return _own_word(user, steps)
    if row.review_state == "done":
        return "it has been judged; ask for a second opinion"
    return ""


def _own_word(user: User, steps: Sequence[Review]) -> str:
    """A second look is by somebody who has not looked, asked or appealed."""
    if any(s.user_id == user.id and s.action != "request" for s in steps):
        return "a second look is for somebody else than who judged, asked or appealed"
    return ""


def add(
    c: Connection,
    row: Analysis,
    user: User,
    action: str,
    *,
    verdict: str | None,
    reason: str,
    at: float,
) -> Review:
    """Take a step; the state of the analysis follows.

    ``verdict`` is needed to overrule and to answer, and is the machine's when confirming.

    Raises:
        NotAllowed: see :func:`allowed`.
        ValueError: an unknown action or verdict, or a reason that is missing.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is no action; there are {', '.join(ACTIONS)}")
    refused = allowed(user, row, of_analysis(c, row.id))[action]
    if refused:
        raise NotAllowed(refused)
    reason = reason.replace("\0", "").strip()[:MOST_REASON]
    if action == "confirm":
        verdict = row.verdict
    elif action in ("overrule", "answer"):
        if verdict not in VERDICTS:
            raise ValueError(f"say what it is: {', '.join(VERDICTS)}")
        if action == "overrule" and verdict == row.verdict:
            raise ValueError("this is what the machine says; confirm it instead")
    else:
        verdict = None
    if not reason and action not in ("confirm", "request"):
        raise ValueError("a reason is needed")
    state = {"second_opinion": "second", "request": "open", "appeal": "open"}.get(action, "done")
    return _insert(c, row.id, user.id, action, verdict, reason, state, at)


def open_for(c: Connection, analysis_id: str, at: float) -> None:
    """Put an analysis in the queue in the server's own name, unless it is or was there."""
    state = c.execute(
        select(analyses.c.review_state).where(analyses.c.id == analysis_id)
    ).scalar_one_or_none()
    if state == "none":
        _insert(c, analysis_id, SYSTEM, "request", None, "", "open", at)


def waiting(c: Connection, *, limit: int, after: tuple[float, str] | None = None) -> list[Analysis]:
    """Analyses that wait for a judgement, the oldest first."""
    query = select(analyses).where(analyses.c.review_state.in_(_WAITING))
    if after is not None:
        at, ident = after
        query = query.where(
            (analyses.c.created_at > at) | ((analyses.c.created_at == at) & (analyses.c.id > ident))
        )
    query = query.order_by(analyses.c.created_at, analyses.c.id).limit(limit)
    return [Analysis(**row) for row in c.execute(query).mappings()]


def count_waiting(c: Connection, most: int = 100) -> int:
    """How many wait, counted up to ``most``."""
    query = select(analyses.c.id).where(analyses.c.review_state.in_(_WAITING)).limit(most)
    return len(c.execute(query).all())


def labels(c: Connection, *, seen_by: User) -> Iterator[Label]:
    """Every judged item that ``seen_by`` may see, oldest judgement first within an item."""
    query = (
        select(reviews, *(analyses.c[n] for n in ("sha256", "kind")))
        .add_columns(
            analyses.c.verdict.label("machine_verdict"),
            analyses.c.probability.label("machine_probability"),
        )
        .join(analyses, analyses.c.id == reviews.c.analysis_id)
        .where(reviews.c.action.in_(sorted(JUDGEMENTS)))
        .order_by(reviews.c.analysis_id, reviews.c.created_at, reviews.c.id)
    )
    if not seen_by.sees_all:
        query = query.where(analyses.c.owner_id == seen_by.id)
    group: list[dict[str, object]] = []
    for found in c.execute(query).mappings():
        if group and group[0]["analysis_id"] != found["analysis_id"]:
            yield _label(group)
            group = []
        group.append(dict(found))
    if group:
        yield _label(group)


def _label(group: Sequence[dict[str, object]]) -> Label:
    last = group[-1]
    return Label(
        analysis_id=str(last["analysis_id"]),
        sha256=str(last["sha256"]),
        kind=last["kind"],  # type: ignore[arg-type]
        machine_verdict=last["machine_verdict"],  # type: ignore[arg-type]
        machine_probability=last["machine_probability"],  # type: ignore[arg-type]
        human_verdict=str(last["verdict"]),
        reason=str(last["reason"]),
        reviewers=len({g["user_id"] for g in group}),
        agreed=len({g["verdict"] for g in group}) == 1,
        judged_at=last["created_at"],  # type: ignore[arg-type]
    )


def _insert(
    c: Connection,
    analysis_id: str,
    user_id: str,
    action: str,
    verdict: str | None,
    reason: str,
    state: str,
    at: float,
) -> Review:
    made = Review(
        id=uuid.uuid4().hex,
        analysis_id=analysis_id,
        user_id=user_id,
        action=action,
        verdict=verdict,
        reason=reason,
        created_at=at,
    )
    c.execute(insert(reviews).values(**{n: getattr(made, n) for n in Review.__dataclass_fields__}))
    c.execute(
        update(analyses)
        .where(analyses.c.id == analysis_id)
        .values(review_state=state, revision=analyses.c.revision + 1)
    )
    return made
