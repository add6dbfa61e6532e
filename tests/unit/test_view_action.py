# SPDX-License-Identifier: GPL-3.0-or-later
"""The action host_view in real runs of ansible-playbook, without a connection to any host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.crosshost.network.plugins.module_utils.view import LONG

CHECKOUT = Path(__file__).resolve().parents[2]
WEB = {"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 4101}]}
SHARED: dict[str, Any] = {
    "number": "{{ inventory_hostname[1:] }}",
    # nobody answers there: the action must not ask
    "ansible_host": "192.0.2.{{ number }}",
    "crosshost_vtep": "10.98.0.{{ number }}",
    "crosshost_networks": [WEB],
    "crosshost_endpoints": [{"network": "web", "sandbox": "app", "ip": "10.0.1.1{{ number }}"}],
}
VIEW: dict[str, Any] = {"crosshost.network.host_view": {}, "register": "crosshost_view"}


def keep(name: str = "view") -> dict[str, Any]:
    """A task that writes what was registered into a file for each host."""
    where = "{{ playbook_dir }}/" + name + "-{{ inventory_hostname }}.json"
    return {
        "ansible.builtin.copy": {"content": "{{ crosshost_view | to_json }}", "dest": where},
        "delegate_to": "localhost",
        "vars": {"ansible_connection": "local"},
        "check_mode": False,
    }


def run(
    folder: Path,
    tasks: list[dict[str, Any]],
    *options: str,
    shared: dict[str, Any] | None = None,
    hosts: dict[str, Any] | None = None,
    group: str = "crosshost",
    **play: Any,
) -> subprocess.CompletedProcess[str]:
    inventory = {group: {"vars": shared or SHARED, "hosts": hosts or {"h1": {}, "h2": {}, "h3": {}}}}
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    plays = [{"hosts": "all", "gather_facts": False, "tasks": tasks, **play}]
    (folder / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return subprocess.run(
        [program, "-i", str(folder / "inventory.yml"), *options, str(folder / "play.yml")],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def kept(folder: Path, host: str, name: str = "view") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}-{host}.json").read_text(encoding="utf-8"))
    return found


def test_templates_are_evaluated_for_the_host_that_has_them(tmp_path: Path) -> None:
    done = run(tmp_path, [VIEW, keep()], "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    for n, others in (("1", "23"), ("2", "13"), ("3", "12")):
        found = kept(tmp_path, f"h{n}")
        assert found["changed"] is False
        assert found["data_path_address"] == f"10.98.0.{n}"
        assert found["endpoints"] == [{"network": "web", "sandbox": "app", "ip": f"10.0.1.1{n}"}]
        assert [peer["vtep"] for peer in found["peers"]] == [f"10.98.0.{other}" for other in others]
        assert [one["ip"] for one in found["networks"][0]["endpoints"]] == [f"10.0.1.1{k}" for k in others]
        assert "192.0.2." + others[0] in found["firewall_sources"]
    assert list((tmp_path / "tmp").iterdir()) == [], "the run has left files"


def test_hosts_outside_of_the_limit_are_peers(tmp_path: Path) -> None:
    done = run(tmp_path, [VIEW, keep()], "--limit", "h2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [peer["host"] for peer in kept(tmp_path, "h2")["peers"]] == ["h1", "h3"]
    assert not (tmp_path / "view-h1.json").exists()


def test_a_later_task_sees_what_has_changed(tmp_path: Path) -> None:
    change = {"ansible.builtin.set_fact": {"crosshost_vtep": "10.77.0.{{ number }}"}}
    done = run(tmp_path, [VIEW, keep("old"), change, VIEW, keep("new")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert [kept(tmp_path, "h1", name)["peers"][0]["vtep"] for name in ("old", "new")] == [
        "10.98.0.2",
        "10.77.0.2",
    ]


def test_variables_of_the_play_hold_for_all_hosts(tmp_path: Path) -> None:
    mine = {"crosshost_vtep": "10.66.0.{{ number }}", "crosshost_firewall_extra_sources": ["10.0.0.1"]}
    done = run(tmp_path, [VIEW, keep()], vars=mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [peer["vtep"] for peer in kept(tmp_path, "h1")["peers"]] == ["10.66.0.2", "10.66.0.3"]
    assert kept(tmp_path, "h3")["firewall_sources"][-1] == "10.0.0.1"


def test_addresses_come_from_the_check_of_the_hosts(tmp_path: Path) -> None:
    underlay = {
        "interfaces": [{"name": "eth1", "mtu": 9000, "addresses": ["10.55.0.{{ number }}"]}],
        "default": ["10.55.0.{{ number }}"],
    }
    shared = {**SHARED, "crosshost_data_path_interface": "eth1"}
    del shared["crosshost_vtep"]
    known = {"ansible.builtin.set_fact": {"crosshost_host_check": {"underlay": underlay}}}
    done = run(tmp_path, [known, VIEW, keep()], shared=shared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kept(tmp_path, "h1")["peers"][0] == {"host": "h2", "vtep": "10.55.0.2", "mtu": 9000}
    alone = run(tmp_path, [known, VIEW], "--limit", "h1", shared=shared)
    assert alone.returncode != 0
    assert "host h2: crosshost_data_path_interface 'eth1'" in " ".join(alone.stdout.split())


def test_the_lookup_gives_what_brief_leaves_out(tmp_path: Path) -> None:
    brief = {"crosshost.network.host_view": {"brief": True}, "register": "crosshost_view"}
    look = "lookup('crosshost.network.host_view', %r, view=crosshost_view)"
    parts = {name: "{{ " + look % name + " }}" for name in LONG}
    more = {
        "ansible.builtin.set_fact": {"crosshost_view": "{{ crosshost_view | combine(parts) }}"},
        "vars": {"parts": parts},
    }
    done = run(tmp_path, [VIEW, keep("whole"), brief, keep("brief"), more, keep("joined")])
    assert done.returncode == 0, done.stdout + done.stderr
    whole, short, joined = (kept(tmp_path, "h2", name) for name in ("whole", "brief", "joined"))
    assert set(whole) - set(short) == set(parts)
    assert {**whole, "store": ""} == {**joined, "store": ""}


def test_another_group_can_be_the_cluster(tmp_path: Path) -> None:
    shared = {**SHARED, "crosshost_group": "blue"}
    done = run(tmp_path, [VIEW, keep()], shared=shared, group="blue", hosts={"h1": {}, "h2": {}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(kept(tmp_path, "h1")["peers"]) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crosshost_vtep": "{{ nowhere }}"}, "host h1: crosshost_vtep cannot be evaluated"),
        (
            {"crosshost_group": "red"},
            "crosshost_group 'red': the inventory has no such group (it has: crosshost)",
        ),
        (
            {"crosshost_endpoints": [{"network": "wbe", "sandbox": "a", "ip": "10.0.1.9"}]},
            "endpoint wbe/a: network",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    done = run(tmp_path, [VIEW], shared={**SHARED, **change})
    assert done.returncode != 0
    assert words in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr
    assert "failed=1" in done.stdout and "unreachable=0" in done.stdout


def test_a_misspelt_variable_is_warned_of_once(tmp_path: Path) -> None:
    done = run(tmp_path, [VIEW], shared={**SHARED, "crosshost_netwroks": []})
    assert done.returncode == 0
    text = " ".join((done.stdout + done.stderr).split())
    assert text.count("which nothing reads; is crosshost_networks meant?") == 1
