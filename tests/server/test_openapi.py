"""The OpenAPI document is true: schemathesis asks everything that it allows, and more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import load_all_checks
from schemathesis.generation import GenerationMode

load_all_checks()


@pytest.fixture(scope="module")
def served(houses: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = houses.House(tmp_path_factory.mktemp("openapi"), workers=0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def key(served: Any) -> Iterator[str]:
    with served.program("owner") as client:
        yield client.headers["authorization"]


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "negative_data_rejection",
)


def test_the_document_is_true(served: Any, key: str) -> None:
    document = httpx.get(f"{served.url}/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=served.url)
    checks = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ in CHECKS]
    assert len(checks) == len(CHECKS)
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        # Streams of events do not end by themselves, and 503 is an answer of readyz; both
        # have tests of their own.
        if operation.path.endswith("/events") or operation.path == "/readyz":
            continue
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:

            @settings(
                max_examples=8,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(headers={"Authorization": key}, checks=checks)

            with contextlib.suppress(Unsatisfiable):
                ask()
    assert asked > 100


def test_every_error_is_documented(served: Any) -> None:
    from assay.server.problems import PROBLEMS

    document = httpx.get(f"{served.url}/api/v1/openapi.json").json()
    told = set()
    for path, methods in document["paths"].items():
        if not path.startswith("/api/"):
            continue
        for method, operation in methods.items():
            assert operation.get("summary"), (path, method)
            told |= set(operation["responses"])
    assert {str(status) for status, _ in PROBLEMS.values()} - told <= {
        "500",
        "503",
        "405",
        "410",
        "406",
        "411",
    }
