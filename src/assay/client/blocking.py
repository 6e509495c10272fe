"""The client for programs that wait."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx

from assay.client import calls
from assay.client.answers import Analysis, Unreachable, checked, retry_after
from assay.client.calls import Ask, Call, Pause
from assay.report.as_json import from_json
from assay.report.document import Report

__all__ = ["AssayClient"]

T = TypeVar("T")


class AssayClient:
    """A server, asked with a key. Close it, or use it as a context manager.

    Args:
        url: address of the server.
        key: an API key, ``assay_...``.
        timeout: seconds that one request may take.
        retries: how often a request that came too often, or found the server not ready, is
            asked again after the time that the server names.

    Every method raises :class:`ServerProblem` when the server refuses and
    :class:`Unreachable` when it does not answer.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 60.0, retries: int = 3) -> None:
        self._retries = retries
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout
        )

    def __enter__(self) -> AssayClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(
        self,
        path: str | os.PathLike[str],
        *,
        prior: float | None = None,
        priority: int = 5,
        zero_retention: bool = False,
        idempotency_key: str | None = None,
    ) -> Analysis:
        """Queue an analysis of a file; a large one is sent in pieces that can be resumed.

        Args:
            prior: probability, before looking, of not being authentic; default the server's.
            priority: 1 (first) to 9.
            zero_retention: keep nothing but the report.
            idempotency_key: two submissions with the same one make one analysis.
        """
        return self._hold(
            calls.submit(
                Path(path),
                prior=prior,
                priority=priority,
                zero_retention=zero_retention,
                idempotency_key=idempotency_key,
            )
        )

    def get(self, ident: str) -> Analysis:
        return self._hold(calls.get(ident))

    def wait(self, ident: str, *, seconds: float = 3600.0) -> Analysis:
        """The analysis once it is done, failed or cancelled.

        Raises:
            AnalysisTimeout: it has not ended after ``seconds``; it goes on.
        """
        return self._hold(calls.wait(ident, seconds=seconds))

    def events(self, ident: str) -> Iterator[Analysis]:
        """The analysis each time it has come further, until it has ended."""
        try:
            with self._http.stream("GET", calls.events_path(ident), timeout=None) as answer:
                if answer.status_code >= 400:
                    answer.read()
                checked(answer)
                stream = calls.Sse()
                for line in answer.iter_lines():
                    for data in stream.feed(line):
                        yield Analysis.of(json.loads(data))
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url}: {error}") from error

    def report(self, ident: str) -> Report:
        """The report of an analysis that is done."""
        return from_json(self.report_as(ident, "json").decode())

    def report_as(self, ident: str, kind: Literal["json", "html", "pdf"]) -> bytes:
        """The same as a file."""
        return self._hold(calls.report(ident, kind))

    def analyses(self, **filters: Any) -> Iterator[Analysis]:
        """Every analysis that the key may see, newest first.

        ``filters``: ``status``, ``verdict``, ``kind``, ``review``, ``q``, ``since``,
        ``until``, as in the API.
        """
        cursor: str | None = ""
        while cursor is not None:
            items, cursor = self._hold(calls.page(filters, cursor))
            yield from items

    def cancel(self, ident: str) -> Analysis:
        return self._hold(calls.cancel(ident))

    def delete(self, ident: str) -> None:
        """Delete an analysis, its report and its media."""
        self._hold(calls.delete(ident))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Any other request below ``/api/v1``, e.g. ``request("GET", "/webhooks")``."""
        return self._hold(calls.plain(method, path, body))

    def _hold(self, call: Call[T]) -> T:
        answer: httpx.Response | None = None
        try:
            step = next(call)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = call.send(None)
                else:
                    answer = self._ask(step)
                    step = call.send(answer)
        except StopIteration as end:
            found: T = end.value
            return found

    def _ask(self, ask: Ask) -> httpx.Response | None:
        for tried in range(self._retries + 1):
            try:
                answer = self._once(ask)
            except httpx.TransportError as error:
                if ask.may_break:
                    return None
                raise Unreachable(f"{self._http.base_url}: {error}") from error
            pause = retry_after(answer)
            if pause is None or tried == self._retries:
                return answer
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _once(self, ask: Ask) -> httpx.Response:
        with ExitStack() as stack:
            files = None
            if ask.file is not None:
                name, kind = calls.multipart(ask.file)
                files = {"file": (name, stack.enter_context(ask.file.open("rb")), kind)}
            return self._http.request(
                ask.method,
                ask.path,
                params=ask.params,
                headers=ask.headers,
                json=ask.json,
                data=ask.data or None,
                content=ask.content,
                files=files,
            )
