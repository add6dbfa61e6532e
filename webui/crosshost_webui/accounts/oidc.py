# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign-in at an OpenID Connect provider: the authorization code flow with PKCE. What must come back unchanged (state, nonce, the
verifier) waits in a cookie of ten minutes that is encrypted: no row for everybody who only opens the page."""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..settings import Settings
from ..web.problem import Forbidden, NotFound, Unavailable
from .keys import Keys
from .sessions import is_https

CALLBACK = "/sign-in/oidc/callback"
SCOPE = "openid profile email groups"
WAITING = 600  # seconds from the click to the way back
TIMEOUT = 5  # seconds for an answer of the provider
KNOWN_FOR = 600  # seconds that the provider's description is kept
SILENT_FOR = 10  # seconds in which a provider that did not answer is not asked again
LEEWAY = 60  # seconds that the clocks may differ
# Signatures by a public key. With HS256 whoever knows the client's secret could sign, and `none` signs nothing.
ALGORITHMS = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split()  # noqa: SIM905 - shorter so


class Identity(NamedTuple):
    """Whom the provider has signed in. ``subject``: issuer and id, which never change; the name may."""

    subject: str
    name: str
    display_name: str
    groups: frozenset[str]


class Waiting(NamedTuple):
    """What a browser holds in its cookie while it is at the provider."""

    state: str
    nonce: str
    verifier: str
    after: str
    until: float


class Provider:
    """The provider that the settings name. Its answers are checked; that it cannot be reached is Unavailable, and what does not
    fit is Forbidden, each with a line for the log and the page."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.issuer = settings.oidc_issuer.rstrip("/")
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._known_until = 0.0
        self._silent_until = 0.0

    @property
    def redirect_uri(self) -> str:
        """Out of the settings, not of the request's Host, which is the caller's own word."""
        base = self.settings.base_url.rstrip("/") or f"http://{self.settings.host}:{self.settings.port}"
        return base + CALLBACK

    def begin(self, after: str) -> tuple[str, Waiting]:
        """The address at the provider to send the browser to, and what its cookie holds. ``after``: the page to come back to."""
        waiting = Waiting(
            secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), after, time.time() + WAITING
        )  # fmt: skip
        endpoint = self._endpoint("authorization_endpoint")
        with self._client() as client:
            url, _ = client.create_authorization_url(
                endpoint, state=waiting.state, nonce=waiting.nonce, code_verifier=waiting.verifier
            )
        return str(url), waiting

    def finish(self, answer: Mapping[str, str], waiting: Waiting | None) -> Identity:
        """Whom the provider has signed in, out of the parameters that it sent the browser back with."""
        if waiting is None or not hmac.compare_digest(
            answer.get("state", "").encode(), waiting.state.encode()
        ):
            raise Forbidden(
                "the sign-in was not begun in this browser, or more than ten minutes ago; begin again under Sign in"
            )
        if "error" in answer:
            told = " ".join((answer["error"], answer.get("error_description", ""))).strip()
            raise Forbidden(f"the sign-in provider refused: {_line(told)}")
        claims = self._claims(answer.get("code", ""), waiting)
        subject = f"{self.issuer} {claims['sub']}"
        if len(subject) > 400:
            raise Forbidden("the sign-in provider gave an id of more than 255 characters")
        name = claims.get("preferred_username") or claims.get("email") or claims["sub"]
        groups = claims.get(self.settings.oidc_groups_claim)
        listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return Identity(subject, str(name), str(claims.get("name") or ""), frozenset(map(str, listed)))

    def _claims(self, code: str, waiting: Waiting) -> dict[str, Any]:
        import httpx
        from authlib.common.errors import AuthlibBaseError
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            with self._client() as client:
                answer = client.fetch_token(
                    self._endpoint("token_endpoint"), code=code, code_verifier=waiting.verifier
                )
            found = self._get(self._endpoint("jwks_uri"))
            keys = KeySet.import_key_set({"keys": found["keys"]})
            token = jwt.decode(str(answer.get("id_token", "")), keys, algorithms=ALGORITHMS)
            access_token = str(answer.get("access_token", ""))
            wanted = {
                "iss": {"essential": True, "value": self._known["issuer"]},
                "aud": {"essential": True, "value": self.settings.oidc_client_id},
            }
            given = {
                "nonce": waiting.nonce, "client_id": self.settings.oidc_client_id, "access_token": access_token,
            }  # fmt: skip
            claims = CodeIDToken(token.claims, token.header, options=wanted, params=given)
            claims.validate(leeway=LEEWAY)
            return self._with_groups(dict(claims), access_token)
        except httpx.HTTPError as error:
            raise self._silent(error) from None
        except (AuthlibBaseError, JoseError, ValueError, TypeError, KeyError) as error:
            raise Forbidden(
                f"the sign-in provider's answer is not valid ({type(error).__name__}: {_line(error)}); begin again, and if "
                "it stays so, ask an administrator"
            ) from None

    def _with_groups(self, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """Some providers tell the groups only at their userinfo endpoint."""
        if self.settings.oidc_groups_claim in claims or "userinfo_endpoint" not in self._description():
            return claims
        told = self._get(self._endpoint("userinfo_endpoint"), access_token)
        if told.get("sub") != claims["sub"]:
            raise ValueError("userinfo is about somebody else")
        return {**told, **claims}

    def _endpoint(self, name: str) -> str:
        url = str(self._description().get(name, ""))
        _demand_https(url, f"{name} of the sign-in provider")
        return url

    def _description(self) -> dict[str, Any]:
        """What the provider says of itself; asked for again when it is older than ten minutes. One asks, the others wait for the
        answer; and when there is none, nobody asks for a while, so that a provider that is away does not hold all threads."""
        if time.monotonic() < self._known_until:
            return self._known
        _demand_https(self.issuer, "the setting oidc_issuer")
        if not self._lock.acquire(timeout=TIMEOUT):
            raise self._silent("many wait for it")
        try:
            if time.monotonic() < self._silent_until:
                raise self._silent("it did not a moment ago")
            if time.monotonic() >= self._known_until:
                self._known, self._known_until = self._asked(), time.monotonic() + KNOWN_FOR
        except Unavailable:
            if time.monotonic() >= self._silent_until:
                self._silent_until = time.monotonic() + SILENT_FOR
            raise
        finally:
            self._lock.release()
        return self._known

    def _asked(self) -> dict[str, Any]:
        import httpx

        try:
            found = self._get(f"{self.issuer}/.well-known/openid-configuration")
        except (httpx.HTTPError, ValueError) as error:
            raise self._silent(error) from None
        if str(found.get("issuer", "")).rstrip("/") != self.issuer:
            raise Unavailable(
                f"the sign-in provider calls itself {_line(found.get('issuer'))}; write this in the setting oidc_issuer"
            )
        return found

    def _get(self, url: str, token: str = "") -> dict[str, Any]:
        import httpx

        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        response = httpx.get(url, headers=headers, timeout=TIMEOUT)
        response.raise_for_status()
        found = response.json()
        if not isinstance(found, dict):
            raise ValueError(f"{url} does not give an object")
        return found

    def _client(self) -> Any:
        from authlib.integrations.httpx_client import OAuth2Client

        return OAuth2Client(
            self.settings.oidc_client_id, self.settings.oidc_client_secret.get_secret_value() or None, scope=SCOPE,
            redirect_uri=self.redirect_uri, code_challenge_method="S256", timeout=TIMEOUT,
        )  # fmt: skip

    def _silent(self, why: Exception | str) -> Unavailable:
        told = why if isinstance(why, str) else f"{type(why).__name__}: {_line(why)}"
        return Unavailable(
            f"the sign-in provider does not answer as it should ({told}); try again in a minute, or sign in with a local account",
            headers={"Retry-After": str(SILENT_FOR)},
        )


@lru_cache(maxsize=4)
def provider(settings: Settings) -> Provider:
    """NotFound if the settings name none."""
    if not settings.oidc_issuer:
        raise NotFound(
            "there is no sign-in provider: the setting oidc_issuer is empty; sign in with a local account"
        )
    return Provider(settings)


def cookie_name(settings: Settings) -> str:
    return "__Host-xh-oidc" if is_https(settings) else "xh-oidc"


def packed(keys: Keys, waiting: Waiting) -> str:
    """The cookie's value: encrypted, so that neither a reader of the browser's files nor a proxy's log has the verifier."""
    nonce = os.urandom(12)
    sealed = AESGCM(keys.derived("oidc")).encrypt(nonce, json.dumps(waiting).encode(), b"oidc")
    return base64.urlsafe_b64encode(nonce + sealed).decode()


def unpacked(keys: Keys, value: str) -> Waiting | None:
    """None if it is none of ours, or too old."""
    try:
        whole = base64.urlsafe_b64decode(value)
        found = Waiting(*json.loads(AESGCM(keys.derived("oidc")).decrypt(whole[:12], whole[12:], b"oidc")))
    except (ValueError, TypeError, InvalidTag):
        return None
    return found if time.time() < found.until else None


def role_of(settings: Settings, groups: frozenset[str]) -> str | None:
    """The highest role that the groups give; None: none."""
    for role, members in (
        ("admin", settings.oidc_admins), ("operator", settings.oidc_operators), ("viewer", settings.oidc_viewers),
    ):  # fmt: skip
        if groups & set(members):
            return role
    return "viewer" if "*" in settings.oidc_viewers else None


def _demand_https(url: str, what: str) -> None:
    """Plain http only to this machine: for tests, and a provider beside the server."""
    found = urlsplit(url)
    if found.scheme == "https" and found.hostname:
        return
    if found.scheme == "http" and found.hostname in ("127.0.0.1", "localhost", "::1"):
        return
    raise Unavailable(f"{what}: {_line(url)} is not an https address; an administrator has to correct it")


def _line(value: object) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in str(value)).split())[:200]
