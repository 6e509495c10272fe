"""What the API sends and takes, as its OpenAPI document describes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from assay.storage.accounts import ApiKey
from assay.storage.analyses import Analysis

__all__ = [
    "PROBLEM_RESPONSES",
    "AnalysisList",
    "AnalysisOut",
    "ByReference",
    "Ident",
    "KeyIn",
    "KeyMade",
    "KeyOut",
    "Status",
    "moment",
]

Ident = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
"""Parameter of a route: an id of ours in the path."""
Status = Literal["queued", "running", "done", "failed", "cancelled"]
VerdictName = Literal[
    "authentic", "inconclusive", "suspicious", "manipulated", "synthetic", "not_applicable"
]
MediaKindName = Literal["image", "video", "audio"]


def moment(at: float | None) -> datetime | None:
    """POSIX seconds as a time with its zone."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


class ProblemOut(BaseModel):
    """An error (RFC 9457); some carry further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": what,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
        },
    }
    for status, what in {
        400: "The request cannot be understood.",
        401: "No valid key or session.",
        403: "Not allowed to this key or user.",
        404: "Nothing that this key or user may see.",
        409: "Does not fit the present state.",
        413: "The file is too large.",
        415: "The body has an unexpected type.",
        422: "The request is not valid.",
        429: "Too many requests; `Retry-After` says how long to wait.",
        507: "No room left.",
    }.items()
}


class ErrorOut(BaseModel):
    """Why an analysis failed."""

    type: str = Field(description="Name of the error, e.g. `NotMedia`.")
    cause: str


class PartialFinding(BaseModel):
    code: str
    kind: str
    claim: str
    because: str


class PartialOut(BaseModel):
    """What one analyzer has found, before anything is weighed."""

    analyzer: str
    findings: list[PartialFinding]


class AnalysisOut(BaseModel):
    """One analysis and how far it is."""

    id: str
    status: Status
    name: str
    bytes: int
    sha256: str
    kind: MediaKindName | None
    prior: float = Field(description="Probability, before looking, of not being authentic.")
    priority: int
    zero_retention: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    media_expires_at: datetime | None
    media_deleted_at: datetime | None
    attempts: int
    stage: str = Field(description="What is being done; empty unless running.")
    progress: float = Field(ge=0, le=1)
    partial: list[PartialOut] = Field(description="Findings so far; empty unless running.")
    verdict: VerdictName | None
    probability: float | None
    headline: str | None
    error: ErrorOut | None
    review_state: Literal["none", "open", "second", "done"]
    links: dict[str, str]

    @classmethod
    def of(cls, row: Analysis) -> AnalysisOut:
        here = f"/api/v1/analyses/{row.id}"
        links = {"self": here, "events": f"{here}/events", "page": f"/analyses/{row.id}"}
        if row.status == "done":
            links["report"] = f"{here}/report"
        error = None
        if row.error_type is not None:
            error = ErrorOut(type=row.error_type, cause=row.error_cause or "")
        return cls.model_validate(
            {
                "id": row.id,
                "status": row.status,
                "name": row.name,
                "bytes": row.bytes,
                "sha256": row.sha256,
                "kind": row.kind,
                "prior": row.prior,
                "priority": row.priority,
                "zero_retention": row.zero_retention,
                "created_at": _moment(row.created_at),
                "started_at": moment(row.started_at),
                "finished_at": moment(row.finished_at),
                "media_expires_at": moment(row.media_expires_at),
                "media_deleted_at": moment(row.media_deleted_at),
                "attempts": row.attempts,
                "stage": row.stage,
                "progress": row.progress,
                "partial": row.partial,
                "verdict": row.verdict,
                "probability": row.probability,
                "headline": row.headline,
                "error": error,
                "review_state": row.review_state,
                "links": links,
            }
        )


class AnalysisList(BaseModel):
    """Newest first. ``next`` is the cursor of the page that follows, if there is one."""

    items: list[AnalysisOut]
    next: str | None


class ByReference(BaseModel):
    """An analysis of a file that the server has already: exactly one of the two."""

    model_config = ConfigDict(extra="forbid")

    upload_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = Field(
        default=None, description="A completed resumable upload."
    )
    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None, description="A file on the server, in a folder that its operator allows."
    )
    prior: Annotated[float, Field(ge=0.0001, le=0.9999)] | None = None
    priority: Annotated[int, Field(ge=1, le=9)] = 5
    zero_retention: bool = False


class KeyIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=120)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=10)]
    expires_in_days: Annotated[float, Field(gt=0, le=3650)] | None = None


class KeyOut(BaseModel):
    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        return cls(
            id=key.id,
            name=key.name,
            scopes=list(key.scopes),
            created_at=_moment(key.created_at),
            expires_at=moment(key.expires_at),
            used_at=moment(key.used_at),
            revoked_at=moment(key.revoked_at),
        )


class KeyMade(KeyOut):
    secret: str = Field(description="The key itself; shown now and never again.")
