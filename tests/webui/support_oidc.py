# SPDX-License-Identifier: GPL-3.0-or-later
"""A small OpenID Connect provider over HTTP on loopback: discovery, authorization (nobody is asked, ``person`` is signed in), token
endpoint with PKCE and the client's secret, keys, and userinfo. It signs with joserfc; ``bend`` makes it lie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "crosshost", "client-secret-marker-91c2"


class Provider:
    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, parameters={"kid": "1", "use": "sig", "alg": "RS256"})
        self.person: dict[str, Any] = {
            "sub": "u1",
            "preferred_username": "oda",
            "name": "Oda N.",
            "groups": ["net"],
        }
        self.in_userinfo: dict[str, Any] = {}
        self.bend: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.sign: Callable[[dict[str, Any]], str] = self.rightly
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.called_itself = self.issuer
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.called_itself, "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo", "response_types_supported": ["code"],
        }  # fmt: skip

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes back to."""
        assert query["response_type"] == "code" and query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256" and "openid" in query["scope"].split()
        code = secrets.token_urlsafe(12)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        wanted = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        query = self.codes.pop(form.get("code", ""), None)
        if authorization != wanted:
            return 401, {"error": "invalid_client"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            query is None
            or challenge != query["code_challenge"]
            or form["redirect_uri"] != query["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        at = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "iat": at, "exp": at + 300, "nonce": query["nonce"], **self.person,
        }  # fmt: skip
        token = self.sign(self.bend(claims))
        return 200, {
            "access_token": "access-token-marker-3b7d",
            "token_type": "Bearer",
            "expires_in": 60,
            "id_token": token,
        }

    def rightly(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key, algorithms=["RS256"])

    def keys(self) -> dict[str, Any]:
        return dict(KeySet([self.key]).as_dict(private=False))


def by_another(key: RSAKey) -> Callable[[dict[str, Any]], str]:
    return lambda claims: jwt.encode({"alg": "RS256", "kid": "1"}, claims, key, algorithms=["RS256"])


def by_secret(secret: bytes) -> Callable[[dict[str, Any]], str]:
    """Written out: a library refuses to sign with a public key as the secret."""

    def sign(claims: dict[str, Any]) -> str:
        text = f"{_b64({'alg': 'HS256', 'kid': '1'})}.{_b64(claims)}"
        return f"{text}.{_b64(hmac.digest(secret, text.encode(), 'sha256'))}"

    return sign


def unsigned(claims: dict[str, Any]) -> str:
    return f"{_b64({'alg': 'none', 'kid': '1'})}.{_b64(claims)}."


def _b64(value: dict[str, Any] | bytes) -> str:
    whole = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            provider.asked.append(url.path)
            if url.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(_flat(url.query)))
                self.end_headers()
            elif url.path == "/.well-known/openid-configuration":
                self._json(200, provider.discovery())
            elif url.path == "/keys":
                self._json(200, provider.keys())
            elif (
                url.path == "/userinfo" and self.headers["Authorization"] == "Bearer access-token-marker-3b7d"
            ):
                self._json(200, {"sub": provider.person["sub"], **provider.in_userinfo})
            else:
                self._json(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._json(*provider.token(_flat(body), self.headers.get("Authorization", "")))

        def _json(self, status: int, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
