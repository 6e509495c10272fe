"""The client for asyncio."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
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

__all__ = ["AsyncAssayClient"]

T = TypeVar("T")


class AsyncAssayClient:
    """:class:`assay.client.AssayClient` for asyncio: the same methods, awaited."""

    def __init__(self, url: str, key: str, *, timeout: float = 60.0, retries: int = 3) -> None:
        self._retries = retries
        self._http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout
        )

    async def __aenter__(self) -> AsyncAssayClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def submit(
        self,
        path: str | os.PathLike[str],
        *,
        prior: float | None = None,
        priority: int = 5,
        zero_retention: bool = False,
        idempotency_key: str | None = None,
    ) -> Analysis:
        return await self._hold(
            calls.submit(
                Path(path),
                prior=prior,
                priority=priority,
                zero_retention=zero_retention,
                idempotency_key=idempotency_key,
            )
        )

    async def get(self, ident: str) -> Analysis:
        return await self._hold(calls.get(ident))

    async def wait(self, ident: str, *, seconds: float = 3600.0) -> Analysis:
        return await self._hold(calls.wait(ident, seconds=seconds))

    async def events(self, ident: str) -> AsyncIterator[Analysis]:
        try:
            async with self._http.stream("GET", calls.events_path(ident), timeout=None) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                checked(answer)
                stream = calls.Sse()
                async for line in answer.aiter_lines():
                    for data in stream.feed(line):
                        yield Analysis.of(json.loads(data))
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url}: {error}") from error

    async def report(self, ident: str) -> Report:
        return from_json((await self.report_as(ident, "json")).decode())

    async def report_as(self, ident: str, kind: Literal["json", "html", "pdf"]) -> bytes:
        return await self._hold(calls.report(ident, kind))

    async def analyses(self, **filters: Any) -> AsyncIterator[Analysis]:
        cursor: str | None = ""
        while cursor is not None:
            items, cursor = await self._hold(calls.page(filters, cursor))
            for item in items:
                yield item

    async def cancel(self, ident: str) -> Analysis:
        return await self._hold(calls.cancel(ident))

    async def delete(self, ident: str) -> None:
        await self._hold(calls.delete(ident))

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        return await self._hold(calls.plain(method, path, body))

    async def _hold(self, call: Call[T]) -> T:
        try:
            step = next(call)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = call.send(None)
                else:
                    step = call.send(await self._ask(step))
        except StopIteration as end:
            found: T = end.value
            return found

    async def _ask(self, ask: Ask) -> httpx.Response | None:
        for tried in range(self._retries + 1):
            try:
                answer = await self._once(ask)
            except httpx.TransportError as error:
                if ask.may_break:
                    return None
                raise Unreachable(f"{self._http.base_url}: {error}") from error
            pause = retry_after(answer)
            if pause is None or tried == self._retries:
                return answer
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _once(self, ask: Ask) -> httpx.Response:
        with ExitStack() as stack:
            files = None
            if ask.file is not None:
                name, kind = calls.multipart(ask.file)
                files = {"file": (name, stack.enter_context(ask.file.open("rb")), kind)}
            return await self._http.request(
                ask.method,
                ask.path,
                params=ask.params,
                headers=ask.headers,
                json=ask.json,
                data=ask.data or None,
                content=ask.content,
                files=files,
            )
