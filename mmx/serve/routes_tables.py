"""Addresses that answer what is there: items and their pictures, users, columns."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from mmx.errors import UnknownIdError
from mmx.serve.answers import (
    ColumnOut,
    ItemOut,
    ItemsOut,
    Json,
    UserOut,
    UsersOut,
    fail,
)
from mmx.serve.asked import Filters, Limit, Offset, Words, service_of
from mmx.serve.filters import Filter, parsed
from mmx.serve.items import containing
from mmx.serve.service import SHOWN
from mmx.serve.snapshot import Snapshot

router = APIRouter(tags=["tables"])
SIDE = 256  # px of a picture


@router.get("/items", response_model=ItemsOut)
async def items(
    request: Request, offset: Offset = 0, limit: Limit = 50, filters: Filters = None, q: Words = ""
) -> Response:
    """A page of the items that meet the filters and have the words in id, title or text."""
    service = service_of(request)
    now = service.snapshot
    return Json(await service.look(_page, now, parsed(filters), q, offset, limit))


def _page(now: Snapshot, filters: list[Filter], q: str, offset: int, limit: int) -> dict[str, Any]:
    met = now.items.matching(filters)
    if q:
        met = met & now.items.holding(q)
    rows = np.flatnonzero(met)
    ids = [now.items.ids[row] for row in rows[offset : offset + limit].tolist()]
    return {"total": len(rows), "items": now.items.items(ids)}


@router.get("/items/{item:path}", response_model=ItemOut)
async def item(request: Request, item: str) -> Response:
    """One item."""
    now = service_of(request).snapshot
    if item not in now.items.places:
        raise UnknownIdError(f"unknown item: {item[:SHOWN]}")
    return Json(now.items.item(item))


@router.get(
    "/pictures/{item:path}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def picture(
    request: Request, item: str, side: Annotated[int, Query(ge=16, le=1024)] = SIDE
) -> Response:
    """The picture of an item, made small, as a JPEG."""
    data = await service_of(request).picture(item, side)
    if data is None:
        raise fail(404, "there is no picture of this item")
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=60"})


@router.get("/users", response_model=UsersOut)
async def users(request: Request, offset: Offset = 0, limit: Limit = 50, q: Words = "") -> Response:
    """A page of the users of the first run whose id has the words in it."""
    service = service_of(request)
    return Json(await service.look(_users, service.snapshot, q, offset, limit))


def _users(now: Snapshot, q: str, offset: int, limit: int) -> dict[str, Any]:
    ids: pa.Array = now.first.run.data.users.ids
    if q:
        ids = ids.filter(pc.fill_null(containing(ids, q), False))
    return {"total": len(ids), "users": ids.slice(offset, limit).to_pylist()}


@router.get("/users/{user:path}", response_model=UserOut)
async def user(request: Request, user: str, offset: Offset = 0, limit: Limit = 50) -> Response:
    """A page of what a user took."""
    now = service_of(request).snapshot
    number = now.first.users.get(user)
    if number is None:
        raise UnknownIdError(f"unknown user: {user[:SHOWN]}")
    taken = now.first.history(number)
    part = taken[offset : offset + limit]
    shown = now.items.items([one for one, _ in part])
    history = [{"item": each, "split": split} for each, (_, split) in zip(shown, part, strict=True)]
    return Json({"user_id": user, "total": len(taken), "history": history})


@router.get("/columns", response_model=list[ColumnOut])
async def columns(request: Request) -> Response:
    """Columns that filters can name."""
    service = service_of(request)
    now = service.snapshot
    return Json(await service.look(now.once, "columns", now.items.columns))
