"""What the API answers: shapes for its OpenAPI, JSON, and errors of one line."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel
from starlette.responses import Response


class Error(BaseModel):
    """Every error."""

    detail: str


class ItemOut(BaseModel):
    """An item as its table has it."""

    item_id: str
    title: str | None
    text: str | None
    columns: dict[str, Any]
    picture: bool


class ReasonOut(BaseModel):
    """Which of the user's items a recommendation is closest to."""

    modality: str
    item_id: str
    title: str | None
    similarity: float


class RankedOut(BaseModel):
    """One row of a list."""

    rank: int
    score: float
    item: ItemOut
    reason: ReasonOut | None


class ListOut(BaseModel):
    """A list of items, best first."""

    items: list[RankedOut]
    note: str | None


class ItemsOut(BaseModel):
    """A page of the catalogue."""

    total: int
    items: list[ItemOut]


class UsersOut(BaseModel):
    """A page of user ids."""

    total: int
    users: list[str]


class TakenOut(BaseModel):
    """An item that a user took, and in which split it is."""

    item: ItemOut
    split: str


class UserOut(BaseModel):
    """A page of what a user took."""

    user_id: str
    total: int
    history: list[TakenOut]


class ColumnOut(BaseModel):
    """A column that filters can name."""

    column: str
    type: str
    values: list[Any]


class MapOut(BaseModel):
    """Items in two dimensions: x, y and the place in ``items`` of each."""

    points: list[list[float]]
    items: list[str]
    pictures: list[bool]
    values: list[Any] | None
    shown: int
    total: int


class RunOut(BaseModel):
    """A run that is served."""

    name: str
    model: str
    metrics: dict[str, Any]
    features: list[str]
    created: str
    seconds: float | None


class HealthOut(BaseModel):
    """How the server is."""

    status: str
    run: str
    run_made: str
    run_age_seconds: float
    store: str | None
    items: int
    users: int
    version: str
    swaps: int
    problem: str | None


class Json(Response):
    """JSON in ASCII, which holds any text of Python, lone surrogates too."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def fail(status: int, detail: str, **headers: str) -> HTTPException:
    """An error to raise."""
    return HTTPException(status, detail, headers=headers or None)


def plain(value: Any) -> Any:
    """A value of a table as JSON has it: null for NaN, text for times."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, decimal.Decimal)):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return str(value)
