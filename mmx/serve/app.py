"""The application: all addresses, their errors, and the doors before them."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from mmx import __version__
from mmx.serve import routes_lists, routes_page, routes_state, routes_tables
from mmx.serve.answers import OURS, Error, Json, answered
from mmx.serve.doors import Doors
from mmx.serve.metrics import Metrics
from mmx.serve.service import Service
from mmx.serve.shortcuts import Shortcuts

ERRORS = {
    400: "malformed", 401: "the token is missing or wrong", 403: "another Host or Origin",
    404: "unknown id", 408: "the body does not arrive", 409: "what is needed is not served",
    413: "too large", 415: "not a picture", 422: "malformed", 503: "busy",
}  # fmt: skip


def make_app(service: Service, log: Callable[[str], None]) -> ASGIApp:
    """The application, closed doors included."""
    errors = {status: {"model": Error, "description": what} for status, what in ERRORS.items()}
    metrics = Metrics(service)
    app = FastAPI(
        title="mmx", version=__version__, docs_url=None, redoc_url=None,  # these load from a CDN
        responses=errors,  # type: ignore[arg-type]
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )  # fmt: skip
    app.state.service, app.state.metrics = service, metrics
    app.state.page = routes_page.page_files()
    app.include_router(routes_lists.router)
    app.include_router(routes_tables.router)
    app.include_router(routes_state.router)
    app.include_router(routes_page.router)
    for kind in (*OURS, Exception):
        app.add_exception_handler(kind, _answered)
    app.add_exception_handler(AnyHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    if service.options.mcp:
        from mmx.serve.tools import add_tools

        add_tools(app, service)
    return Doors(Shortcuts(app, service), service.options, log, metrics.count)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, (HTTPException, AnyHTTPException))
    return Json({"detail": str(error.detail)}, error.status_code, headers=error.headers)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:] if not isinstance(part, int))
    return Json({"detail": f"{where or 'body'}: {first['msg']}"[:500]}, 422)


async def _answered(request: Request, error: Exception) -> Response:
    """An error of ours; what is unexpected is logged at the doors."""
    return answered(error)
