# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign-in at a provider: the whole way with a provider that speaks HTTP, and each of its lies refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from crosshost_webui import server
from crosshost_webui.accounts import maintenance, oidc, service, users
from crosshost_webui.accounts.models import SignIn, User
from crosshost_webui.app import create_app
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.audit.store import Actor
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from joserfc.jwk import RSAKey
from sqlalchemy import func, select
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_user
from tests.webui.support_oidc import CLIENT, SECRET, Provider, by_another, by_secret, unsigned

Claims = dict[str, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    found = Provider()
    yield found
    found.stop()


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.person = {"sub": "u1", "preferred_username": "oda", "name": "Oda N.", "groups": ["net", "x"]}
    running.in_userinfo, running.bend, running.sign = {}, lambda claims: claims, running.rightly
    running.called_itself = running.issuer
    oidc.provider.cache_clear()
    return running


@pytest.fixture
def oidc_state(settings: Settings, provider: Provider) -> Iterator[State]:
    given = {
        "oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET,
        "oidc_admins": ("root",), "oidc_operators": ("net", "ops"), "oidc_viewers": ("look",), "base_url": "http://testserver",
    }  # fmt: skip
    found = server.make_state(Settings(data_dir=settings.data_dir, executors=0, **given))
    yield found
    found.close()


@pytest.fixture
def browser(oidc_state: State) -> Iterator[TestClient]:
    with TestClient(create_app(oidc_state), base_url="http://testserver", follow_redirects=False) as found:
        yield found


def to_provider(browser: TestClient, after: str = "/hosts") -> str:
    """The address at the provider that the browser is sent to."""
    answer = browser.get("/sign-in/oidc", params={"next": after})
    assert answer.status_code == 303
    return answer.headers["location"]


def back(where: str) -> str:
    """What the provider sends the browser back to."""
    answer = httpx.get(where)
    assert answer.status_code == 302
    return str(answer.headers["location"])


def go(browser: TestClient, after: str = "/hosts") -> Any:
    return browser.get(back(to_provider(browser, after)))


def count(state: State, table: type) -> int:
    with state.db.read() as s:
        return s.scalar(select(func.count()).select_from(table)) or 0


def test_the_whole_way(browser: TestClient, oidc_state: State, provider: Provider) -> None:
    where = to_provider(browser)
    query = parse_qs(urlsplit(where).query)
    assert where.startswith(f"{provider.issuer}/authorize?")
    assert query["code_challenge_method"] == ["S256"] and query["redirect_uri"] == [
        f"http://testserver{oidc.CALLBACK}"
    ]
    assert len(query["state"][0]) >= 30 and len(query["nonce"][0]) >= 30 and "code_verifier" not in query
    answer = browser.get(back(where))
    assert answer.status_code == 303 and answer.headers["location"] == "/hosts"
    assert "xh-oidc" not in browser.cookies and browser.cookies["xh"]
    assert browser.get("/api/v1/me").json() == {
        "name": "oda",
        "role": "operator",
        "through": "",
        "scopes": None,
    }
    with oidc_state.db.read() as s:
        user = s.scalars(select(User).where(User.source == "oidc")).one()
        assert (user.subject, user.display_name, user.password) == (f"{provider.issuer} u1", "Oda N.", None)
        actions = s.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions[-2:] == ["create", "sign in"]


def test_the_cookie_of_the_way_tells_nothing_and_ends(browser: TestClient, oidc_state: State) -> None:
    answer = browser.get("/sign-in/oidc")
    morsel = SimpleCookie(answer.headers["set-cookie"])["xh-oidc"]
    assert morsel["httponly"] and morsel["samesite"] == "lax" and int(morsel["max-age"]) <= 600
    state = parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]
    assert state not in morsel.value
    found = oidc.unpacked(oidc_state.keys, morsel.value)
    assert found is not None and found.state == state and found.until > time.time()
    old = found._replace(until=time.time() - 1)
    assert oidc.unpacked(oidc_state.keys, oidc.packed(oidc_state.keys, old)) is None
    for wrong in ("", "x", morsel.value[:-4], "A" * 200, "\u00e9"):
        assert oidc.unpacked(oidc_state.keys, wrong) is None
    https = oidc_state.settings.model_copy(update={"base_url": "https://net.example"})
    assert oidc.cookie_name(https).startswith("__Host-")


def test_the_account_is_found_by_its_id_and_not_by_a_name(
    browser: TestClient, oidc_state: State, provider: Provider
) -> None:
    make_user(oidc_state, "oda", "admin")  # a local account of the same name
    go(browser)
    assert browser.get("/api/v1/me").json()["name"] == "oda.2"
    provider.person["preferred_username"] = "renamed"
    go(browser)
    assert browser.get("/api/v1/me").json()["name"] == "oda.2"
    provider.person.update(sub="u2", preferred_username="<Ödä> \n x")
    go(browser)
    assert browser.get("/api/v1/me").json()["name"] == "d-----x"
    assert count(oidc_state, User) == 3


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["root", "look"], "admin"), (["ops"], "operator"), (["look"], "viewer"), ("look", "viewer"), ([], None),
        (None, None), (["ROOT"], None), ({"root": 1}, None), (7, None), (["other"], None),
    ],
)  # fmt: skip
def test_groups_give_the_role(
    browser: TestClient, oidc_state: State, provider: Provider, groups: Any, role: str | None
) -> None:
    provider.person["groups"] = groups
    answer = go(browser)
    if role is None:
        assert answer.status_code == 403 and "groups" in answer.text
        assert count(oidc_state, User) == count(oidc_state, SignIn) == 0
    else:
        assert browser.get("/api/v1/me").json()["role"] == role


def test_everybody_may_look_if_the_settings_say_so(oidc_state: State) -> None:
    settings = oidc_state.settings.model_copy(update={"oidc_viewers": ("*",)})
    assert oidc.role_of(settings, frozenset()) == "viewer"
    assert oidc.role_of(settings, frozenset({"root"})) == "admin"
    assert oidc.role_of(oidc_state.settings, frozenset({"*"})) is None


def test_another_role_ends_the_other_sessions(browser: TestClient, provider: Provider) -> None:
    go(browser)
    first = browser.cookies["xh"]
    browser.cookies.clear()
    provider.person["groups"] = ["look"]
    go(browser)
    assert browser.get("/api/v1/me").json()["role"] == "viewer"
    browser.cookies.clear()
    assert browser.get("/api/v1/me", headers={"Cookie": f"xh={first}"}).status_code == 401
    provider.person["groups"] = ["none"]
    assert go(browser).status_code == 403


def test_a_disabled_account_stays_out(browser: TestClient, oidc_state: State) -> None:
    go(browser)
    with oidc_state.db.write() as s:
        user = s.scalars(select(User)).one()
        users.change(s, Actor("test"), user, disabled=True)
    browser.cookies.clear()
    answer = go(browser)
    assert answer.status_code == 403 and "disabled" in answer.text and "xh" not in browser.cookies


def test_groups_of_the_userinfo_endpoint(browser: TestClient, provider: Provider) -> None:
    del provider.person["groups"]
    provider.in_userinfo = {"groups": ["root"]}
    go(browser)
    assert browser.get("/api/v1/me").json()["role"] == "admin"
    provider.in_userinfo = {"groups": ["root"], "sub": "somebody else"}
    assert go(browser).status_code == 403


def with_(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: {name: value for name, value in {**claims, **changes}.items() if value is not None}


OTHER = RSAKey.generate_key(2048, parameters={"kid": "1"})
LIES: dict[str, Callable[[Provider], None]] = {
    "nonce of another sign-in": lambda p: setattr(p, "bend", with_(nonce="x")),
    "no nonce": lambda p: setattr(p, "bend", with_(nonce=None)),
    "another issuer": lambda p: setattr(p, "bend", with_(iss="http://evil.example")),
    "no issuer": lambda p: setattr(p, "bend", with_(iss=None)),
    "for another client": lambda p: setattr(p, "bend", with_(aud="other")),
    "for another client, by us": lambda p: setattr(p, "bend", with_(aud="other", azp=CLIENT)),
    "for nobody": lambda p: setattr(p, "bend", with_(aud=None)),
    "expired": lambda p: setattr(p, "bend", with_(exp=int(time.time()) - 3600)),
    "for ever": lambda p: setattr(p, "bend", with_(exp=None)),
    "nobody": lambda p: setattr(p, "bend", with_(sub=None)),
    "a long id": lambda p: setattr(p, "bend", with_(sub="x" * 1000)),
    "another's signature": lambda p: setattr(p, "sign", by_another(OTHER)),
    "the client's secret as the key": lambda p: setattr(p, "sign", by_secret(SECRET.encode())),
    "the public key as a secret": lambda p: setattr(p, "sign", by_secret(p.key.as_pem(private=False))),
    "no signature": lambda p: setattr(p, "sign", unsigned),
    "no token": lambda p: setattr(p, "sign", lambda _: ""),
    "no text": lambda p: setattr(p, "sign", lambda _: {"a": 1}),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_lets_nobody_in(browser: TestClient, oidc_state: State, provider: Provider, lie: str) -> None:
    LIES[lie](provider)
    answer = go(browser)
    assert answer.status_code == 403, answer.text
    assert "xh" not in browser.cookies
    assert count(oidc_state, User) == count(oidc_state, SignIn) == 0
    assert browser.get("/api/v1/me").status_code == 401


def test_a_way_that_was_not_begun_here(browser: TestClient, oidc_state: State) -> None:
    where = back(to_provider(browser))
    for spoilt in (
        where.replace("state=", "state=x"),
        where.split("?")[0],
        where.split("&state")[0],
        where + "&state=y",
    ):
        assert browser.get(spoilt).status_code in (303, 403)
    browser.cookies.clear()
    assert browser.get(back(to_provider(browser)).replace("state=", "state=x")).status_code == 403
    stolen = back(to_provider(browser))
    browser.cookies.clear()  # somebody else's browser, led to the way back
    assert browser.get(stolen).status_code == 403
    assert "xh" not in browser.cookies
    assert count(oidc_state, SignIn) <= 1


def test_a_code_is_good_for_the_browser_that_began(browser: TestClient) -> None:
    """PKCE: a code that was caught is of no use with another verifier."""
    caught = parse_qs(urlsplit(back(to_provider(browser))).query)["code"][0]
    mine = urlsplit(to_provider(browser))
    state = parse_qs(mine.query)["state"][0]
    answer = browser.get(oidc.CALLBACK, params={"code": caught, "state": state})
    assert answer.status_code == 403 and "xh" not in browser.cookies


def test_the_providers_refusal_is_shown_as_text(browser: TestClient) -> None:
    state = parse_qs(urlsplit(to_provider(browser)).query)["state"][0]
    query = {
        "state": state,
        "error": "access_denied",
        "error_description": "<script>alert(1)</script>\x1b\r\nX: y",
    }
    answer = browser.get(oidc.CALLBACK, params=query)
    assert answer.status_code == 403 and "access_denied" in answer.text and "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "after", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"]
)
def test_the_way_leads_nowhere_else(browser: TestClient, after: str) -> None:
    assert go(browser, after).headers["location"] == "/"


def test_a_provider_that_calls_itself_otherwise(browser: TestClient, provider: Provider) -> None:
    provider.called_itself = "https://other.example"
    answer = browser.get("/sign-in/oidc")
    assert answer.status_code == 503 and "oidc_issuer" in answer.text


def test_a_provider_that_is_away(settings: Settings, client: TestClient) -> None:
    assert client.get("/sign-in/oidc").status_code == 404  # none is set
    away = settings.model_copy(update={"oidc_issuer": "http://127.0.0.1:9", "oidc_client_id": "x"})
    found = oidc.Provider(away)
    with pytest.raises(oidc.Unavailable, match="ConnectError"):
        found.begin("/")
    with pytest.raises(oidc.Unavailable, match="a moment ago") as told:  # it is not asked again at once
        found.begin("/")
    assert told.value.headers["Retry-After"]
    found._silent_until = 0
    with pytest.raises(oidc.Unavailable, match="ConnectError"):
        found.begin("/")
    for issuer in ("http://idp.example", "ftp://idp.example", "idp.example", "https://"):
        plain = settings.model_copy(update={"oidc_issuer": issuer})
        with pytest.raises(oidc.Unavailable, match="https"):
            oidc.Provider(plain).begin("/")


def test_the_providers_description_is_asked_for_once(browser: TestClient, provider: Provider) -> None:
    provider.asked.clear()
    for _ in range(3):
        go(browser)
    assert provider.asked.count("/.well-known/openid-configuration") == 1


def test_no_secret_of_the_way_is_logged(
    browser: TestClient, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    where = back(to_provider(browser))
    code = parse_qs(urlsplit(where).query)["code"][0]
    browser.get(where)
    LIES["expired"](provider)
    answer = go(browser)
    ours = "\n".join(
        one.getMessage() for one in caplog.records if one.name.startswith(("crosshost", "uvicorn"))
    )
    for secret in (SECRET, "access-token-marker-3b7d", code):
        assert secret not in ours and secret not in answer.text


def test_local_accounts_stay(browser: TestClient, oidc_state: State) -> None:
    made = maintenance.first_admin(oidc_state)
    assert made is not None
    assert service.sign_in(oidc_state, *made, Actor("", "", "", "192.0.2.1"))
    assert browser.get("/sign-in").status_code == 200
