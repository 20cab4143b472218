"""Addresses that answer how things are: the map and health of the store, runs, the server."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from mmx import __version__
from mmx.serve.answers import HealthOut, Json, MapOut, RunOut
from mmx.serve.asked import Modality, service_of
from mmx.serve.snapshot import MAPPED, NO_STORE, NoStoreError, Snapshot

router = APIRouter(tags=["state"])


@router.get("/map", response_model=MapOut)
async def map_(
    request: Request,
    column: Annotated[str | None, Query(description="Column whose values are listed.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAPPED)] = MAPPED,
    modality: Modality = None,
) -> Response:
    """Items of the store in two dimensions, near where their vectors are; of many a sample."""
    service = service_of(request)
    return Json(await service.look(_map, service.snapshot, column, limit, modality))


def _map(now: Snapshot, column: str | None, limit: int, modality: str | None) -> dict[str, Any]:
    chosen = now.searcher(modality).modality
    ids, points, total = now.once(("map", chosen), lambda: now.map(chosen))
    ids = ids[:limit]
    places = [[round(x, 4), round(y, 4), n] for n, (x, y) in enumerate(points[:limit].tolist())]
    values = None if column is None else now.items.values(column, ids)
    return {"points": places, "items": ids, "pictures": now.items.pictured(ids), "values": values,
            "shown": len(ids), "total": total}  # fmt: skip


@router.get("/store")
async def store(request: Request) -> Response:
    """What became of the rows of the store: encoded, missing, failed and why."""
    now = service_of(request).snapshot
    if not now.stores:
        raise NoStoreError(NO_STORE)
    first = now.stores[0]
    return Json({"store": first.name, "encoder": first.store.card.name, **first.health.as_dict()})


@router.get("/runs", response_model=list[RunOut])
async def runs(request: Request) -> Response:
    """The runs that are served."""
    return Json([run.described() for run in service_of(request).snapshot.runs.values()])


@router.get("/health", response_model=HealthOut)
async def health(request: Request) -> Response:
    """What is served, and how old it is."""
    service = service_of(request)
    now = service.snapshot
    age = datetime.datetime.now(datetime.UTC) - now.first.made
    return Json({
        "status": "ok" if service.problem is None else "stale",
        "run": now.first.name,
        "run_made": now.first.made.isoformat(timespec="seconds"),
        "run_age_seconds": round(max(age.total_seconds(), 0), 1),
        "store": now.stores[0].name if now.stores else None,
        "items": len(now.items),
        "users": len(now.first.users),
        "version": __version__,
        "swaps": service.swaps,
        "problem": service.problem,
    })  # fmt: skip


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
