# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every request, as plain ASGI: an id, the caller's address, headers, the largest body, and the origin check."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problem import Forbidden, Problem, TooLarge

BODY_MOST = 32 * 2**20  # bytes; an inventory of 1,000 hosts and 10,000 endpoints has about 3 MB
SAFE = ("GET", "HEAD", "OPTIONS")
# htmx sets style attributes on nothing with includeIndicatorStyles off; pictures are ours, or data in a stylesheet of ours
CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")
log = logging.getLogger("crosshost_webui.access")


class Envelope:
    """Gives each request its id and address, and each answer its headers and a line in the log."""

    def __init__(self, app: ASGIApp, trusted_proxies: Sequence[str] = ()) -> None:
        self.app = app
        self.trusted = [ipaddress.ip_network(one) for one in trusted_proxies]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        address = self._address(scope, headers)
        scope.setdefault("state", {}).update(request_id=request_id, address=address)
        began = time.perf_counter()
        status = 500

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                for name, value in HEADERS:
                    out.setdefault(name, value)
                out["X-Request-Id"] = request_id
                if "cache-control" not in out:
                    out["Cache-Control"] = "no-store"
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        finally:
            log.info(
                "%s %s %d", scope["method"], scope["path"], status,
                extra={"request_id": request_id, "address": address, "ms": round((time.perf_counter() - began) * 1000, 1)},
            )  # fmt: skip

    def _address(self, scope: Scope, headers: Headers) -> str:
        """The peer's; behind trusted proxies the rightmost one that is not theirs, for the rest is the client's own word."""
        address = scope["client"][0] if scope.get("client") else ""
        for value in reversed([*headers.get("x-forwarded-for", "").split(","), address]):
            found = value.strip()
            if not self._is_trusted(found):
                return found or address
        return address

    def _is_trusted(self, value: str) -> bool:
        try:
            one = ipaddress.ip_address(value)
        except ValueError:
            return False
        return any(one in network for network in self.trusted)


class SameOrigin:
    """Refuses what another site makes a browser send. Browsers say where a request comes from, by Sec-Fetch-Site or Origin; who
    says neither is no browser. A bearer token is sent by no browser on its own."""

    def __init__(self, app: ASGIApp, base_url: str = "") -> None:
        self.app = app
        self.host = urlsplit(base_url).netloc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] not in SAFE
            and not self._is_ours(Headers(scope=scope))
        ):
            error = Forbidden(
                "the request comes from another site; open the dashboard itself and try again there"
            )
            await answer(error, scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_ours(self, headers: Headers) -> bool:
        if "authorization" in headers and "cookie" not in headers:
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc in {
            headers.get("host"),
            self.host or headers.get("host"),
        }


class SmallBody:
    """Refuses a body that is too large, also one that does not say its length, before it fills the memory."""

    def __init__(self, app: ASGIApp, most: int = BODY_MOST) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "0")
        error = TooLarge(f"body: more than {self.most} bytes; send less at once")
        if not told.isdigit() or int(told) > self.most:
            await answer(error, scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise error
            return message

        await self.app(scope, counted, send)


async def answer(error: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a problem from outside of the application."""
    body = error.body(str(scope.get("state", {}).get("request_id", "")))
    response = JSONResponse(body, error.status, headers=error.headers, media_type="application/problem+json")
    await response(scope, receive, send)
