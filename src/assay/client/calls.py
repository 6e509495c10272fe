"""Every operation as a conversation: requests out, answers in. Knows no input or output.

The blocking and the asynchronous client hold the same conversations, each in its own way.
"""

from __future__ import annotations

import mimetypes
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import httpx

from assay.client.answers import Analysis, ServerProblem, checked
from assay.errors import AnalysisTimeout

__all__ = ["RESUMABLE_BYTES", "Ask", "Call", "Pause", "Sse", "cancel", "delete", "get"]

T = TypeVar("T")

RESUMABLE_BYTES = 64 * 1024 * 1024
"""Files of at least this size are sent in pieces that survive a broken connection."""
_PIECE = 8 * 1024 * 1024
_ROOT = "/api/v1"
_TRIES = 5  # of a piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request. ``file`` is sent as the multipart field ``file``, anew at each try."""

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    data: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    file: Path | None = None
    may_break: bool = False
    """The conversation goes on when the connection breaks: ``None`` is sent in."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Call: TypeAlias = Generator[Ask | Pause, httpx.Response | None, T]


def submit(
    path: Path,
    *,
    prior: float | None,
    priority: int,
    zero_retention: bool,
    idempotency_key: str | None,
) -> Call[Analysis]:
    """Send a file; one repeated after a broken connection makes no second analysis."""
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    wish: dict[str, Any] = {"priority": priority, "zero_retention": zero_retention}
    if prior is not None:
        wish["prior"] = prior
    if path.stat().st_size >= RESUMABLE_BYTES:
        upload = yield from _send_in_pieces(path)
        answer = yield Ask(
            method="POST",
            path=f"{_ROOT}/analyses",
            headers=headers,
            json={**wish, "upload_id": upload},
        )
    else:
        answer = yield Ask(
            method="POST",
            path=f"{_ROOT}/analyses",
            headers=headers,
            data={k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in wish.items()},
            file=path,
        )
    return Analysis.of(_json(answer))


def _send_in_pieces(path: Path) -> Call[str]:
    length = path.stat().st_size
    begun = yield Ask(
        method="POST", path=f"{_ROOT}/uploads", json={"name": path.name, "length": length}
    )
    ident = str(_json(begun)["id"])
    here = f"{_ROOT}/uploads/{ident}"
    offset, failures = 0, 0
    with path.open("rb") as file:
        while offset < length:
            file.seek(offset)
            answer = yield Ask(
                method="PATCH",
                path=here,
                headers={
                    "Upload-Offset": str(offset),
                    "Content-Type": "application/offset+octet-stream",
                },
                content=file.read(_PIECE),
                may_break=True,
            )
            if answer is not None and answer.status_code == 204:
                offset, failures = int(answer.headers["upload-offset"]), 0
                continue
            failures += 1
            if answer is not None and (answer.status_code != 409 or failures >= _TRIES):
                checked(answer)
            if failures >= _TRIES:
                raise ServerProblem(0, {"title": "the upload broke off", "detail": path.name})
            yield Pause(0.5 * 2**failures)
            where = yield Ask(method="HEAD", path=here)
            assert where is not None
            offset = int(checked(where).headers["upload-offset"])
    return ident


def get(ident: str) -> Call[Analysis]:
    return Analysis.of(_json((yield Ask(method="GET", path=f"{_ROOT}/analyses/{ident}"))))


def wait(ident: str, *, seconds: float, every: float = 0.5) -> Call[Analysis]:
    """Until it has ended, asking less often the longer it takes."""
    waited, pause = 0.0, every
    while True:
        found = yield from get(ident)
        if found.ended:
            return found
        if waited >= seconds:
            raise AnalysisTimeout(f"{found.name}: not ended after {seconds:g} s")
        yield Pause(pause)
        waited += pause
        pause = min(5.0, pause * 1.2)


def cancel(ident: str) -> Call[Analysis]:
    return Analysis.of(_json((yield Ask(method="POST", path=f"{_ROOT}/analyses/{ident}/cancel"))))


def delete(ident: str) -> Call[None]:
    answer = yield Ask(method="DELETE", path=f"{_ROOT}/analyses/{ident}")
    assert answer is not None
    checked(answer)


def report(ident: str, kind: str) -> Call[bytes]:
    """The report as ``json``, ``html`` or ``pdf``."""
    path = f"{_ROOT}/analyses/{ident}/report"
    answer = yield Ask(method="GET", path=path, params={"format": kind})
    assert answer is not None
    return checked(answer).content


def page(filters: dict[str, Any], cursor: str) -> Call[tuple[list[Analysis], str | None]]:
    params = {k: v for k, v in {**filters, "cursor": cursor}.items() if v not in (None, "")}
    found = _json((yield Ask(method="GET", path=f"{_ROOT}/analyses", params=params)))
    return [Analysis.of(a) for a in found["items"]], found["next"]


def plain(method: str, path: str, body: Any = None) -> Call[Any]:
    """Any other request of the API; its JSON, or ``None`` where there is none."""
    answer = yield Ask(method=method, path=f"{_ROOT}{path}", json=body)
    assert answer is not None
    checked(answer)
    return answer.json() if answer.content else None


def events_path(ident: str) -> str:
    return f"{_ROOT}/analyses/{ident}/events"


def multipart(path: Path) -> tuple[str, str]:
    """Name and type of a file part."""
    kind, _ = mimetypes.guess_type(path.name)
    return path.name, kind or "application/octet-stream"


class Sse:
    """Puts lines of an event stream together."""

    def __init__(self) -> None:
        self._data: list[str] = []

    def feed(self, line: str) -> Iterator[str]:
        """The data of an event that ``line`` completes."""
        if line.startswith("data:"):
            self._data.append(line[5:].removeprefix(" "))
        elif not line and self._data:
            yield "\n".join(self._data)
            self._data.clear()


def _json(answer: httpx.Response | None) -> Any:
    assert answer is not None
    return checked(answer).json()
