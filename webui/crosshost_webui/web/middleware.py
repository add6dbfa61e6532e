# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every request, as plain ASGI: an id, the caller's address, headers, the largest body, and the origin check."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..operations.logs import request_id as log_request_id
from .access import Role
from .pages import error_page
from .problem import Forbidden, Problem, SignInNeeded, TooLarge

BODY_MOST = 32 * 2**20  # bytes; an inventory of 1,000 hosts and 10,000 endpoints has about 3 MB
STRANGERS_MOST = 64 * 2**10  # bytes; who is not signed in has a name and a password to send
SAFE = ("GET", "HEAD", "OPTIONS")
# No script or style in a page, no eval: htmx runs with allowEval and includeIndicatorStyles off. Pictures are ours, or data in
# a style sheet of ours. Forms go to us; signing in at a provider is a link for this reason.
CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")
log = logging.getLogger("crosshost_webui.access")


class Envelope:
    """Gives each request its id and address, and each answer its headers and a line in the log."""

    def __init__(self, app: ASGIApp, trusted_proxies: Sequence[str] = ()) -> None:
        self.app = app
        self.trusted = [ipaddress.ip_network(one, strict=False) for one in trusted_proxies]

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

        token = log_request_id.set(request_id)
        try:
            await self.app(scope, receive, with_headers)
        finally:
            log_request_id.reset(token)
            log.info(
                "%s %s %d", scope["method"], scope["path"], status,
                extra={"request_id": request_id, "address": address, "ms": round((time.perf_counter() - began) * 1000, 1)},
            )  # fmt: skip

    def _address(self, scope: Scope, headers: Headers) -> str:
        """The peer's; behind trusted proxies the rightmost one that is not theirs. What stands left of that is the client's own
        word, and what is no address is nobody's: then it is the proxy's."""
        peer = scope["client"][0] if scope.get("client") else ""
        told = [one for line in headers.getlist("x-forwarded-for") for one in line.split(",")]
        found = peer
        for value in reversed([*told, peer]):
            address = _ip(value)
            if address is None:
                return found
            found = str(address)
            if not any(address in network for network in self.trusted):
                return found
        return found


def _ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Also one with a port; an IPv4 address that is written as IPv6 is the IPv4 address."""
    text = value.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


class SameOrigin:
    """Refuses what another site makes a browser send. Browsers say where a request comes from, by Sec-Fetch-Site or Origin; who
    says neither is no browser. A bearer token is sent by no browser on its own. (As net/http's CrossOriginProtection of Go 1.25,
    after https://words.filippo.io/csrf/.)"""

    def __init__(self, app: ASGIApp, base_url: str = "") -> None:
        self.app = app
        self.host = urlsplit(base_url).netloc.lower()

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
        if origin is None:
            return True
        ours = {headers.get("host", "").lower(), self.host} - {""}
        try:
            return urlsplit(origin).netloc.lower() in ours
        except ValueError:
            return False


def is_somebody(request: Request) -> bool:
    """Whether the request comes from an account. It reads the database."""
    try:
        return bool(request.app.state.crosshost.authenticate(request).role > Role.NOBODY)
    except SignInNeeded:
        return False


class SmallBody:
    """Refuses a body that is too large, also one that does not say its length, before it fills the memory: of a stranger what is
    more than a sign-in needs, for routes know who asks only after the body was read."""

    def __init__(
        self, app: ASGIApp, most: int = BODY_MOST, is_known: Callable[[Request], bool] = is_somebody
    ) -> None:
        self.app = app
        self.most = most
        self.is_known = is_known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "0")
        size = int(told) if told.isascii() and told.isdigit() else self.most + 1
        error = await self._refusal(size, scope)
        if error is not None:
            await answer(error, scope, receive, send)
            return
        checked = max(size, STRANGERS_MOST)  # what was said beforehand is allowed already
        await self._counted(checked, scope, receive, send)

    async def _counted(self, allowed: int, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0
        refused: Problem | None = None
        begun = False

        async def counted() -> Message:
            nonlocal seen, allowed, refused
            if refused is not None:
                raise refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > allowed:
                refused = await self._refusal(seen, scope)
                if refused is not None:
                    raise refused
                allowed = self.most
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            if refused is None or begun:
                begun = True
                await send(message)

        try:
            await self.app(scope, counted, watched)
        except Exception:
            if refused is None or begun:
                raise
        if refused is not None and not begun:  # whatever the route has made of a body that ended in an error
            await answer(refused, scope, receive, send)

    async def _refusal(self, size: int, scope: Scope) -> Problem | None:
        if size > self.most:
            return TooLarge(f"body: more than {self.most} bytes; send less at once")
        if size > STRANGERS_MOST and not await run_in_threadpool(self.is_known, Request(scope)):
            return SignInNeeded(
                f"body: more than {STRANGERS_MOST} bytes are taken from accounts only: sign in, or send a valid API token",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None


async def answer(error: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a problem from outside of the routes."""
    request_id = str(scope.get("state", {}).get("request_id", ""))
    response: Response
    if scope["path"].startswith("/api/"):
        response = JSONResponse(
            error.body(request_id), error.status, headers=error.headers, media_type="application/problem+json"
        )
    else:
        response = error_page(Request(scope), error, request_id)
    await response(scope, receive, send)
