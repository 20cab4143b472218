"""A shorter way to the lists that are requested most: of a user or an item, with ``k`` at most.

FastAPI takes as long to read such a request as the search takes. What is requested in any other
way goes to FastAPI: other parameters, a ``k`` out of bounds, other methods and addresses. So
OpenAPI, what parameters mean and their errors are FastAPI's alone.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from mmx.serve.answers import OURS, Json, answered
from mmx.serve.asked import USUAL
from mmx.serve.listing import Listing
from mmx.serve.ranking import Wanted
from mmx.serve.routes_lists import router
from mmx.serve.service import MOST, Service

PATH = re.compile(r"(/recommend/|/similar/)(.*)")  # `.` is no line break, as in FastAPI's routes
QUERY = re.compile(rb"(?:k=([1-9][0-9]{0,2}))?")
ROUTES = {one.path.partition("{")[0]: one for one in router.routes
          if isinstance(one, APIRoute) and one.methods == {"GET"}}  # fmt: skip


class Shortcuts:
    """ASGI, between the doors and FastAPI."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._ways: dict[str, Callable[[str, int], Awaitable[Listing]]] = {
            "/recommend/": lambda user, k: service.recommend(user, Wanted(k)),
            "/similar/": lambda item, k: service.similar(item, k, None, []),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is simple; everything else FastAPI does."""
        found = _simple(scope)
        if found is None:
            return await self._app(scope, receive, send)
        way, what, k = found
        scope["route"] = ROUTES[way]  # for the metrics
        try:
            response = Json((await self._ways[way](what, k)).json())
        except OURS as error:
            response = answered(error)
        await response(scope, receive, send)


def _simple(scope: Scope) -> tuple[str, str, int] | None:
    """The address up to the id, the id, and k; None for what FastAPI reads."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    path, query = PATH.fullmatch(scope["path"]), QUERY.fullmatch(scope["query_string"])
    if path is None or query is None:
        return None
    k = int(query[1] or USUAL)
    return (path[1], path[2], k) if k <= MOST else None
