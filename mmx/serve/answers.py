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

from mmx.errors import MmxError, OptionError, UnknownIdError, first_line
from mmx.extract.reasons import ImageError, Reason
from mmx.serve.work import BusyError


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
    """JSON in ASCII, which holds any text of Python, lone surrogates too; bytes stay as is."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return content if isinstance(content, bytes) else compact(content).encode()


def compact(value: Any) -> str:
    """JSON in ASCII without blanks. Raises ValueError for NaN and infinity."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


OURS = (MmxError, ImageError, BusyError)  # errors that are answered with their own line


def answered(error: Exception) -> Json:
    """The answer to an error; of what is not ours nothing is said."""
    if isinstance(error, BusyError):
        return Json({"detail": "busy; try again in a second"}, 503, headers={"retry-after": "1"})
    if isinstance(error, ImageError):
        large = str(error) in (Reason.TOO_MANY_PIXELS, Reason.TOO_LARGE)
        said = f"{error}; a JPEG, PNG or WebP is expected"
        return Json({"detail": said}, 413 if large else 415)
    if isinstance(error, MmxError):
        status = {UnknownIdError: 404, OptionError: 422}.get(type(error), 409)
        return Json({"detail": first_line(error)}, status)
    return Json({"detail": "unexpected error; the server's log has it"}, 500)


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
