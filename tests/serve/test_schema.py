"""Requests drawn from the API's own OpenAPI: no answer is an error of the server."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from tests.serve.conftest import Shop
from tests.serve.world import Served, served

DRAWN = settings(
    max_examples=12, deadline=None, derandomize=True, database=None,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip
WAYS = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def fresh(shop: Shop) -> Served:
    """A server that nothing else has asked."""
    return served(*shop.runs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.value)
def test_no_request_is_an_error_of_the_server(fresh: Served, way: Any) -> None:
    """Requests that keep to the schema, and such that break it."""
    schema = schemathesis.openapi.from_dict(fresh.get("/openapi.json"))
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()
        tried.append(f"{operation.method.upper()} {operation.path}")

        @DRAWN
        @given(case=operation.as_strategy(generation_mode=way))
        def ask(case: Any) -> None:
            _check(fresh, case)

        with suppress(Unsatisfiable):  # nothing breaks the schema of an address without parameters
            ask()
    assert len(tried) == len(set(tried)) >= 16
    assert not [line for line in fresh.lines if "unexpected" in line]


def _check(api: Served, case: Any) -> None:
    request = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
    request.pop("cookies", None)
    try:
        answer = api.client.request(**request)
    except httpx2.InvalidURL:  # which no client sends
        return
    assert answer.status_code < 500, (request, answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code >= 400:
        assert isinstance(answer.json()["detail"], str)
