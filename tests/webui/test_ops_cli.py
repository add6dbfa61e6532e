# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `crosshost-webui`: a server's life, and what is done beside it. Errors are one line and an exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import time
import uuid
from pathlib import Path

import httpx
import pytest
import yaml
from crosshost_webui.cli import main
from crosshost_webui.settings import Settings

from scripts.link_collection import CHECKOUT
from tests.webui.support_server import Server, command


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """In this process: quicker than a new one."""
    capsys.readouterr()
    try:
        status = main(argv)
    except SystemExit as error:  # argparse's way
        status = int(error.code or 0)
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A data directory with a database."""
    found = tmp_path / "data"
    assert run(capsys, "migrate", "--data-dir", str(found))[0] == 0
    return found


def test_a_server_from_its_first_start_to_its_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data) as server:
        assert httpx.get(f"{server.address}/healthz").text == "ok\n"
        assert len(server.password) >= 16
        assert not any(server.password in line for line in server.log)
        again = command("serve", "--data-dir", str(data), "--port", "0")
        assert again.returncode == 1
        assert again.stderr.startswith(
            f"crosshost-webui: data_dir: {data} is in use by a server, process {server.process.pid};"
        )
        assert server.stop() == 0
    assert not [line for line in server.log if "Traceback" in line]
    assert {
        stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (data, data / "keys.json", data / "runs")
    } == {0}
    with Server(data, "--print-address") as second:
        assert second.output == [f"{second.address}/"]
        assert "password" not in "".join(second.log)
        assert second.stop(signal.SIGINT) == 0


def test_streams_end_when_the_server_stops(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A browser that watches a run must not keep the server from its end."""
    place = ("--data-dir", str(folder))
    run(capsys, "user", "add", "ann", "--role", "operator", *place)
    token = run(capsys, "token", "make", "ann", "test", "--scope", "read", "--scope", "executor", *place)[
        1
    ].strip()
    with (
        Server(folder) as server,
        httpx.Client(
            base_url=f"{server.address}/api/v1", headers={"Authorization": f"Bearer {token}"}
        ) as http,
    ):
        made = http.post("/runs/record", json={"uuid": str(uuid.uuid4()), "playbook": "site.yml"})
        with http.stream("GET", f"/runs/{made.json()['id']}/stream", timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        assert server.stop() == 0
        assert time.monotonic() - began < 8, "less than it waits for requests that do not end"
    assert not [line for line in server.log if "Traceback" in line or "Cancel" in line]


def test_a_server_that_is_killed_starts_again(folder: Path) -> None:
    for _ in range(2):
        with Server(folder) as server:
            assert server.kill() == -signal.SIGKILL
    with Server(folder) as server:
        assert httpx.get(f"{server.address}/healthz").text == "ok\n"
        assert server.stop() == 0


def test_the_embedded_database_is_for_its_owner_only(folder: Path) -> None:
    files = list(folder.glob("crosshost.db*"))
    assert files
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, told = run(capsys, "serve", "--data-dir", str(tmp_path / "data"), "--port", port)
    assert (status, told) == (
        1, f"crosshost-webui: host and port: 127.0.0.1 port {port}: Address already in use; name others\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "status", "told"),
    [
        (("serve", "--port", "70000"), 2, "--port, or CROSSHOST_WEBUI_PORT: Input should be less than or equal to 65535"),
        (("serve", "--trusted-proxies", "10.0.0.1/8"), 2, "--trusted-proxies, or CROSSHOST_WEBUI_TRUSTED_PROXIES: 10.0.0.1/8 has host bits set"),
        (("serve", "--base-url", "crosshost"), 2, "--base-url, or CROSSHOST_WEBUI_BASE_URL: crosshost is no address of a site"),
        (("serve", "--log-format", "xml"), 2, "--log-format, or CROSSHOST_WEBUI_LOG_FORMAT: Input should be 'text' or 'json'"),
        (("serve", "--host", "no.such.host.invalid"), 1, "host: no.such.host.invalid: "),
        (("serve", "--data-dir", "/dev/null/x"), 1, "data_dir: /dev/null/x: Not a directory"),
        (("migrate", "--database", "mysql://x/y"), 2, "--database, or CROSSHOST_WEBUI_DATABASE: mysql is not supported"),
        (("migrate", "--database", "postgresql+psycopg://u:hidden@127.0.0.1:1/x"), 1, "database postgresql+psycopg://u:***@127.0.0.1:1/x: "),
        (("user", "list", "--data-dir", "/nonexistent"), 1, "data_dir: /nonexistent does not exist"),
        (("backup", "--data-dir", "/nonexistent", "/tmp/x"), 1, "data_dir: /nonexistent does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(
    argv: tuple[str, ...], status: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--data-dir" not in argv:
        argv = (*argv, "--data-dir", str(tmp_path / "data"))
    found = run(capsys, *argv)
    assert (found[0], found[1]) == (status, "")
    assert found[2].startswith(f"crosshost-webui: {told}"), found[2]
    assert found[2].count("\n") == 1
    assert "hidden" not in found[2]


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    more = {
        "CROSSHOST_WEBUI_METRICS_TOKEN": "a-token", "CROSSHOST_WEBUI_LOG_FORMAT": "json",
        "CROSSHOST_WEBUI_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
    }  # fmt: skip
    with Server(tmp_path / "data", more=more) as server:
        with httpx.Client(base_url=server.address, headers={"X-Forwarded-For": "192.0.2.7"}) as http:
            assert http.get("/metrics").status_code == 401
            found = http.get("/metrics", headers={"Authorization": "Bearer a-token", "X-Request-Id": "me-1"})
        assert found.status_code == 200
        assert server.stop() == 0
    lines = [json.loads(line) for line in server.log]
    (asked,) = [one for one in lines if one.get("request_id") == "me-1"]
    assert asked["message"] == "GET /metrics 200"
    assert asked["address"] == "192.0.2.7"
    assert asked["ms"] > 0
    assert "a-token" not in "".join(server.log)


def test_a_database_of_a_newer_version(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(folder / "crosshost.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    for argv in (("serve", "--port", "0"), ("migrate",), ("user", "list")):
        status, _, told = run(capsys, *argv, "--data-dir", str(folder))
        assert status == 1
        assert "its schema 9999 is newer than this version" in told
        assert told.count("\n") == 1


def test_a_key_file_that_others_can_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chmod(folder / "keys.json", 0o640)
    status, _, told = run(capsys, "user", "list", "--data-dir", str(folder))
    assert status == 1
    assert told.startswith(f"crosshost-webui: {folder}/keys.json: others may read the keys")


def test_users(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--data-dir", str(folder))
    status, password, _ = run(capsys, "user", "add", "ann", "--role", "admin", *place)
    assert status == 0
    assert len(password.strip()) >= 16
    assert run(capsys, "user", "add", "robot", "--no-password", *place) == (0, "", "")
    status, _, told = run(capsys, "user", "add", "ann", *place)
    assert (status, told.count("\n")) == (1, 1)
    assert "there is one of this name" in told
    assert run(capsys, "user", "role", "robot", "operator", *place)[0] == 0
    assert run(capsys, "user", "disable", "robot", *place)[0] == 0
    listed = run(capsys, "user", "list", *place)[1].splitlines()
    assert [line.split()[:3] for line in listed] == [
        ["ann", "admin", "local"],
        ["robot", "operator", "disabled"],
    ]
    assert run(capsys, "user", "enable", "robot", *place)[0] == 0
    status, _, told = run(capsys, "user", "role", "ann", "viewer", *place)
    assert status == 1
    assert "it is the only" in told
    status, changed, _ = run(capsys, "user", "password", "ann", *place)
    assert status == 0
    assert changed != password
    assert run(capsys, "user", "disable", "nobody", *place)[0] == 1


def test_tokens_and_keys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--data-dir", str(folder))
    run(capsys, "user", "add", "ann", "--role", "operator", *place)
    status, token, _ = run(capsys, "token", "make", "ann", "for tests", "--scope", "read", *place)
    assert status == 0
    assert token.startswith("xh_")
    assert run(capsys, "token", "make", "ann", "for tests", "--scope", "all", *place)[0] == 2
    before = (folder / "keys.json").read_text()
    status, told, _ = run(capsys, "rotate-keys", *place)
    assert status == 0
    assert "0 secrets" in told
    assert (folder / "keys.json").read_text() != before
    with Server(folder) as server:
        found = httpx.get(
            f"{server.address}/api/v1/nothing", headers={"Authorization": f"Bearer {token.strip()}"}
        )
        assert found.status_code == 404
        assert server.stop() == 0


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    status, told, _ = run(capsys, "version")
    assert status == 0
    assert run(capsys, "--version")[1] == f"crosshost-webui {told}"


def test_an_inventory_goes_in_and_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--data-dir", str(folder))
    example = str(CHECKOUT / "docs" / "examples" / "inventory.yml")
    status, told, _ = run(capsys, "import", example, "--dry-run", *place)
    assert status == 0
    assert "added network web" in told
    assert yaml.safe_load(run(capsys, "export", *place)[1]).get("all", {}).get("hosts") is None
    status, told, _ = run(capsys, "import", example, "--message", "the first", *place)
    assert status == 0
    assert told.splitlines()[-1].endswith(", 0 unchanged: revision 1")
    exported = run(capsys, "export", *place)[1]
    again = tmp_path / "again.yml"
    again.write_text(exported)
    told = run(capsys, "import", str(again), *place)[1]
    assert re.fullmatch(r"0 added, 0 changed, 0 removed, \d+ unchanged: revision 1\n", told), told
    again.write_text("all: [")
    status, told, error = run(capsys, "import", str(again), *place)
    assert (status, told, error.count("\n")) == (1, "", 1)
    assert "again.yml" in error
    assert run(capsys, "import", "/nonexistent.yml", *place)[0] == 1
    status, _, error = run(capsys, "export", "--revision", "9", *place)
    assert (status, error.count("\n")) == (1, 1)


def test_a_reader_that_has_seen_enough(folder: Path) -> None:
    """`crosshost-webui user list | head -0`"""
    import subprocess
    import sys

    from tests.webui.support_server import environment

    command("user", "add", "ann", "--data-dir", str(folder))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "crosshost_webui.cli", "user", "list", "--data-dir", str(folder)],
            stdout=closed, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, "")


def test_pools_are_checked_and_mended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--data-dir", str(folder))
    status, told, _ = run(capsys, "ipam", "check", *place)
    assert status == 0
    found = re.fullmatch(r"(\d+) pools, 0 blocks and (\d+) free extents add up\n", told)
    assert found is not None and found[1] == found[2], told
    with sqlite3.connect(folder / "crosshost.db") as database:
        database.execute("DELETE FROM free WHERE pool_id = (SELECT min(pool_id) FROM free)")
    database.close()
    status, told, error = run(capsys, "ipam", "check", *place)
    assert status == 1
    assert "`crosshost-webui ipam rebuild` mends it" in told
    assert error.startswith("crosshost-webui: ipam: ")
    assert run(capsys, "ipam", "rebuild", *place) == (0, f"{found[1]} free extents\n", "")
    assert run(capsys, "ipam", "check", *place)[0] == 0


def test_every_setting_is_documented() -> None:
    text = (CHECKOUT / "webui" / "README.md").read_text(encoding="utf-8")
    assert [name for name in Settings.model_fields if f"`{name}`" not in text] == []
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    text = (CHECKOUT / "webui" / "README.md").read_text(encoding="utf-8")
    shown = run(capsys, "--help")[1]
    commands = re.findall(r"^    ([a-z-]+)\b", shown, re.MULTILINE)
    assert len(commands) > 8
    assert [name for name in commands if name not in text] == []
