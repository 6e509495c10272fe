"""Python client of the server, blocking and for asyncio. Needs httpx (extra ``server``).

>>> from assay.client import AssayClient
>>> with AssayClient("https://assay.example.org", key="assay_...") as server:  # doctest: +SKIP
...     analysis = server.wait(server.submit("photo.jpg").id)
...     print(analysis.verdict, analysis.headline)

Not in here: analysis, server.
"""

from __future__ import annotations

from assay.client.answers import Analysis, ServerProblem, TooManyRequests, Unreachable
from assay.client.asynchronous import AsyncAssayClient
from assay.client.blocking import AssayClient
from assay.client.signed import BadSignature, verify_webhook

__all__ = [
    "Analysis",
    "AssayClient",
    "AsyncAssayClient",
    "BadSignature",
    "ServerProblem",
    "TooManyRequests",
    "Unreachable",
    "verify_webhook",
]
