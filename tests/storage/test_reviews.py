"""Reviews: who may say what when, what is kept, and the labels that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from assay.storage import accounts, analyses, reviews, shares, tables
from assay.storage.accounts import User
from assay.storage.analyses import Analysis
from assay.storage.database import Database

NOW = 1_800_000_000.0


@pytest.fixture
def c(tmp_path: Path) -> Iterator[Connection]:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    tables.metadata.create_all(database.engine)
    with database.write() as connection:
        yield connection
    database.close()


def _user(c: Connection, role: str, name: str) -> User:
    return accounts.add_user(c, email=f"{name}@example.org", name=name, role=role, at=NOW)


def _done(c: Connection, owner: User, verdict: str = "suspicious") -> Analysis:
    row = analyses.add(
        c, owner_id=owner.id, name="a.jpg", size=1, sha256="a" * 64, prior=0.5, at=NOW
    )
    c.execute(
        update(tables.analyses)
        .where(tables.analyses.c.id == row.id)
        .values(status="done", kind="image", verdict=verdict, probability=0.9)
    )
    return _fresh(c, row)


def _fresh(c: Connection, row: Analysis) -> Analysis:
    found = analyses.get(c, row.id)
    assert found is not None
    return found


class _Clock:
    now = NOW

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def say(c: Connection) -> Callable[..., Analysis]:
    clock = _Clock()

    def act(
        row: Analysis, user: User, action: str, verdict: str | None = None, reason: str = "so"
    ) -> Analysis:
        fresh = _fresh(c, row)
        reviews.add(c, fresh, user, action, verdict=verdict, reason=reason, at=clock())
        after = _fresh(c, row)
        assert after.revision == fresh.revision + 1
        assert after.verdict == row.verdict, "the machine's verdict stays"
        return after

    return act


def test_the_whole_way(c: Connection, say: Callable[..., Analysis]) -> None:
    ada, rex, ruth, olga = (
        _user(c, r, n)
        for r, n in (("analyst", "ada"), ("reviewer", "rex"), ("reviewer", "ruth"), ("owner", "o"))
    )
    row = _done(c, ada)
    assert say(row, ada, "request").review_state == "open"
    assert [r.id for r in reviews.waiting(c, limit=5)] == [row.id]
    assert say(row, rex, "overrule", "authentic", "I was there").review_state == "done"
    assert reviews.count_waiting(c) == 0
    assert say(row, ada, "appeal", reason="look again").review_state == "open"
    with pytest.raises(reviews.NotAllowed, match="somebody else"):
        say(row, rex, "answer", "authentic")
    assert say(row, ruth, "answer", "synthetic", "the hands").review_state == "done"
    assert say(row, ruth, "second_opinion").review_state == "second"
    for judged in (rex, ruth):
        with pytest.raises(reviews.NotAllowed):
            say(row, judged, "confirm")
    assert say(row, olga, "overrule", "synthetic").review_state == "done"

    steps = reviews.of_analysis(c, row.id)
    said = ["request", "overrule", "appeal", "answer", "second_opinion", "overrule"]
    assert [s.action for s in steps] == said
    last = reviews.human_verdict(steps)
    assert last is not None
    assert (last.user_id, last.verdict) == (olga.id, "synthetic")
    label = next(reviews.labels(c, seen_by=rex))
    assert (label.sha256, label.kind, label.machine_verdict) == ("a" * 64, "image", "suspicious")
    assert (label.human_verdict, label.reviewers, label.agreed) == ("synthetic", 3, False)


def test_a_second_opinion_is_never_by_the_same_person(
    c: Connection, say: Callable[..., Analysis]
) -> None:
    ada, rex, ruth = (
        _user(c, r, n) for r, n in (("analyst", "a"), ("reviewer", "r"), ("reviewer", "s"))
    )
    row = _done(c, ada)
    say(row, rex, "second_opinion", reason="I know the photographer")
    with pytest.raises(reviews.NotAllowed):
        say(row, rex, "confirm")
    assert say(row, ruth, "confirm", reason="").review_state == "done"
    label = next(reviews.labels(c, seen_by=ada))
    assert (label.human_verdict, label.reviewers, label.agreed) == ("suspicious", 1, True)


def test_who_may_not(c: Connection, say: Callable[..., Analysis]) -> None:
    ada, eve, vic, rex = (
        _user(c, r, n)
        for r, n in (("analyst", "a"), ("analyst", "e"), ("viewer", "v"), ("reviewer", "r"))
    )
    row = _done(c, ada)
    for user in (ada, eve, vic):
        for action in ("confirm", "overrule", "second_opinion", "answer"):
            with pytest.raises(reviews.NotAllowed, match="reviewers"):
                say(row, user, action, "authentic")
    for user in (eve, vic):
        for action in ("request", "appeal"):
            with pytest.raises(reviews.NotAllowed):
                say(row, user, action)
    with pytest.raises(reviews.NotAllowed, match="no judgement"):
        say(row, ada, "appeal")
    say(row, ada, "request", reason="")
    with pytest.raises(reviews.NotAllowed, match="already"):
        say(row, ada, "request")
    with pytest.raises(ValueError, match="reason"):
        say(row, rex, "overrule", "authentic", "  ")
    with pytest.raises(ValueError, match="say what it is"):
        say(row, rex, "overrule", "fake")
    with pytest.raises(ValueError, match="no action"):
        say(row, rex, "shout")
    say(row, rex, "confirm")
    with pytest.raises(reviews.NotAllowed, match="second opinion"):
        say(row, rex, "confirm")
    waiting = analyses.add(c, owner_id=ada.id, name="b", size=1, sha256="", prior=0.5, at=NOW)
    with pytest.raises(reviews.NotAllowed, match="no report"):
        say(waiting, rex, "confirm")


def test_the_server_asks_once(c: Connection) -> None:
    row = _done(c, _user(c, "analyst", "a"))
    reviews.open_for(c, row.id, NOW)
    reviews.open_for(c, row.id, NOW)
    steps = reviews.of_analysis(c, row.id)
    assert [(s.user_id, s.action) for s in steps] == [("system", "request")]
    assert _fresh(c, row).review_state == "open"


def test_pages_of_the_queue(c: Connection) -> None:
    ada = _user(c, "analyst", "a")
    rows = [_done(c, ada) for _ in range(5)]
    for row in rows:
        reviews.open_for(c, row.id, NOW)
    seen: list[str] = []
    after = None
    while part := reviews.waiting(c, limit=2, after=after):
        seen += [r.id for r in part]
        after = (part[-1].created_at, part[-1].id)
    assert sorted(seen) == sorted(r.id for r in rows)
    assert reviews.count_waiting(c, most=3) == 3


def test_share_links(c: Connection) -> None:
    row = _done(c, _user(c, "analyst", "a"))
    token, made = shares.add(c, row.id, by=row.owner_id, at=NOW, expires_at=NOW + 60)
    found = shares.find(c, token, NOW)
    assert found is not None
    assert found.analysis_id == row.id
    assert shares.find(c, token[:-1], NOW) is None
    assert shares.find(c, token, NOW + 60) is None, "expired"
    assert shares.of_analysis(c, row.id, NOW) == [made]
    assert shares.revoke(c, made.id, NOW)
    assert not shares.revoke(c, made.id, NOW)
    assert shares.find(c, token, NOW) is None
    assert shares.of_analysis(c, row.id, NOW) == []
    with pytest.raises(ValueError, match="expired"):
        shares.add(c, row.id, by="x", at=NOW, expires_at=NOW)
    _, other = shares.add(c, row.id, by="x", at=NOW, expires_at=NOW + 60)
    analyses.remove(c, row.id)
    assert shares.get(c, other.id) is None, "links go with what they lead to"
