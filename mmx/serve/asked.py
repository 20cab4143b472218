"""Parameters that several addresses of the API have, and bodies of requests."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field

from mmx.serve.filters import MOST as FILTERS
from mmx.serve.filters import Filter
from mmx.serve.service import MOST, Service

USUAL = 20  # items of a list
K = Annotated[int, Query(ge=1, le=MOST, description="Items of the list.")]
Filters = Annotated[
    str | None,
    Query(description='JSON: [{"column": "price", "op": "<", "value": 20}]', max_length=20_000),
]
Modality = Annotated[str | None, Query(description="Vectors that are compared: image, text …")]
Offset = Annotated[int, Query(ge=0, le=2**31)]
Limit = Annotated[int, Query(ge=1, le=MOST)]
Words = Annotated[str, Query(max_length=2000)]
RunName = Annotated[str | None, Query(description="Name of the run; the first one by default.")]


class Per(BaseModel):
    """At most so many items of one value of a column."""

    model_config = ConfigDict(extra="forbid")

    column: str
    most: int = Field(ge=1, le=MOST)


class Visitor(BaseModel):
    """Someone of whom only some items are known, or none."""

    model_config = ConfigDict(extra="forbid")

    items: list[str] = Field(default_factory=list, max_length=1000)
    filters: list[Filter] = Field(default_factory=list, max_length=FILTERS)
    k: int = Field(USUAL, ge=1, le=MOST)
    explain: bool = False
    diversity: float = Field(0.0, ge=0, le=1)
    per: Per | None = None
    run: str | None = None


def service_of(request: Request) -> Service:
    """The service behind an address."""
    found: Service = request.app.state.service
    return found
