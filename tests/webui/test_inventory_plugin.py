# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin crosshost.network.dashboard, as ansible-inventory itself uses it, against a small server."""

from __future__ import annotations

import gzip
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
EVIL = "{{ lookup('ansible.builtin.pipe', 'touch /tmp/xh-evaluated; echo evaluated') }}"
LISTING: dict[str, Any] = {
    "_meta": {
        "hostvars": {
            "h1": {"crosshost_vtep": "10.98.0.1", "evil": EVIL, "nested": [{"a": EVIL}]},
            "2001:db8::2": {"crosshost_vtep": "10.98.0.2"},
        }
    },
    "all": {"children": ["web"], "vars": {"site": "a", "key": {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n31"}}},
    "web": {"children": ["crosshost"], "vars": {"ansible_group_priority": 5}},
    "crosshost": {"hosts": ["h1", "2001:db8::2"], "vars": {"crosshost_networks": [{"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 7}]}]}},
}  # fmt: skip


def unmarked(value: Any) -> Any:
    """Without Ansible's marks of what must not be evaluated."""
    if isinstance(value, dict):
        if value.keys() == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {key: unmarked(inner) for key, inner in value.items()}
    return [unmarked(one) for one in value] if isinstance(value, list) else value


class Server(ThreadingHTTPServer):
    """Answers as it is told: ``status``, ``body``, ``headers``; and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body = gzip.compress(json.dumps(LISTING).encode())
        self.headers = {"ETag": '"7-abc"', "Content-Encoding": "gzip", "X-Crosshost-Revision": "7"}
        self.asked: list[dict[str, str]] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        known = self.headers.get("If-None-Match") == self.server.headers.get("ETag")
        self.send_response(304 if known and self.server.status == 200 else self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        body = b"" if known else self.server.body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, args=[0.05])
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join(10)


class Ansible:
    """ansible-inventory with a configuration file of the plugin."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        (folder / "token").write_text("xh_0123456789abcdef.secret\n", encoding="utf-8")
        self.config: dict[str, Any] = {
            "plugin": "crosshost.network.dashboard", "url": server.url, "token_file": str(folder / "token"), "timeout": 10,
        }  # fmt: skip
        self.name = "site.crosshost.yml"
        self.environment: dict[str, str] = {}

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        config = self.folder / self.name
        config.write_text(json.dumps(self.config), encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "ANSIBLE_HOME": str(self.folder / "ansible"), "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0", "PYTHONDONTWRITEBYTECODE": "1", **self.environment,
        }  # fmt: skip
        program = [
            str(Path(sys.executable).with_name(argv[0] if argv else "ansible-inventory")),
            "-i",
            str(config),
        ]
        rest = argv[1:] if argv else ("--list", "--export")
        return subprocess.run(
            [*program, *rest],
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.folder,
            timeout=120,
            check=False,
        )

    def listing(self) -> dict[str, Any]:
        done = self.run()
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def failure(self) -> str:
        done = self.run()
        assert done.returncode != 0, done.stdout
        return " ".join(done.stderr.split())

    @property
    def copy(self) -> Path:
        (found,) = (self.folder / "ansible" / "crosshost").glob("inventory-*.json")
        return found


@pytest.fixture
def ansible(tmp_path: Path, server: Server) -> Ansible:
    return Ansible(tmp_path, server)


def test_one_question_brings_everything(ansible: Ansible, server: Server) -> None:
    marked = ansible.listing()
    (asked,) = server.asked
    assert (asked["path"], asked["authorization"]) == (
        "/api/v1/inventory",
        "Bearer xh_0123456789abcdef.secret",
    )
    # Ansible itself says of every text that it must not be evaluated
    assert marked["_meta"]["hostvars"]["h1"]["evil"] == {"__ansible_unsafe": EVIL}
    assert marked["crosshost"]["vars"]["crosshost_networks"][0]["name"] == {"__ansible_unsafe": "web"}
    found = unmarked(marked)
    assert found["crosshost"] == LISTING["crosshost"]
    assert found["web"] == LISTING["web"]
    assert found["all"]["vars"] == LISTING["all"]["vars"]
    hosts = found["_meta"]["hostvars"]
    assert hosts["2001:db8::2"] == {"crosshost_vtep": "10.98.0.2"}
    assert hosts["h1"] == LISTING["_meta"]["hostvars"]["h1"]
    assert ansible.copy.stat().st_mode & 0o777 == 0o600


def test_the_second_time_only_whether_it_has_changed(ansible: Ansible, server: Server) -> None:
    first = ansible.listing()
    os.utime(ansible.copy, (1, 1))
    assert ansible.listing() == first
    assert [one.get("if-none-match") for one in server.asked] == [None, '"7-abc"']
    assert ansible.copy.stat().st_mtime > 1
    changed = {**LISTING, "all": {"vars": {"site": "b"}}}
    server.body, server.headers["ETag"] = gzip.compress(json.dumps(changed).encode()), '"8-abc"'
    assert unmarked(ansible.listing())["all"]["vars"] == {"site": "b"}


def test_no_template_in_it_is_evaluated(ansible: Ansible) -> None:
    marker = Path("/tmp/xh-evaluated")
    marker.unlink(missing_ok=True)
    done = ansible.run("ansible", "h1", "-c", "local", "-m", "debug", "-a", "msg={{ evil }}{{ nested }}")
    assert "lookup('ansible.builtin.pipe'" in done.stdout.replace("\\", ""), done.stdout + done.stderr
    assert not marker.exists()


@pytest.mark.parametrize("how", ["refuses", "503", "500", "429", "half", "damaged", "slow"])
def test_the_last_good_copy_when_the_server_is_away(ansible: Ansible, server: Server, how: str) -> None:
    first = ansible.listing()
    os.utime(ansible.copy, (1_700_000_000, 1_700_000_000))
    server.headers["ETag"] = '"8-abc"'
    if how == "refuses":
        server.socket.close()
    elif how.isdigit():
        server.status, server.body, server.headers = int(how), b'{"detail": "later"}', {}
    elif how == "half":
        server.body = server.body[: len(server.body) // 2]
    elif how == "damaged":
        server.body = b"\x1f\x8b" + b"x" * 100
    else:
        ansible.config["timeout"] = 1
        hold = threading.Event()
        server.finish_request = lambda *_args: hold.wait(20)  # type: ignore[assignment, method-assign]
    done = ansible.run()
    if how == "slow":
        hold.set()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == first
    warning = " ".join(done.stderr.split())
    assert "is away" in warning and "its inventory of 2023-11-14 22:13:20 UTC, revision 7" in warning
    ansible.config["use_copy"] = False
    assert "is away" in ansible.failure()


def test_without_a_copy_the_server_has_to_be_there(ansible: Ansible, server: Server) -> None:
    server.status, server.headers = 503, {}
    assert "is away (503" in ansible.failure()


def test_a_copy_that_is_damaged_or_another_server_s_is_not_used(ansible: Ansible, server: Server) -> None:
    ansible.config["cache_file"] = str(ansible.folder / "copy.json")
    first = ansible.listing()
    kept = json.loads((ansible.folder / "copy.json").read_text(encoding="utf-8"))
    for content in (
        "{",
        "[]",
        "{}",
        json.dumps({**kept, "url": "http://other"}),
        json.dumps({**kept, "listing": 5}),
    ):
        (ansible.folder / "copy.json").write_text(content, encoding="utf-8")
        assert ansible.listing() == first
        assert "if-none-match" not in server.asked[-1]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "401: no such token; make a new token in the dashboard"),
        (403, "403: no such token; the token needs the scope read"),
        (404, "404: no such token; see whether url is right"),
        (302, "it is at http://elsewhere.example/; write that as url"),
    ],
)
def test_a_refusal_is_an_error_whether_there_is_a_copy_or_not(
    ansible: Ansible, server: Server, status: int, words: str
) -> None:
    ansible.listing()
    server.status, server.body = status, b'{"detail": "no such\\ntoken"}'
    server.headers = {"Location": "http://elsewhere.example/"}
    told = ansible.failure()
    assert words in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"a": 1}', b'{"_meta": {}, "web": []}', b'{"_meta": {"hostvars": {"-x": {}}}}', b'{"_meta": {"hostvars": {"a,b": {}}}}', b'{"_meta": {"hostvars": {"h1": 5}}}', b'{"_meta": {"hostvars": {}}, "web": {"hosts": [5]}}'],
)  # fmt: skip
def test_an_answer_that_is_no_inventory(ansible: Ansible, server: Server, body: bytes) -> None:
    server.body, server.headers = body, {}
    told = ansible.failure()
    assert "dashboard: " in told and "Traceback" not in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "ftp://x"}, "write it as https://"),
        ({"url": "x"}, "write it as https://"),
        ({"url": "http://user@127.0.0.1"}, "write it as https://"),
        ({"token_file": "/nonexistent/token"}, "No such file"),
        ({"token_file": None}, "name a file with an API token"),
        ({"token": "a\nb"}, "copy it again"),
        ({"ca_file": "/nonexistent/ca"}, "ca_file"),
        ({"plugin": "other"}, ""),
    ],
)
def test_a_configuration_that_cannot_be_right(ansible: Ansible, change: dict[str, Any], words: str) -> None:
    ansible.config = {key: value for key, value in {**ansible.config, **change}.items() if value is not None}
    assert words in ansible.failure()


def test_the_token_out_of_the_environment(ansible: Ansible, server: Server) -> None:
    del ansible.config["token_file"], ansible.config["url"]
    ansible.environment = {"CROSSHOST_INVENTORY_TOKEN": "xh_1.other", "CROSSHOST_INVENTORY_URL": server.url}
    ansible.listing()
    assert server.asked[0]["authorization"] == "Bearer xh_1.other"


def test_other_files_are_not_taken_for_its_own(ansible: Ansible, server: Server) -> None:
    ansible.name = "site.yml"
    ansible.failure()
    assert server.asked == []


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for 127.0.0.1, or for another name, with its key in the same file."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    alternative: x509.GeneralName = (
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    )
    built = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1)).add_extension(x509.SubjectAlternativeName([alternative]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.mark.parametrize("name", ["127.0.0.1", "other.example"])
def test_certificates_are_verified(ansible: Ansible, server: Server, tmp_path: Path, name: str) -> None:
    ansible.listing()
    file = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]
    ansible.config["url"] = server.url
    assert "its certificate is not trusted" in ansible.failure()
    ansible.config["ca_file"] = str(file)
    if name == "127.0.0.1":
        assert ansible.listing()["crosshost"]["hosts"] == ["h1", "2001:db8::2"]
    else:
        assert "its certificate is not trusted" in ansible.failure()


def test_ansible_doc_knows_the_plugin() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-doc")), "-t", "inventory", "--json", "crosshost.network.dashboard"],
        capture_output=True, text=True, env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"), "LC_ALL": "C.UTF-8"}, check=True,
    )  # fmt: skip
    assert "token_file" in json.loads(done.stdout)["crosshost.network.dashboard"]["doc"]["options"]
