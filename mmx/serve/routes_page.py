"""The page at ``/`` and its files, which hold no data."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from mmx.serve.answers import fail

FOLDER = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
}  # fmt: skip

router = APIRouter(include_in_schema=False)


def page_files() -> dict[str, tuple[bytes, str]]:
    """Bytes and kind of each file, by its name."""
    return {
        path.name: (path.read_bytes(), KINDS[path.suffix])
        for path in sorted(FOLDER.glob("*"))
        if path.suffix in KINDS
    }


@router.get("/")
async def page(request: Request) -> Response:
    """The page."""
    return _file(request, "index.html")


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    """A file of the page."""
    return _file(request, name)


def _file(request: Request, name: str) -> Response:
    found = request.app.state.page.get(name)
    if found is None:
        raise fail(404, "Not Found")
    return Response(found[0], media_type=found[1], headers={"cache-control": "no-cache"})
