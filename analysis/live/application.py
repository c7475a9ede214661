"""The page as a web application: a handful of fixed addresses, and one that goes on telling what is on the board.

It is for the browsers of this machine. A page from elsewhere that makes a browser ask here under a name of its own
(DNS rebinding) is refused by that name, and nothing may be read by other pages or ask anything of other servers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analysis.live.board import Board

HERE = Path(__file__).parent
FILES = {
    "/": (HERE / "page.html", "text/html"),
    "/page.js": (HERE / "page.js", "text/javascript"),
    "/page.css": (HERE / "page.css", "text/css"),
    "/look.css": (HERE.parent / "page" / "style.css", "text/css"),
    "/world.json": (HERE / "world.json", "application/json"),
}
OURS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
LOOKED_EVERY_S = 0.25
QUIET_S = 10.0  # after which something is said even if nothing changed, so that who has gone is noticed
RETRY_MS = 1000  # who lost the connection tries again after so long
NOTHING_ELSE = "; ".join(
    ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src data:"]
    + ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
)
HEADERS = {
    "Content-Security-Policy": NOTHING_ELSE,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(board: Board) -> ASGIApp:
    """The page about this board."""

    async def events(request: Request) -> Response:
        return StreamingResponse(told(board), media_type="text/event-stream")

    routes = [Route(path, _file(*about)) for path, about in FILES.items()]
    app = Starlette(routes=[*routes, Route("/events", events)], exception_handlers={HTTPException: _refused})
    app.router.redirect_slashes = False
    return _Guarded(app)


async def told(board: Board) -> AsyncIterator[str]:
    """What is on the board, and then each change of it, as server-sent events, until there is nothing more to tell."""
    yield f"retry: {RETRY_MS}\n\n"
    before: dict[str, str] = {}
    quiet_s, over = 0.0, False
    while not over:
        over, parts = board.listed.over, board.parts()  # in this order, so that the last words are the last
        for name, text in parts.items():
            if before.get(name) is not text:
                quiet_s = 0.0
                yield f"event: {name}\ndata: {text}\n\n"
        before = parts
        if quiet_s >= QUIET_S:
            quiet_s = 0.0
            yield ": nothing has changed\n\n"
        if not over:
            await asyncio.sleep(LOOKED_EVERY_S)
            quiet_s += LOOKED_EVERY_S


def _file(path: Path, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = path.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    sentence = "there is nothing at this address; the page is at /" if error.status_code == 404 else error.detail
    return PlainTextResponse(f"{sentence}\n", error.status_code)


class _Guarded:
    """Refuses what is not a GET for this very machine, and says with every answer what a browser may do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._chosen(scope)(scope, receive, answer)

    def _chosen(self, scope: Scope) -> ASGIApp:
        if not _is_for_here(Headers(scope=scope).getlist("host")):
            return PlainTextResponse("this page is for browsers of the machine that it is on\n", 403)
        if scope["method"] != "GET":
            return PlainTextResponse("this page can only be looked at\n", 405, {"Allow": "GET"})
        return self._app


def _is_for_here(hosts: list[str]) -> bool:
    """Whether this machine was asked for by a name of its own; the port may be another one, at the end of a tunnel."""
    return len(hosts) == 1 and OURS.fullmatch(hosts[0]) is not None
