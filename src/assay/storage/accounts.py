"""Users, their sessions, their API keys, and single-use links.

Passwords and keys are stored as argon2id hashes; sessions and links, being 256 random
bits, as SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import Connection, delete, func, insert, select, update

from assay.storage.tables import api_keys, sessions, tickets, users

__all__ = [
    "ROLES",
    "SCOPES",
    "ApiKey",
    "NewKey",
    "Session",
    "User",
    "add_user",
    "burn_ticket",
    "count_users",
    "end_session",
    "end_sessions_of",
    "key_principal",
    "keys_of",
    "login",
    "make_key",
    "make_ticket",
    "note_key_use",
    "open_session",
    "read_ticket",
    "revoke_key",
    "scopes_of",
    "session",
    "set_disabled",
    "set_language",
    "set_password",
    "set_role",
    "touch",
    "user",
    "user_by_email",
    "users_list",
]

ROLES = ("owner", "reviewer", "analyst", "viewer")
SCOPES = (
    "analyses:read",
    "analyses:write",
    "reviews:read",
    "reviews:write",
    "webhooks:write",
    "admin",
)
_OF_ROLE = {
    "owner": SCOPES,
    "reviewer": (
        "analyses:read",
        "analyses:write",
        "reviews:read",
        "reviews:write",
        "webhooks:write",
    ),
    "analyst": (
        "analyses:read",
        "analyses:write",
        "reviews:read",
        "reviews:write",
        "webhooks:write",
    ),
    "viewer": ("analyses:read", "reviews:read"),
}
LEAST_PASSWORD = 10  # characters
MOST_PASSWORD = 1024
SESSION_SECONDS = 14 * 86400.0
IDLE_SECONDS = 2 * 86400.0
_SEEN_EVERY = 60.0

_hasher = PasswordHasher()  # RFC 9106, low-memory choice: 64 MiB, three passes


@cache
def _nobody() -> str:
    """A hash that no password has; argon2 is slow on purpose, so not made at import."""
    return _hasher.hash(secrets.token_urlsafe(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account. ``role`` is one of :data:`ROLES`."""

    id: str
    email: str
    name: str
    role: str
    language: str
    created_at: float
    disabled_at: float | None
    has_password: bool

    @property
    def sees_all(self) -> bool:
        """Whether analyses of others are visible to this user."""
        return self.role != "analyst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that is logged in. ``csrf`` must accompany every change it asks for."""

    token_hash: str
    user_id: str
    csrf: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as its owner may see it: without the secret."""

    id: str
    user_id: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made. ``secret`` is shown now and never again."""

    key: ApiKey
    secret: str


def scopes_of(role: str) -> frozenset[str]:
    """What a role may do at most; a key may do less, never more."""
    return frozenset(_OF_ROLE[role])


def add_user(
    c: Connection, *, email: str, name: str, role: str, at: float, password: str = ""
) -> User:
    """A new account; without ``password`` it can log in only after an invitation is used.

    Raises:
        ValueError: an unknown role, no e-mail address, an address in use, a poor password.
    """
    email = _address(email)
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; there are {', '.join(ROLES)}")
    if user_by_email(c, email) is not None:
        raise ValueError("an account with this e-mail address exists already")
    name = " ".join(name.split())[:120] or email
    ident = uuid.uuid4().hex
    c.execute(
        insert(users).values(
            id=ident,
            email=email,
            name=name,
            role=role,
            password_hash=_hash_password(password) if password else "",
            language="en",
            created_at=at,
        )
    )
    found = user(c, ident)
    assert found is not None
    return found


def user(c: Connection, ident: str) -> User | None:
    row = c.execute(select(users).where(users.c.id == ident)).mappings().first()
    return _user(row) if row else None


def user_by_email(c: Connection, email: str) -> User | None:
    where = users.c.email == email.strip().lower()
    row = c.execute(select(users).where(where)).mappings().first()
    return _user(row) if row else None


def users_list(c: Connection) -> list[User]:
    return [_user(r) for r in c.execute(select(users).order_by(users.c.created_at)).mappings()]


def count_users(c: Connection) -> int:
    return int(c.execute(select(func.count()).select_from(users)).scalar_one())


def set_password(c: Connection, user_id: str, password: str) -> None:
    """Set a password and end every session of the user.

    Raises:
        ValueError: shorter than :data:`LEAST_PASSWORD` or absurdly long.
    """
    hashed = _hash_password(password)
    c.execute(update(users).where(users.c.id == user_id).values(password_hash=hashed))
    end_sessions_of(c, user_id)


def set_role(c: Connection, user_id: str, role: str) -> None:
    """Change a role. The last owner keeps theirs.

    Raises:
        ValueError: an unknown role, or nobody would be left to own the server.
    """
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; there are {', '.join(ROLES)}")
    if role != "owner":
        _keep_an_owner(c, user_id)
    c.execute(update(users).where(users.c.id == user_id).values(role=role))


def set_disabled(c: Connection, user_id: str, at: float | None) -> None:
    """Lock an account out (``at`` set) or let it in again (``None``).

    Raises:
        ValueError: nobody would be left to own the server.
    """
    if at is not None:
        _keep_an_owner(c, user_id)
        end_sessions_of(c, user_id)
    c.execute(update(users).where(users.c.id == user_id).values(disabled_at=at))


def set_language(c: Connection, user_id: str, language: str) -> None:
    c.execute(update(users).where(users.c.id == user_id).values(language=language[:8]))


def _keep_an_owner(c: Connection, but: str) -> None:
    others = (
        select(func.count())
        .select_from(users)
        .where(users.c.role == "owner", users.c.disabled_at.is_(None), users.c.id != but)
    )
    row = user(c, but)
    if row is not None and row.role == "owner" and c.execute(others).scalar_one() == 0:
        raise ValueError("the last owner of the server cannot be removed")


def login(c: Connection, email: str, password: str) -> User | None:
    """The user if the password is right. Takes as long for an unknown address."""
    where = users.c.email == email.strip().lower()
    row = c.execute(select(users).where(where)).mappings().first()
    stored = row["password_hash"] if row else ""
    right = _matches(stored or _nobody(), password)
    if row is None or not stored or not right or row["disabled_at"] is not None:
        return None
    return _user(row)


def open_session(c: Connection, user_id: str, at: float) -> tuple[str, Session]:
    """A session and the token for its cookie."""
    token = secrets.token_urlsafe(32)
    made = Session(
        token_hash=_digest(token),
        user_id=user_id,
        csrf=secrets.token_urlsafe(32),
        expires_at=at + SESSION_SECONDS,
    )
    c.execute(
        insert(sessions).values(
            token_hash=made.token_hash,
            user_id=user_id,
            csrf=made.csrf,
            created_at=at,
            seen_at=at,
            expires_at=made.expires_at,
        )
    )
    return token, made


def session(c: Connection, token: str, at: float) -> tuple[User, Session, bool] | None:
    """User and session of a cookie, and whether :func:`touch` is due; ``None`` when over."""
    row = (
        c.execute(select(sessions).where(sessions.c.token_hash == _digest(token)))
        .mappings()
        .first()
    )
    if row is None or at >= row["expires_at"] or at - row["seen_at"] > IDLE_SECONDS:
        return None
    found = user(c, row["user_id"])
    if found is None or found.disabled_at is not None:
        return None
    kept = Session(
        token_hash=row["token_hash"],
        user_id=row["user_id"],
        csrf=row["csrf"],
        expires_at=row["expires_at"],
    )
    return found, kept, at - row["seen_at"] > _SEEN_EVERY


def touch(c: Connection, token_hash: str, at: float) -> None:
    """Note that a session was used."""
    c.execute(update(sessions).where(sessions.c.token_hash == token_hash).values(seen_at=at))


def end_session(c: Connection, token_hash: str) -> None:
    c.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


def end_sessions_of(c: Connection, user_id: str) -> None:
    c.execute(delete(sessions).where(sessions.c.user_id == user_id))


def make_key(
    c: Connection,
    user_id: str,
    *,
    name: str,
    scopes: Iterable[str],
    at: float,
    expires_at: float | None = None,
) -> NewKey:
    """A key ``assay_<id>_<secret>`` for programs.

    Raises:
        ValueError: no scope, an unknown one, or one that the user's role does not have.
    """
    owner = user(c, user_id)
    if owner is None:
        raise ValueError("no such user")
    wanted = tuple(s for s in SCOPES if s in set(scopes))
    strange = set(scopes) - scopes_of(owner.role)
    if strange or not wanted:
        raise ValueError(f"scopes must be some of {', '.join(sorted(scopes_of(owner.role)))}")
    if expires_at is not None and expires_at <= at:
        raise ValueError("the key would have expired already")
    ident, secret = secrets.token_hex(8), secrets.token_hex(24)
    c.execute(
        insert(api_keys).values(
            id=ident,
            user_id=user_id,
            name=" ".join(name.split())[:120] or "key",
            secret_hash=_hasher.hash(secret),
            scopes=list(wanted),
            created_at=at,
            expires_at=expires_at,
        )
    )
    key = next(k for k in keys_of(c, user_id) if k.id == ident)
    return NewKey(key=key, secret=f"assay_{ident}_{secret}")


def keys_of(c: Connection, user_id: str) -> list[ApiKey]:
    where = select(api_keys).where(api_keys.c.user_id == user_id)
    return [_key(r) for r in c.execute(where.order_by(api_keys.c.created_at)).mappings()]


def revoke_key(c: Connection, user_id: str, ident: str, at: float) -> bool:
    """Whether there was such a key of this user that still worked."""
    done = c.execute(
        update(api_keys)
        .where(
            api_keys.c.id == ident,
            api_keys.c.user_id == user_id,
            api_keys.c.revoked_at.is_(None),
        )
        .values(revoked_at=at)
    )
    return done.rowcount > 0


def key_principal(
    c: Connection, token: str, at: float, *, known: str | None = None
) -> tuple[User, ApiKey, str] | None:
    """User, key and its stored hash for a presented key; ``None`` when it does not count.

    ``known`` is the stored hash against which this very token was verified before: argon2
    is slow on purpose, and a program asks many times a second.
    """
    parts = token.split("_")
    if len(parts) != 3 or parts[0] != "assay":
        return None
    row = c.execute(select(api_keys).where(api_keys.c.id == parts[1])).mappings().first()
    stored = row["secret_hash"] if row else _nobody()
    same = known is not None and hmac.compare_digest(known, stored)
    if not same and not _matches(stored, parts[2]):
        return None
    if row is None or row["revoked_at"] is not None:
        return None
    if row["expires_at"] is not None and at >= row["expires_at"]:
        return None
    found = user(c, row["user_id"])
    if found is None or found.disabled_at is not None:
        return None
    return found, _key(row), stored


def note_key_use(c: Connection, ident: str, at: float) -> None:
    c.execute(update(api_keys).where(api_keys.c.id == ident).values(used_at=at))


def make_ticket(
    c: Connection, purpose: str, *, at: float, seconds: float, user_id: str | None = None
) -> str:
    """The token of a single-use link; older ones for the same purpose and user end."""
    same = tickets.c.user_id.is_(None) if user_id is None else tickets.c.user_id == user_id
    c.execute(delete(tickets).where(tickets.c.purpose == purpose, same))
    token = secrets.token_urlsafe(32)
    c.execute(
        insert(tickets).values(
            token_hash=_digest(token), purpose=purpose, user_id=user_id, expires_at=at + seconds
        )
    )
    return token


def read_ticket(c: Connection, token: str, purpose: str, at: float) -> tuple[str | None] | None:
    """``(user id or None,)`` of a link that is still good, else ``None``."""
    row = c.execute(
        select(tickets).where(tickets.c.token_hash == _digest(token), tickets.c.purpose == purpose)
    ).first()
    return None if row is None or at >= row.expires_at else (row.user_id,)


def burn_ticket(c: Connection, token: str) -> bool:
    """Use a link up; ``False`` when another request was faster."""
    done = c.execute(delete(tickets).where(tickets.c.token_hash == _digest(token)))
    return done.rowcount > 0


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _hash_password(password: str) -> str:
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise ValueError(f"a password has at least {LEAST_PASSWORD} characters")
    return _hasher.hash(password)


def _matches(stored: str, secret: str) -> bool:
    try:
        return _hasher.verify(stored, secret[:MOST_PASSWORD])
    except (Argon2Error, InvalidHashError):
        return False


def _address(email: str) -> str:
    email = email.strip().lower()
    name, at, host = email.rpartition("@")
    if not (name and at and host) or len(email) > 254 or any(ch.isspace() for ch in email):
        raise ValueError(f"{email!r} is no e-mail address")
    return email


def _user(row: Any) -> User:
    return User(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        language=row["language"],
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        has_password=bool(row["password_hash"]),
    )


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row["id"],
        user_id=row["user_id"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
    )
