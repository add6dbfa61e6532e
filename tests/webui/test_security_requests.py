# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every request: whose site it comes from, whose address it has, how large it is, and what its headers hold."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pytest
from crosshost_webui.state import State
from crosshost_webui.web.middleware import BODY_MOST, STRANGERS_MOST, Envelope, SameOrigin, SmallBody
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from tests.webui.support_accounts import make_token, make_user, sign_in

Pairs = Sequence[tuple[str, str]]


def scope_of(
    headers: Pairs = (), method: str = "POST", path: str = "/api/v1/users", peer: str | None = "192.0.2.9"
) -> Scope:
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "http_version": "1.1",
        "scheme": "http", "server": ("net.example", 80), "client": (peer, 4711) if peer else None, "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }  # fmt: skip


class Inside:
    """The application behind the middleware: reads the whole body, and answers 200 if it may."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.body = b""
        self.called = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.called, self.scope = True, scope
        more = True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


def call(app: Any, scope: Scope, chunks: Sequence[bytes] = (b"",)) -> tuple[int, dict[str, str], bytes]:
    sent: list[Message] = []
    messages: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
            for number, chunk in enumerate(chunks)
        ]
    )

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start = next(one for one in sent if one["type"] == "http.response.start")
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    body = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
    assert [one["type"] for one in sent].count("http.response.start") == 1
    return start["status"], headers, body


# From which site


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ([], True),  # no browser
        ([("Sec-Fetch-Site", "same-origin")], True),
        ([("Sec-Fetch-Site", "none")], True),
        ([("Sec-Fetch-Site", "same-site")], False),
        ([("Sec-Fetch-Site", "cross-site")], False),
        ([("Sec-Fetch-Site", "")], False),
        ([("Sec-Fetch-Site", "same-origin, cross-site")], False),
        ([("Sec-Fetch-Site", "cross-site"), ("Origin", "http://net.example")], False),
        ([("Sec-Fetch-Site", "same-origin"), ("Origin", "http://evil.example")], True),  # browsers set it, pages cannot
        ([("Origin", "http://net.example")], True),
        ([("Origin", "http://NET.example")], True),
        ([("Origin", "https://public.example")], True),
        ([("Origin", "http://evil.example")], False),
        ([("Origin", "http://net.example.evil.example")], False),
        ([("Origin", "http://net.example:81")], False),
        ([("Origin", "http://user@net.example")], False),
        ([("Origin", "null")], False),
        ([("Origin", "")], False),
        ([("Origin", "net.example")], False),
        ([("Origin", "http://[broken")], False),
        ([("Sec-Fetch-Site", "cross-site"), ("Authorization", "Bearer x")], True),  # no browser adds that by itself
        ([("Sec-Fetch-Site", "cross-site"), ("Authorization", "Bearer x"), ("Cookie", "xh=1")], False),
        ([("Sec-Fetch-Site", "cross-site"), ("Cookie", "xh=1")], False),
    ],
)  # fmt: skip
def test_another_site_cannot_make_a_browser_change_something(headers: Pairs, passes: bool) -> None:
    inside = Inside()
    app = SameOrigin(inside, base_url="https://public.example")
    for method in ("POST", "PUT", "PATCH", "DELETE", "ODD"):
        inside.called = False
        status, _, body = call(app, scope_of([("Host", "net.example"), *headers], method))
        assert (status == 200) is passes is inside.called
        if not passes:
            assert status == 403 and "another site" in json.loads(body)["detail"]
    for method in ("GET", "HEAD"):
        assert call(app, scope_of([("Host", "net.example"), *headers], method))[0] == 200


def test_without_a_host_no_origin_is_ours() -> None:
    for origin in ("null", "", "http://evil.example"):
        assert call(SameOrigin(Inside()), scope_of([("Origin", origin)]))[0] == 403


def test_it_stands_before_the_sign_in_and_every_route(client: TestClient, admin: TestClient) -> None:
    evil = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/sign-in", data={"name": "ann", "password": "x"}, headers=evil).status_code == 403
    assert admin.post("/api/v1/users", json={"name": "eve", "role": "admin"}, headers=evil).status_code == 403
    assert admin.post("/sign-out", headers={"Origin": "http://evil.example"}).status_code == 403
    assert admin.get("/api/v1/me", headers=evil).status_code == 200


# From which address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.9", [], "192.0.2.9"),
        ("192.0.2.9", ["203.0.113.1"], "192.0.2.9"),  # the peer is no proxy of ours: it may say what it likes
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.1"], "203.0.113.1"),  # what is left of it is the client's own word
        ("10.0.0.1", ["1.1.1.1", "203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1", "10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1, 10.0.0.2 , 10.0.0.3"], "203.0.113.1"),
        ("10.0.0.1", ["10.0.0.5"], "10.0.0.5"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["<script>"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1:5000"], "203.0.113.1"),
        ("10.0.0.1", ["[2001:db8::7]:5000"], "2001:db8::7"),
        ("10.0.0.1", ["2001:DB8:0::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("fd00::1", ["203.0.113.1"], "203.0.113.1"),
        ("testclient", ["203.0.113.1"], "testclient"),
        (None, ["203.0.113.1"], ""),
    ],
)  # fmt: skip
def test_the_address_is_what_nobody_can_make_up(peer: str | None, forwarded: list[str], address: str) -> None:
    inside = Inside()
    app = Envelope(inside, trusted_proxies=("10.0.0.1/8", "fd00::/64"))
    call(app, scope_of([("X-Forwarded-For", one) for one in forwarded], peer=peer))
    assert inside.scope["state"]["address"] == address


def test_without_proxies_the_header_counts_for_nothing(client: TestClient, state: State) -> None:
    make_user(state, "ann", "admin")
    client.get("/sign-in")
    header = {**sign_in(state, "ann"), "X-Forwarded-For": "203.0.113.1", "Forwarded": "for=203.0.113.1"}
    client.post("/api/v1/users", json={"name": "bob", "role": "viewer"}, headers=header)
    (entry,) = client.get("/api/v1/audit?action=create&object_type=user", headers=header).json()["items"]
    assert entry["address"] == "testclient"


@given(st.lists(st.text(max_size=60), max_size=4), st.text(max_size=60))
def test_no_header_brings_it_down(forwarded: list[str], request_id: str) -> None:
    inside = Inside()
    app = Envelope(inside, trusted_proxies=("10.0.0.0/8",))
    scope = scope_of(peer="10.0.0.1")
    scope["headers"] = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    scope["headers"].append((b"x-request-id", request_id.encode()))
    status, headers, _ = call(app, scope)
    assert status == 200
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,40}", headers["x-request-id"])
    assert len(inside.scope["state"]["address"]) <= 45


# How large


def known(_request: Request) -> bool:
    return True


def stranger(_request: Request) -> bool:
    return False


@pytest.mark.parametrize(
    ("is_known", "length", "chunks", "status"),
    [
        (known, "10", [b"x" * 10], 200),
        (known, "200000", [b"x" * 200_000], 200),
        (known, "200001", [b"x"], 413),
        (known, None, [b"x" * 100_000, b"x" * 100_000], 200),
        (known, None, [b"x" * 100_000, b"x" * 100_001], 413),
        (known, None, [b"x" * 50_000] * 100, 413),
        (known, "-1", [b""], 413),
        (known, "1e3", [b""], 413),
        (known, "\u00b2", [b""], 413),
        (known, "1" * 50, [b""], 413),
        (stranger, str(STRANGERS_MOST), [b"x" * STRANGERS_MOST], 200),
        (stranger, str(STRANGERS_MOST + 1), [b"x"], 401),
        (stranger, None, [b"x" * STRANGERS_MOST], 200),
        (stranger, None, [b"x" * STRANGERS_MOST, b"x"], 401),
        (stranger, "200001", [b"x"], 413),
    ],
)  # fmt: skip
def test_a_body_is_refused_before_it_fills_the_memory(
    is_known: Any, length: str | None, chunks: list[bytes], status: int
) -> None:
    inside = Inside()
    app = SmallBody(inside, most=200_000, is_known=is_known)
    headers = [] if length is None else [("Content-Length", length)]
    found, _, body = call(app, scope_of(headers), chunks)
    assert found == status
    assert (body == b"fine") is (status == 200)
    assert len(inside.body) <= 200_000


def test_who_asks_is_looked_up_once_and_only_for_large_bodies() -> None:
    asked = []

    def is_known(_request: Request) -> bool:
        asked.append(1)
        return True

    app = SmallBody(Inside(), most=10 * STRANGERS_MOST, is_known=is_known)
    call(app, scope_of(), [b"x" * STRANGERS_MOST])
    assert asked == []
    call(app, scope_of(), [b"x" * STRANGERS_MOST] * 5)
    assert asked == [1]


def test_over_http_a_strangers_large_body_is_not_parsed(client: TestClient, state: State) -> None:
    make_user(state, "ann", "admin")
    large = b'"' + b"x" * STRANGERS_MOST + b'"'
    chunked = (large[at : at + 10_000] for at in range(0, len(large), 10_000))
    assert client.post("/api/v1/users", content=large).status_code == 401
    assert client.post("/api/v1/users", content=chunked).status_code == 401
    wrong = {"Cookie": "xh=guessed"}
    assert client.post("/api/v1/users", content=large, headers=wrong).status_code == 401
    for header in (sign_in(state, "ann"), make_token(state, "ann")):
        header["Content-Type"] = "application/json"
        assert client.post("/api/v1/users", content=large, headers=header).status_code == 422
        huge = (b" " * 2**20 for _ in range(BODY_MOST // 2**20 + 1))
        answer = client.post("/api/v1/users", content=huge, headers=header)
        assert answer.status_code == 413 and answer.json()["title"] == "Too much at once"


def test_a_form_that_is_too_large_is_told_as_a_page(client: TestClient) -> None:
    chunked = (b"name=" + b"x" * 50_000 for _ in range(3))
    answer = client.post(
        "/sign-in", content=chunked, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 401 and "text/html" in answer.headers["content-type"]


# Headers of answers


def test_every_answer_has_the_headers_that_guard_it(client: TestClient, admin: TestClient) -> None:
    for found in (
        client.get("/sign-in"), client.get("/"), client.get("/nowhere"), client.get("/api/v1/me"), client.get("/healthz"),
        admin.get("/api/v1/me"), admin.get("/api/v1/users/x"), client.get("/static/logo.svg"),
        admin.post("/sign-out", headers={"Origin": "http://evil.example"}), admin.get("/"),
        client.post("/api/v1/users", content=b"x" * (STRANGERS_MOST + 1)),
    ):  # fmt: skip
        rules = dict(
            one.strip().partition(" ")[::2] for one in found.headers["content-security-policy"].split(";")
        )
        assert rules["default-src"] == "'self'" and rules["object-src"] == rules["base-uri"] == "'none'"
        assert rules["frame-ancestors"] == "'none'" and rules["form-action"] == "'self'"
        assert not {"script-src", "style-src", "script-src-attr"} & rules.keys()
        assert "unsafe" not in found.headers["content-security-policy"]
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["x-frame-options"] == "DENY"
        assert found.headers["referrer-policy"] == "same-origin"
        assert found.headers["x-request-id"]
        assert found.headers["cache-control"]
        assert "server" not in found.headers


def test_what_is_for_an_account_stays_in_no_cache(admin: TestClient) -> None:
    for path in ("/", "/api/v1/me", "/tokens"):
        assert admin.get(path).headers["cache-control"] == "no-store"


HOSTILE = (
    "\x1b[31m", "a'\"<script>", "%0d%0aSet-Cookie:%20a=b", "x" * 8000, "${jndi:ldap://x}", "\u00ff\u00fe", "../../etc",
)  # fmt: skip
NAMES = (
    "Host", "Origin", "Referer", "User-Agent", "Cookie", "Authorization", "Accept", "Accept-Language", "If-Match",
    "If-None-Match", "X-Request-Id", "X-Forwarded-For", "X-Forwarded-Host", "X-HTTP-Method-Override", "Idempotency-Key",
    "Range", "HX-Request", "HX-Current-URL", "Content-Type", "Last-Event-ID",
)  # fmt: skip


def test_hostile_header_values_bring_nothing_down(admin: TestClient) -> None:
    for name, value in product(NAMES, HOSTILE):
        header = {name: value.encode("utf-8")}
        for path in ("/", "/api/v1/me", "/sign-in"):
            answer = admin.get(path, headers=header)  # type: ignore[arg-type]
            assert answer.status_code < 500, header
            assert "a=b" not in answer.headers.get("set-cookie", "")
        body = {"name": "x", "scopes": ["read"]}
        answer = admin.post("/api/v1/tokens", json=body, headers=header)  # type: ignore[arg-type]
        assert answer.status_code < 500, header


def test_a_method_is_what_it_is(admin: TestClient) -> None:
    answer = admin.get("/api/v1/users/1", headers={"X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 200
    assert admin.request("TRACE", "/api/v1/me").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/users?after=%00",
        "/hosts/%00",
        "/api/v1/audit?who=%00",
        "/sign-in?next=%00",
        "/%ff",
        "/static/%00",
    ],
)
def test_a_nul_in_an_address(admin: TestClient, path: str) -> None:
    assert admin.get(path).status_code < 500


def test_files_beside_static_are_not_served(client: TestClient) -> None:
    for path in (
        "/static/../settings.py",
        "/static/%2e%2e/settings.py",
        "/static/..%2fsettings.py",
        "/static//etc/passwd",
    ):
        answer = client.get(path)
        assert answer.status_code in (303, 404), path
        assert "SPDX" not in answer.text
