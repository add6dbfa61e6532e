# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recorder keeps of a result, and what it hides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.plugin_utils import record_body, record_facts
from ansible_collections.crosshost.network.plugins.plugin_utils.record_body import (
    HIDDEN,
    MOST,
    Mask,
    body_of,
    encode,
)
from ansible_collections.crosshost.network.plugins.plugin_utils.record_file import RecordFile
from hypothesis import given
from hypothesis import strategies as st

OURS = "crosshost.network.overlay_network"


def body(result: dict[str, Any], status: str = "changed", action: str = OURS) -> dict[str, Any] | None:
    return body_of(result, status, action, Mask())


def test_nothing_to_tell_is_no_body() -> None:
    assert (
        body(
            {
                "changed": False,
                "commands": [],
                "before": [1],
                "after": [1],
                "diff": {"before": "", "after": ""},
            },
            "ok",
        )
        is None
    )
    assert body({"changed": True, "rc": 0}, "ok") is None
    assert body({"skip_reason": "Conditional result was False"}, "skipped") is None
    assert body({"false_condition": "x is defined"}, "skipped") == {"false_condition": "x is defined"}


def test_facts_and_declarations_are_left_out() -> None:
    found = body(
        {
            "msg": "m",
            "ansible_facts": {"x": 1},
            "before": [1],
            "after": [2],
            "invocation": {},
            "_ansible_verbose": 1,
        }
    )
    assert found == {"msg": "m"}


def test_commands_are_measured_before_anything_is_cut() -> None:
    many = [f"bridge fdb replace 02:42:00:00:{n:04x} dev vx1" for n in range(5000)]
    event = {
        "seq": 1,
        "kind": "result",
        "body": body({"commands": many, "before": [], "after": [{"name": "web"}]}),
    }
    found = json.loads(encode(event))["body"]
    assert found["truncated"] and found["commands_count"] == 5000 and 0 < len(found["commands"]) < 5000
    other = body({"commands": many, "before": [], "after": [{"name": "db"}]}) or {}
    assert other["commands_digest"] != found["commands_digest"]


@pytest.mark.parametrize(
    "result", [{"censored": "hidden", "changed": True}, {"_ansible_no_log": True, "msg": "secret"}]
)
def test_no_log_is_honoured(result: dict[str, Any]) -> None:
    assert body(result) == {"censored": True}


def test_failures_and_debug_tell_all_they_have() -> None:
    found = body(
        {
            "msg": "no",
            "assertion": "a == b",
            "results": [1],
            "failed": True,
            "exception": "(traceback unavailable)",
        },
        "failed",
    )
    assert found == {"msg": "no", "assertion": "a == b"}
    assert body({"crosshost_view": {"a": 1}}, "ok", "ansible.builtin.debug") == {"crosshost_view": {"a": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2x", "--token=hunter2x", "PGPASSWORD: hunter2x",
        "db_password = 'hunter2x'", '{"api_key": "hunter2x"}', "https://root:hunter2x@example.net/", "Authorization: Bearer hunter2x",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2x\n-----END OPENSSH PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\nhunter2x",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    assert "hunter2x" not in Mask().text(f"before {text}") and HIDDEN in Mask().text(text)


def test_names_of_options_that_hold_secrets() -> None:
    found = Mask().value(
        {
            "ansible_password": "x1",
            "become_pass": ["y"],
            "token": "z",
            "tokens_used": 3,
            "passed": True,
            "password": None,
        }
    )
    assert found == {
        "ansible_password": HIDDEN, "become_pass": HIDDEN, "token": HIDDEN, "tokens_used": 3, "passed": True, "password": None,
    }  # fmt: skip


def test_known_secrets_are_hidden_everywhere() -> None:
    mask = Mask()
    mask.learn(["s3cr3t (.*)", "abc", "line one\nline two"])
    found = mask.value({"stdout": "is s3cr3t (.*) abc", "list": ["x line two"], "s3cr3t (.*)": 1})
    assert found == {"stdout": f"is {HIDDEN} abc", "list": [f"x {HIDDEN}"], HIDDEN: 1}


def test_nul_and_half_characters_are_taken_out() -> None:
    found = json.loads(encode({"seq": 1, "body": {"msg": "a\0b\ud800c \U0001f600", "k\0": ["\0"]}}))
    assert found["body"] == {"msg": "ab\ufffdc \U0001f600", "k": [""]}


@given(st.dictionaries(st.sampled_from([*record_body.FIELDS, "other"]), st.recursive(
    st.text(max_size=200_000) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6,
)))  # fmt: skip
def test_no_line_is_too_long(found: dict[str, Any]) -> None:
    line = encode({"seq": 1, "kind": "result", "body": found})
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert len(line) <= MOST + 1024
    json.loads(line)


@pytest.mark.parametrize(
    "value", ["x" * 2**20, ["x" * 1000] * 5000, {f"k{n}": "v" * 100 for n in range(20_000)}, "\x1b" * 2**20]
)
def test_a_megabyte_is_cut(value: Any) -> None:
    line = encode({"seq": 1, "body": {"msg": "kept", "stdout": value}})
    found = json.loads(line)["body"]
    assert len(line) <= MOST + 100 and found["truncated"] and found["msg"] == "kept" and found["stdout"]


def test_what_is_on_a_host() -> None:
    after = [
        {"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 4101}, {"subnet": "FD00:0:1::/64"}]}
    ]
    assert dict(record_facts.seen_of("overlay_network", {"before": [], "after": after}, False)) == {
        "overlay_network": [
            ["web", "10.0.1.0/24", "subnet", "subnet", "10.0.1.0/24"],
            ["web", "10.0.1.0/24", "vni", "vni", "4101"],
            ["web", "fd00:0:1::/64", "subnet", "subnet", "fd00:0:1::/64"],
        ]
    }
    assert dict(record_facts.seen_of("overlay_network", {"before": [], "after": after}, True)) == {
        "overlay_network": []
    }
    ends = [
        {"network": "web", "sandbox": "shop", "ip": "10.0.1.11", "ip6": "FD00::0:11", "publish": ["8080:80", "53:53/udp", "80"]},
        {"network": "host", "pid": 7}, {"network": "web", "container": "c", "ip": "nonsense", "publish": "broken"},
    ]  # fmt: skip
    assert dict(record_facts.seen_of("endpoint", {"after": ends}, False)) == {
        "endpoint": [
            ["web", "shop", "ip", "address", "10.0.1.11"],
            ["web", "shop", "ip6", "address", "fd00::11"],
            ["web", "shop", "published", "port", "8080/tcp"],
            ["web", "shop", "published", "port", "53/udp"],
        ]
    }
    vips = [{"network": "web", "name": "shop", "vip": "10.0.1.100"}]
    assert dict(record_facts.seen_of("service", {"after": vips}, False)) == {
        "service": [["web", "shop", "vip", "address", "10.0.1.100"]]
    }
    mesh = [
        {
            "subnets": [],
            "address": "10.255.0.11",
            "legs": [{"sandbox": "shop", "ip": "10.255.0.12"}],
            "ports": [{"published": 80}],
        }
    ]
    assert [one[2:] for one in dict(record_facts.seen_of("ingress", {"after": mesh}, False))["ingress"]] == [
        ["ip", "address", "10.255.0.11"], ["ip", "address", "10.255.0.12"], ["published", "port", "80/tcp"],
    ]  # fmt: skip
    assert list(record_facts.seen_of("names", {"after": [{}]}, False)) == []


def test_what_network_info_reads_back() -> None:
    result = {
        "endpoints": [
            {"id": "web/shop", "present": True, "addresses": ["10.0.1.11/24", "fd00::11/64", "fe80::1/64"], "published": ["8080:80/tcp", "[::]:53:53/udp"]},
            {"id": "web/gone", "present": False, "addresses": ["10.0.1.12/24"], "published": []},
        ],
        "services": [{"id": "web/shop", "present": True, "vips": ["10.0.1.100"]}],
        "overlay_networks": [{"name": "web", "present": True, "config": {"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 5}]}}],
    }  # fmt: skip
    found = dict(record_facts.seen_of("network_info", result, False))
    assert [one[1:] for one in found["endpoint"]] == [
        ["shop", "ip", "address", "10.0.1.11"], ["shop", "ip6", "address", "fd00::11"],
        ["shop", "published", "port", "8080/tcp"], ["shop", "published", "port", "53/udp"],
    ]  # fmt: skip
    assert found["service"] == [["web", "shop", "vip", "address", "10.0.1.100"]]
    assert [one[4] for one in found["overlay_network"]] == ["10.0.1.0/24", "5"]


def test_a_report() -> None:
    underlay = {
        "interfaces": [],
        "default": ["10.0.0.1"],
        "routes": ["10.0.0.0/24"],
        "nameservers": ["10.0.0.2"],
    }
    found = record_facts.report_of(
        {"underlay": underlay, "kernel": "6.1", "python": "3.11", "engines": [], "features": {}}
    )
    assert found == {**underlay, "kernel": "6.1", "python": "3.11", "engines": []}
    assert record_facts.report_of({}) is None


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()]


def test_events_wait_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of which a part was written already."""
    import os

    path = tmp_path / "r.jsonl"
    file = RecordFile(str(path))
    real, room = os.write, [30]

    def write(descriptor: int, content: bytes) -> int:
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        written = real(descriptor, bytes(content[: room[0]]))
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", write)
    for _ in range(5):
        file.add({"kind": "warning", "text": "x"})
    room[0] = 10**9
    file.add({"kind": "end"})
    assert file.close() == 0 and numbers(path) == [1, 2, 3, 4, 5, 6]


def test_what_could_never_be_written_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from ansible_collections.crosshost.network.plugins.plugin_utils import record_file

    file = RecordFile(str(tmp_path / "r.jsonl"))
    monkeypatch.setattr(record_file, "PENDING_MOST", 200)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(50):
        file.add({"kind": "warning", "text": "x"})
    assert file.close() == 50


def test_a_record_has_one_writer(tmp_path: Path) -> None:
    file = RecordFile(str(tmp_path / "r.jsonl"))
    with pytest.raises(OSError, match="temporarily unavailable"):
        RecordFile(str(tmp_path / "r.jsonl"))
    file.close()
    assert (tmp_path / "r.jsonl").stat().st_mode & 0o077 == 0
