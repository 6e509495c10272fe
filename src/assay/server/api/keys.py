"""Keys for programs: a user makes and revokes their own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from assay.server.access import Asker, Principal
from assay.server.api.shapes import PROBLEM_RESPONSES, KeyIn, KeyMade, KeyOut
from assay.server.problems import Problem
from assay.server.services import Here, Services
from assay.storage import accounts, audit

__all__ = ["make", "revoke", "router"]

router = APIRouter(prefix="/api/v1/keys", tags=["keys"], responses=PROBLEM_RESPONSES)


@router.get("", response_model=list[KeyOut])
def listed(here: Here, who: Asker) -> list[KeyOut]:
    """The user's keys, without their secrets."""
    with here.database.read() as c:
        return [KeyOut.of(k) for k in accounts.keys_of(c, who.user.id)]


@router.post("", status_code=201, response_model=KeyMade)
def create(asked: KeyIn, here: Here, who: Asker) -> KeyMade:
    """Make a key. Only a logged-in user may: a key makes no keys."""
    return make(here, who, asked)


@router.delete("/{ident}", status_code=204)
def remove(
    ident: Annotated[str, Path(pattern="^[0-9a-f]{16}$")], here: Here, who: Asker
) -> Response:
    """Revoke a key; it stops working at once."""
    if not revoke(here, who, ident):
        raise Problem("not-found")
    return Response(status_code=204)


def make(here: Services, who: Principal, asked: KeyIn) -> KeyMade:
    """The key; its secret is in the answer and nowhere else."""
    if who.session is None:
        raise Problem("forbidden", "a key makes no keys; log in")
    at = here.clock()
    until = None if asked.expires_in_days is None else at + asked.expires_in_days * 86400.0
    try:
        with here.database.write() as c:
            new = accounts.make_key(
                c, who.user.id, name=asked.name, scopes=asked.scopes, at=at, expires_at=until
            )
            detail = {"scopes": list(new.key.scopes)}
            audit.write(
                c, actor=who.actor, action="key.create", subject=new.key.id, detail=detail, at=at
            )
    except ValueError as error:
        raise Problem("invalid", str(error)) from None
    return KeyMade(**KeyOut.of(new.key).model_dump(), secret=new.secret)


def revoke(here: Services, who: Principal, ident: str) -> bool:
    """Whether there was such a key that still worked."""
    at = here.clock()
    with here.database.write() as c:
        done = accounts.revoke_key(c, who.user.id, ident, at)
        if done:
            audit.write(c, actor=who.actor, action="key.revoke", subject=ident, detail={}, at=at)
    return done
