"""Requests drawn from the API's own OpenAPI: whatever comes, no answer is an error of the server."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.serve.conftest import Shop
from tests.serve.world import Served, served

schema: Any = schemathesis.pytest.from_fixture("drawn")
DRAWN = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def fresh(shop: Shop) -> Served:
    """A server that nothing else has asked."""
    return served(*shop.runs)


@pytest.fixture
def drawn(fresh: Served) -> Any:
    return schemathesis.openapi.from_dict(fresh.get("/openapi.json"))


@pytest.mark.slow
@schema.parametrize()
@DRAWN
def test_no_request_is_an_error_of_the_server(case: Any, fresh: Served) -> None:
    given = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
    given.pop("cookies", None)
    answer = fresh.client.request(**given)
    assert answer.status_code < 500, (given, answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code >= 400:
        assert isinstance(answer.json()["detail"], str)
    assert not [line for line in fresh.lines if "unexpected" in line]
