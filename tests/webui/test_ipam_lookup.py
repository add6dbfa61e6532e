# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup plugin against a server, and against things that are none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible_collections.crosshost.network.plugins.lookup.ipam import DOCUMENTATION, LookupModule
from crosshost_webui.state import State
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_token, make_user

NAME = "crosshost.network.ipam"
# As Ansible's loader does it, which would take over all imports of collections in this process.
constants.config.initialize_plugin_configuration_definitions(
    "lookup", NAME, yaml.safe_load(DOCUMENTATION)["options"]
)
LookupModule._load_name = NAME
LookupModule.ansible_name = NAME
Answer = Callable[[str, str, dict[str, str], bytes], tuple[int, bytes]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """A server of HTTP whose answers a function gives; its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, content = answer(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                if status in (302, 307):
                    self.send_header("Location", content.decode())
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = handle_any  # noqa: N815

            def log_message(self, *_args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def dashboard(serve: Callable[[Answer], str], client: TestClient) -> str:
    """The application behind a socket."""

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        wanted = {name: headers[name] for name in ("Authorization", "Content-Type") if name in headers}
        found = client.request(method, path, headers=wanted, content=body)
        return found.status_code, found.content

    return serve(answer)


@pytest.fixture
def token(state: State, tmp_path: Path) -> str:
    """A file with a token that may allocate."""
    make_user(state, "oli", "operator")
    path = tmp_path / "token"
    text = make_token(state, "oli", ["ipam:write", "read"])["Authorization"].partition(" ")[2]
    path.write_text(f"{text}\n")
    return str(path)


def look(*names: str, variables: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    plugin = LookupModule()
    found: list[Any] = plugin.run(list(names), variables=variables or {}, **options)
    return found


def test_allocates_and_gives_the_same_again(dashboard: str, token: str) -> None:
    options = {"url": dashboard, "token_file": token, "owner": "dc"}
    assert look("red", "blue", purpose="vni", **options) == ["1048577", "1048578"]
    assert look("blue", purpose="vni", **options) == ["1048578"]
    assert look("net", purpose="overlay4", length=26, **options) == ["10.0.0.0/26"]
    assert look("a", within="10.0.0.0/26", avoid=["10.0.0.1"], note="x", **options) == ["10.0.0.2"]
    assert look("b", within="10.0.0.0/26", value="10.0.0.9", **options) == ["10.0.0.9"]
    assert look("b", state="read", detail=True, **options)[0]["value"] == "10.0.0.9"
    assert look("red", "b", state="read", **options) == ["1048577", "10.0.0.9"]


def test_check_mode_and_read_allocate_nothing(dashboard: str, token: str) -> None:
    options = {"url": dashboard, "token_file": token, "owner": "dc", "purpose": "vni"}
    with pytest.raises(AnsibleError, match="ipam: dc: red: it is not allocated; run without --check once"):
        look("red", variables={"ansible_check_mode": True}, **options)
    with pytest.raises(AnsibleError, match="allocate it first"):
        look("red", state="read", **options)
    look("red", **options)
    assert look("red", variables={"ansible_check_mode": True}, **options) == ["1048577"]


def test_variables_say_where(dashboard: str, token: str) -> None:
    variables = {"crosshost_dashboard_url": dashboard, "crosshost_dashboard_token": Path(token).read_text()}
    assert look("red", variables=variables, owner="dc", purpose="vni") == ["1048577"]


def test_what_the_dashboard_refuses(dashboard: str, token: str) -> None:
    options = {"url": dashboard, "token_file": token, "owner": "dc"}
    with pytest.raises(AnsibleError, match="422: dc: a: there is no subnet"):
        look("a", within="10.9.9.0/24", **options)
    Path(token).write_text("xh_0000.nonsense")
    with pytest.raises(AnsibleError, match=r"ipam: http://127.*: 401: ") as raised:
        look("a", purpose="vni", **options)
    assert "nonsense" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "give exactly one of purpose, within and pool_id; given: none"),
        ({"purpose": "vni", "within": "10.0.0.0/8"}, "given: purpose, within"),
        ({"purpose": "vni", "value": "7"}, "2 names cannot have the same one"),
        ({"purpose": "vni", "url": "ftp://x"}, "write it as https"),
        ({"purpose": "vni", "url": "https://ann:secret-word@host"}, "write it as https"),
        ({"purpose": "vni", "token_file": "/nowhere/at/all"}, "/nowhere/at/all: No such file"),
        ({"purpose": "vni", "token": "secret-word\n\u20ac"}, "copy it again"),
        ({"purpose": "vni", "token_file": None}, "give a file with an API token"),
        ({"purpose": "vni", "ca_file": "/nowhere/at/all"}, "ca_file: /nowhere/at/all: No such file"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    (tmp_path / "token").write_text("secret-word")
    given = {"owner": "dc", "url": "http://127.0.0.1:1", "token_file": str(tmp_path / "token"), **options}
    with pytest.raises(AnsibleError) as raised:
        look("a", "b", **given)
    assert text in str(raised.value)
    assert "secret-word" not in str(raised.value)


def test_a_server_that_comes_back(serve: Callable[[Answer], str]) -> None:
    seen: list[str] = []

    def answer(_method: str, _path: str, headers: dict[str, str], _body: bytes) -> tuple[int, bytes]:
        seen.append(headers["Authorization"])
        return (503, b"") if len(seen) < 3 else (201, b'{"value": "7"}')

    assert look("a", owner="dc", purpose="vni", url=serve(answer), token="t") == ["7"]
    assert seen == ["Bearer t"] * 3


def test_servers_that_are_no_dashboard(serve: Callable[[Answer], str]) -> None:
    asked: list[str] = []

    def elsewhere(_method: str, path: str, _headers: dict[str, str], _body: bytes) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b'{"value": "stolen"}'

    other = serve(elsewhere)
    answers = {
        "html": (200, b"<html>"), "list": (200, b"[]"), "other": (200, json.dumps({"value": 5}).encode()),
        "moved": (307, other.encode()), "lost": (404, b"\xff"),
    }  # fmt: skip
    for status, content in answers.values():
        url = serve(lambda *_args, status=status, content=content: (status, content))
        with pytest.raises(AnsibleError, match="ipam: http"):
            look("a", owner="dc", purpose="vni", url=url, token="t")
    assert asked == []


def test_a_server_that_is_away() -> None:
    with pytest.raises(AnsibleError, match=r"it cannot be reached: .*refused"):
        look("a", owner="dc", purpose="vni", url="http://127.0.0.1:1", token="t", timeout=1)
