"""Addresses that answer lists: recommendations, similar items, searches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, UploadFile
from starlette.responses import Response

from mmx.serve.answers import Json, ListOut, fail
from mmx.serve.asked import USUAL, Filters, K, Modality, RunName, Visitor, Words, service_of
from mmx.serve.filters import parsed
from mmx.serve.ranking import Wanted
from mmx.serve.uploads import checked_picture

router = APIRouter(tags=["lists"])


@router.get("/recommend/{user:path}", response_model=ListOut)
async def recommend(
    request: Request,
    user: str,
    k: K = USUAL,
    filters: Filters = None,
    explain: bool = False,
    diversity: Annotated[float, Query(ge=0, le=1)] = 0.0,
    run: RunName = None,
) -> Response:
    """The best items of a user; what the user took is left out."""
    wanted = Wanted(k, tuple(parsed(filters)), explain, diversity, None, run)
    return Json((await service_of(request).recommend(user, wanted)).json())


@router.post("/recommend", response_model=ListOut)
async def recommend_for(request: Request, visitor: Visitor) -> Response:
    """The best items of a visitor who took some items; of one who took none, popular ones."""
    per = None if visitor.per is None else (visitor.per.column, visitor.per.most)
    wanted = Wanted(visitor.k, tuple(visitor.filters), visitor.explain, visitor.diversity, per,
                    visitor.run)  # fmt: skip
    return Json((await service_of(request).recommend_for(visitor.items, wanted)).json())


@router.get("/similar/{item:path}", response_model=ListOut)
async def similar(
    request: Request, item: str, k: K = USUAL, modality: Modality = None, filters: Filters = None
) -> Response:
    """The items whose vectors are nearest to an item's."""
    return Json((await service_of(request).similar(item, k, modality, parsed(filters))).json())


@router.get("/search", response_model=ListOut)
async def search(
    request: Request, q: Words, k: K = USUAL, modality: Modality = None, filters: Filters = None
) -> Response:
    """The items nearest to words."""
    found = await service_of(request).search_words(q, k, modality, parsed(filters))
    return Json(found.json())


@router.post("/search", response_model=ListOut)
async def search_picture(
    request: Request,
    picture: UploadFile,
    k: K = USUAL,
    modality: Modality = None,
    filters: Filters = None,
) -> Response:
    """The items nearest to a picture: JPEG, PNG or WebP."""
    data = await picture.read()
    if not data:
        raise fail(422, "the picture is empty")
    checked_picture(data)
    found = await service_of(request).search_picture(data, k, modality, parsed(filters))
    return Json(found.json())
