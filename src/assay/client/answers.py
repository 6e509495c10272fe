"""What the server answers, as values and errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from assay.errors import AssayError

__all__ = ["Analysis", "ServerProblem", "TooManyRequests", "Unreachable", "checked", "retry_after"]


class Unreachable(AssayError):
    """The server did not answer."""


class ServerProblem(AssayError):
    """The server refused, and said why (RFC 9457).

    ``status``: of HTTP; ``code``: the last part of the problem's ``type``, e.g.
    ``not-found``; ``detail``: a sentence, may be empty; ``members``: the whole document.
    """

    def __init__(self, status: int, members: Mapping[str, Any]) -> None:
        self.status = status
        self.members = dict(members)
        self.code = str(members.get("type", "")).rsplit("/", 1)[-1]
        self.title = str(members.get("title", ""))
        self.detail = str(members.get("detail", ""))
        super().__init__(f"{status} {self.title}{': ' if self.detail else ''}{self.detail}")


class TooManyRequests(ServerProblem):
    """Asked too often, or too much is waiting, also after the client's own retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One analysis. ``members``: everything that the server said of it."""

    id: str
    status: str
    name: str
    sha256: str
    stage: str
    progress: float
    verdict: str | None
    probability: float | None
    headline: str | None
    error: str | None
    """Why it failed: type and cause."""
    members: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        return self.status in ("done", "failed", "cancelled")

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Analysis:
        error = members.get("error")
        return cls(
            **{
                name: members[name]
                for name in (
                    *("id", "status", "name", "sha256", "stage", "progress"),
                    *("verdict", "probability", "headline"),
                )
            },
            error=f"{error['type']}: {error['cause']}" if error else None,
            members=members,
        )


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, unless it is a refusal.

    Raises:
        ServerProblem: the server said no.
    """
    if answer.status_code < 400:
        return answer
    try:
        members = answer.json()
    except ValueError:
        members = None
    if not isinstance(members, dict):
        members = {"title": answer.reason_phrase, "detail": answer.text[:300]}
    kind = TooManyRequests if answer.status_code == 429 else ServerProblem
    raise kind(answer.status_code, members)


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds after which the same request is worth another try; ``None``: it is not."""
    if answer.status_code not in (429, 503):
        return None
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdigit() else 1.0
