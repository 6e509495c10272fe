"""Accounts: passwords, sessions, keys and links that hold, and end when they should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from assay.storage import accounts
from assay.storage.database import Database
from assay.storage.tables import metadata

NOW = 1_800_000_000.0
DAY = 86400.0


@pytest.fixture
def c(tmp_path: Path) -> Iterator[Connection]:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    metadata.create_all(database.engine)
    with database.write() as connection:
        yield connection
    database.close()


def _user(c: Connection, role: str = "analyst", email: str = "Ada@Example.org") -> accounts.User:
    return accounts.add_user(
        c, email=email, name=" Ada   L. ", role=role, at=NOW, password="a long password"
    )


def test_login(c: Connection) -> None:
    user = _user(c)
    assert (user.email, user.name) == ("ada@example.org", "Ada L.")
    assert accounts.login(c, " ADA@example.ORG ", "a long password") == user
    assert accounts.login(c, user.email, "another password") is None
    assert accounts.login(c, "nobody@example.org", "a long password") is None
    accounts.set_disabled(c, user.id, NOW)
    assert accounts.login(c, user.email, "a long password") is None


def test_without_a_password_nobody_logs_in(c: Connection) -> None:
    user = accounts.add_user(c, email="b@example.org", name="B", role="viewer", at=NOW)
    assert not user.has_password
    assert accounts.login(c, user.email, "") is None
    for poor in ("short", "x" * 2000):
        with pytest.raises(ValueError, match="password"):
            accounts.set_password(c, user.id, poor)
    accounts.set_password(c, user.id, "long enough now")
    assert accounts.login(c, user.email, "long enough now") is not None


@pytest.mark.parametrize("email", ["", "x", "@", "a@", "@b", "a b@c.d", "a@" + "b" * 260])
def test_what_is_no_address(c: Connection, email: str) -> None:
    with pytest.raises(ValueError, match="e-mail"):
        _user(c, email=email)


def test_one_account_an_address(c: Connection) -> None:
    _user(c)
    with pytest.raises(ValueError, match="exists"):
        _user(c, email="ada@EXAMPLE.org")


def test_a_session_ends_by_age_by_idleness_and_by_a_new_password(c: Connection) -> None:
    user = _user(c)
    token, made = accounts.open_session(c, user.id, NOW)
    found = accounts.session(c, token, NOW + 30)
    assert found is not None
    assert found[0] == user
    assert found[1].csrf == made.csrf
    assert not found[2]
    assert accounts.session(c, token + "x", NOW) is None
    assert accounts.session(c, token, NOW + 2.1 * DAY) is None
    for day in range(1, 14):
        accounts.touch(c, made.token_hash, NOW + day * DAY)
    assert accounts.session(c, token, NOW + 13.9 * DAY) is not None
    assert accounts.session(c, token, NOW + 14.1 * DAY) is None
    accounts.set_password(c, user.id, "a changed password")
    assert accounts.session(c, token, NOW + 13.9 * DAY) is None


def test_keys(c: Connection) -> None:
    user = _user(c)
    new = accounts.make_key(
        c, user.id, name="ci", scopes=["analyses:read"], at=NOW, expires_at=NOW + DAY
    )
    found = accounts.key_principal(c, new.secret, NOW)
    assert found is not None
    assert found[0] == user
    assert found[1].scopes == ("analyses:read",)
    again = accounts.key_principal(c, new.secret, NOW, known=found[2])
    assert again is not None
    assert accounts.key_principal(c, new.secret, NOW, known="another hash") is not None
    for wrong in (new.secret + "0", new.secret[:-1], "assay_x_y", "", "a_b_c_d", "basic"):
        assert accounts.key_principal(c, wrong, NOW) is None
    assert accounts.key_principal(c, new.secret, NOW + DAY) is None
    assert accounts.revoke_key(c, user.id, new.key.id, NOW)
    assert not accounts.revoke_key(c, user.id, new.key.id, NOW)
    assert accounts.key_principal(c, new.secret, NOW, known=found[2]) is None
    with pytest.raises(ValueError, match="scopes"):
        accounts.make_key(c, user.id, name="x", scopes=["admin"], at=NOW)
    with pytest.raises(ValueError, match="scopes"):
        accounts.make_key(c, user.id, name="x", scopes=[], at=NOW)


def test_a_key_is_of_its_owner_alone(c: Connection) -> None:
    one, two = _user(c), _user(c, email="b@example.org")
    key = accounts.make_key(c, one.id, name="k", scopes=["analyses:read"], at=NOW).key
    assert not accounts.revoke_key(c, two.id, key.id, NOW)
    assert accounts.keys_of(c, two.id) == []


def test_an_owner_remains(c: Connection) -> None:
    owner = _user(c, "owner")
    for change in (
        lambda: accounts.set_role(c, owner.id, "viewer"),
        lambda: accounts.set_disabled(c, owner.id, NOW),
    ):
        with pytest.raises(ValueError, match="last owner"):
            change()
    _user(c, "owner", "b@example.org")
    accounts.set_role(c, owner.id, "viewer")
    found = accounts.user(c, owner.id)
    assert found is not None
    assert found.role == "viewer"


def test_links_work_once_and_for_their_purpose(c: Connection) -> None:
    user = _user(c)
    token = accounts.make_ticket(c, "password", at=NOW, seconds=3600, user_id=user.id)
    assert accounts.read_ticket(c, token, "invite", NOW) is None
    assert accounts.read_ticket(c, token, "password", NOW + 3600) is None
    assert accounts.read_ticket(c, token, "password", NOW) == (user.id,)
    newer = accounts.make_ticket(c, "password", at=NOW, seconds=3600, user_id=user.id)
    assert accounts.read_ticket(c, token, "password", NOW) is None
    assert accounts.burn_ticket(c, newer)
    assert not accounts.burn_ticket(c, newer)


def test_secrets_are_not_stored(c: Connection, tmp_path: Path) -> None:
    user = _user(c)
    token, _ = accounts.open_session(c, user.id, NOW)
    link = accounts.make_ticket(c, "invite", at=NOW, seconds=60)
    key = accounts.make_key(c, user.id, name="k", scopes=["analyses:read"], at=NOW).secret
    dump = "\n".join(c.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    for secret in (token, link, key.rsplit("_", 1)[1], "a long password"):
        assert secret not in dump
