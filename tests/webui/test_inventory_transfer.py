# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories in and out: what any file means, what is refused of it and where, and that what goes out comes back the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from crosshost_lab import disk
from crosshost_lab.layout import Lab
from crosshost_webui.db.engine import Database
from crosshost_webui.inventory import foreign, service, substitution, transfer
from crosshost_webui.inventory.emit import Group, Inventory
from crosshost_webui.inventory.service import Edit
from crosshost_webui.web.problem import Forbidden, Invalid, TooLarge

from tests.webui.support_inventory import ANN, HOSTS, add, change, end, everything, get, names

ROOT = Path(__file__).parents[2]
VAULT = "$ANSIBLE_VAULT;1.1;AES256\n3131\n3232\n"
SMALL = """
crosshost:
  hosts:
    h1: {crosshost_vtep: 10.98.0.1}
    h2: {crosshost_vtep: 10.98.0.2}
  vars:
    crosshost_networks:
      - {name: web, subnets: [{subnet: 10.20.1.0/24, vni: 7101}]}
    crosshost_endpoints:
      - {host: h1, network: web, sandbox: a, create: true, ip: 10.20.1.11}
"""


def bring(database: Database, text: str, name: str = "hosts.yml", **more: Any) -> transfer.Imported:
    return transfer.import_bytes(database, ANN, name, text.encode(), **more)


def resolved(database: Database) -> dict[tuple[str, str], Any]:
    with database.read() as s:
        return {key: one.resolved for key, one in service.items(s).items()}


# ---- reading


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yml", "all:\n  hosts:\n    h1: {a: [1, 2}\n    h2:\n", "a.yml: line 3: did not find expected ',' or ']'"),
        ("a.yaml", "all:\n  hosts: [h1]\n", 'a.yaml: Invalid "hosts" entry for "all" group, requires a dictionary, found "list"'),
        ("a.yml", "", "a.yml: Parsed empty YAML file"),
        ("a.yml", "all: {hosts: }\n", "a.yml: it has no hosts"),
        ("a.ini", "[web]\nh1 a=1\nh2 b\n", "a.ini: line 3: Expected key=value host variable assignment, got: b"),
        ("a.ini", "[web:vars]\na=1\n", "a.ini: line 1: Section [web:vars] not valid for undefined group 'web'"),
        ("hosts", "[web]\nh1\n[web:kids]\n", "hosts: line 3: Section [web:kids] has unknown type"),
        ("a.json", '{"all": {"hosts": {}},\n}', "a.json: line 2:"),
        ("a.json", "[" * 100_000, "a.json"),
        ("a.toml", "[web\n", "a.toml: "),
        ("b.yml", "plugin: ansible.builtin.generator\nhosts: {name: x}\nlayers: {}\n", "plugins are not run here"),
        ("c.yml", "$ANSIBLE_VAULT;1.1;AES256\n3131\n", "encrypt single values"),
        ("../../d\n.yml", "all: ]", "line 1: "),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_with_line_and_reason(name: str, text: str, words: str) -> None:
    with pytest.raises(Invalid) as error:
        foreign.read_bytes(name, text.encode())
    assert words in error.value.detail and error.value.detail.isprintable()
    assert "/tmp" not in error.value.detail


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(Invalid, match="it is no UTF-8 text"):
        foreign.read_bytes("a.yml", b"\xff\xfe\x00")


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "FILE_MOST", 10)
    with pytest.raises(TooLarge):
        foreign.read_bytes("a.yml", SMALL.encode())


def test_a_file_that_means_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aliases of aliases: a few bytes, and gigabytes when written out."""
    monkeypatch.setattr(foreign, "SECONDS", 3)
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    lines.append("all: {hosts: {h1: {x: *a8}}}")
    with pytest.raises(Invalid, match=r"takes too long|more than"):
        foreign.read_bytes("a.yml", "\n".join(lines).encode())


def test_a_script_is_not_run(tmp_path: Path) -> None:
    script = tmp_path / "inventory.py"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n", encoding="utf-8")
    script.chmod(0o755)
    with pytest.raises(Invalid, match="scripts and plugins are not run here"):
        foreign.read_path(script)
    assert not (tmp_path / "ran").exists()


def test_every_format_means_the_same() -> None:
    ini = "h0\n[web]\nh1 ansible_host=192.0.2.1\n[web:vars]\nsite=a\n[site:children]\nweb\n"
    as_yaml = "all: {hosts: {h0: }, children: {site: {children: {web: {hosts: {h1: {ansible_host: 192.0.2.1}}, vars: {site: a}}}}}}"
    toml = '[ungrouped.hosts.h0]\n[web.hosts.h1]\nansible_host="192.0.2.1"\n[web.vars]\nsite="a"\n[site]\nchildren=["web"]\n'
    listed = {
        "_meta": {"hostvars": {"h1": {"ansible_host": "192.0.2.1"}}}, "ungrouped": {"hosts": ["h0"]},
        "web": {"hosts": ["h1"], "vars": {"site": "a"}}, "site": {"children": ["web"]}, "all": {"children": ["ungrouped", "site"]},
    }  # fmt: skip
    found = [
        foreign.read_bytes(name, text.encode()).inventory
        for name, text in (("a.ini", ini), ("a.yml", as_yaml), ("a.toml", toml), ("a.json", json.dumps(listed)), ("hosts", ini), ("b", as_yaml))
    ]  # fmt: skip
    assert all(one == found[0] for one in found)
    assert found[0].groups["site"].children == ["web"]


def test_a_folder_with_variables_beside_it(tmp_path: Path) -> None:
    for folder in ("group_vars", "host_vars"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hosts.yml").write_text("web: {hosts: {h1: }, vars: {a: 1, b: 1}}", encoding="utf-8")
    (tmp_path / "group_vars/web.yml").write_text("b: 2\n", encoding="utf-8")
    (tmp_path / "host_vars/h1.yml").write_text("c: 3\n", encoding="utf-8")
    found = foreign.read_path(tmp_path).inventory
    assert found.groups["web"].variables == {"a": 1, "b": 2}
    assert found.hosts == {"h1": {"c": 3}}
    (tmp_path / "group_vars/all.yml").write_text("a: 1\nb: [\n", encoding="utf-8")
    with pytest.raises(Invalid, match=r"group_vars/all.yml: line 3"):
        foreign.read_path(tmp_path)
    with pytest.raises(Invalid, match="there is no such file or folder"):
        foreign.read_path(tmp_path / "nowhere")


def test_what_ansible_says_besides_is_told() -> None:
    found = foreign.read_bytes("a.yml", b"all: {hosts: {h1: {a: 1, a: 2}}, hostz: {}}")
    assert any("duplicate" in one for one in found.warnings)
    assert any("hostz" in one for one in found.warnings)


# ---- templates


def plain(hosts: dict[str, Any], **groups: tuple[list[str], dict[str, Any]]) -> Inventory:
    found = {name: Group(members, [], variables) for name, (members, variables) in groups.items()}
    return substitution.substitute(Inventory({"all": Group([], [], {}), **found}, hosts))


def test_names_stand_for_variables_of_the_same_host() -> None:
    found = plain(
        {"h1": {"n": 5, "x": "{{ y }}"}, "h2": {"n": 6}},
        web=(["h1", "h2"], {"y": "10.0.0.{{ n }}", "z": ["{{n}}", {"a": "{{ inventory_hostname }}-{{ n }}"}], "s": "{{ t }}", "t": "same"}),
    )  # fmt: skip
    assert found.hosts["h1"] == {"n": 5, "x": "10.0.0.5", "y": "10.0.0.5", "z": [5, {"a": "h1-5"}]}
    assert found.hosts["h2"] == {"n": 6, "y": "10.0.0.6", "z": [6, {"a": "h2-6"}]}
    assert found.groups["web"].variables == {"s": "same", "t": "same"}


def test_the_group_that_counts_is_the_one_in_force() -> None:
    found = plain(
        {"h1": {"n": 1}, "h2": {"n": 2}}, a=(["h1", "h2"], {"v": "of {{ n }}"}), b=(["h1"], {"v": "fixed"})
    )
    assert found.hosts == {"h1": {"n": 1}, "h2": {"n": 2}}
    assert found.groups["a"].variables == {"v": "of 2"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{{ n + 1 }}", "only {{ NAME }} of another variable"),
        ("{{ lookup('pipe', 'id') }}", "only {{ NAME }} of another variable"),
        ("{% if n %}x{% endif %}", "only {{ NAME }} of another variable"),
        ("{# x #}", "only {{ NAME }} of another variable"),
        ("{{ nobody }}", "the host has no variable nobody"),
        ("{{ v }}", "the variables stand for each other"),
        ("a{{ lst }}", "lst is no plain text or number"),
        ("{{ n.__class__ }}", "only {{ NAME }} of another variable"),
        ("{{ n }}{{", "only {{ NAME }} of another variable"),
    ],
)
def test_other_templates_are_refused_with_host_variable_and_remedy(value: str, words: str) -> None:
    with pytest.raises(Invalid) as error:
        plain({"h1": {"n": 1, "lst": []}}, web=(["h1"], {"v": value}))
    assert error.value.detail.startswith("host h1: v ") and words in error.value.detail
    assert "write the value itself" in error.value.detail


def test_templates_that_stand_for_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(substitution, "VALUES_MOST", 1000)
    with pytest.raises(Invalid, match="stand for too much"):
        plain(
            {f"h{n}": {} for n in range(50)},
            web=([f"h{n}" for n in range(50)], {"v": ["{{ inventory_hostname }}"] * 50}),
        )


# ---- importing


def test_an_import_is_one_revision_with_a_preview(database: Database) -> None:
    add(database, "gwbridge")
    before = everything(database)
    preview = bring(database, SMALL, dry_run=True)
    assert everything(database) == before
    done = bring(database, SMALL, message="as it was")
    assert preview.revision.id == done.revision.id
    assert (preview.added, preview.changed, preview.removed) == (done.added, done.changed, done.removed)
    assert (done.revision.message, done.revision.who) == ("as it was", "ann")
    assert sorted(done.added) == [
        ("endpoint", "h1/web/a"),
        ("group", "crosshost"),
        ("host", "h1"),
        ("host", "h2"),
        ("overlay", "web"),
    ]
    again = bring(database, SMALL)
    assert (again.revision.id, again.changes, again.unchanged) == (done.revision.id, (), 5)


def test_merge_keeps_what_only_the_dashboard_has_and_replace_does_not(database: Database) -> None:
    change(database, *HOSTS, Edit("overlay", None, {"name": "mine"}))
    done = bring(database, SMALL)
    assert done.removed == [] and done.unchanged == 3
    assert names(database, "overlay") == ["mine", "web"]
    done = bring(database, SMALL, mode="replace")
    assert done.removed == [("host", "h3"), ("overlay", "mine")] and done.changed == []
    with pytest.raises(Invalid, match="use one of merge, replace"):
        bring(database, SMALL, mode="x")


def test_what_means_the_same_stays_automatic(database: Database) -> None:
    change(
        database,
        *HOSTS,
        Edit("overlay", None, {"name": "web"}),
        Edit("endpoint", None, end("h1", "web", "a")),
    )
    with database.read() as s:
        text = transfer.export_yaml(s)
    assert bring(database, text, mode="replace").changes == ()
    assert get(database, "overlay", "web").body == {"name": "web"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("ip: 10.20.1.11", "ip: 10.20.2.11"), "endpoint web/a on host h1: ip '10.20.2.11': it is in no subnet"),
        (("host: h1", "host: h9"), "endpoint web/a: host 'h9': there is no such host"),
        (("crosshost_vtep: 10.98.0.2", "crosshost_vtep: 10.98.0.1"), "host h2: VTEP '10.98.0.1': host h1 has it too"),
        (("vni: 7101", "vni: '{{ vni }}'"), "host h1: crosshost_networks '{{ vni }}': the host has no variable vni"),
        (("h2: {", "ungrouped: {"), None),
        (("h2: {", "h-2,x: {"), "host 'h-2,x': name: use letters"),
        (("h2: {", "h2: {ansible_password: x, "), "host h2: variables: ansible_password: everybody who reads"),
        (("h2: {", "h2: {big: 123456789012345678901234567890, "), "host h2: variables.big: the number has more than 64 bits"),
        (("  vars:\n", "  vars:\n    crosshost_group: other\n"), "make a group of that name"),
        (("create: true", "created: true"), "created True: there is no such option"),
    ],
)  # fmt: skip
def test_what_an_inventory_has_wrong_is_told_in_its_own_words(
    database: Database, change: tuple[str, str], words: str | None
) -> None:
    add(database, "gwbridge")
    before = everything(database)
    with pytest.raises(Invalid) as error:
        bring(database, SMALL.replace(*change))
    assert (words or "") in error.value.detail and error.value.detail.isprintable()
    assert everything(database) == before


def test_only_admins_import_what_the_server_itself_runs(database: Database) -> None:
    text = SMALL.replace("h2: {", "h2: {ansible_ssh_common_args: -o ProxyCommand=id, ")
    with pytest.raises(Forbidden):
        bring(database, text)
    bring(database, text, is_admin=True)


def test_without_the_cluster_s_group(database: Database) -> None:
    done = bring(database, SMALL.replace("crosshost:", "web:", 1))
    assert any("all hosts are the cluster" in one for one in done.warnings)
    assert sorted(names(database, "group")) == ["web"]
    assert get(database, "overlay", "web").body["subnets"]
    with database.read() as s:
        assert service.cluster_group(s) == "all"
        assert list(service.parsed(s).cluster.hosts) == ["h1", "h2"]


def test_what_is_encrypted_stays_so(database: Database) -> None:
    vault = "".join(f"        {line}\n" for line in VAULT.splitlines())
    bring(
        database,
        SMALL.replace(
            "h1: {crosshost_vtep: 10.98.0.1}",
            f"h1:\n      crosshost_vtep: 10.98.0.1\n      key: !vault |\n{vault}      raw: !unsafe a b",
        ),
    )
    assert get(database, "host", "h1").body["variables"] == {"key": {"__ansible_vault": VAULT}, "raw": "a b"}
    with database.read() as s:
        text = transfer.export_yaml(s)
    assert "key: !vault" in text
    assert bring(database, text, mode="replace").changes == ()


def test_endpoints_without_a_host_are_one_of_each_host(database: Database) -> None:
    bring(
        database,
        SMALL.replace("host: h1, ", "")
        .replace("ip: 10.20.1.11", "mac: '{{ mac }}', ip: '{{ ip }}'")
        .replace("10.98.0.1}", "10.98.0.1, ip: 10.20.1.11, mac: '02:00:00:00:00:01'}")
        .replace("10.98.0.2}", "10.98.0.2, ip: 10.20.1.12, mac: '02:00:00:00:00:02'}"),
    )
    assert names(database, "endpoint") == ["h1/web/a", "h2/web/a"]
    assert get(database, "endpoint", "h2/web/a").body["ip"] == "10.20.1.12"


def test_the_lab_s_own_inventory(database: Database, tmp_path: Path) -> None:
    """As `lab up` writes it, beside lab/group_vars."""
    (tmp_path / "inventory.yml").write_text(disk.inventory(Lab(tmp_path, "demo"), 3), encoding="utf-8")
    shutil.copytree(ROOT / "lab" / "group_vars", tmp_path / "group_vars")
    done = transfer.import_path(database, ANN, tmp_path / "inventory.yml")
    assert len(done.added) == 18 and not done.warnings
    with database.read() as s:
        found = service.parsed(s)
        assert found.warnings == [] and list(found.cluster.hosts) == ["h1", "h2", "h3"]
        text = transfer.export_yaml(s)
    assert bring(database, text, mode="replace", is_admin=True).changes == ()


@pytest.mark.parametrize("name", ["bridge", "containers", "inventory", "ipv6", "lan", "services", "subnets"])
def test_the_examples(tmp_path: Path, name: str) -> None:
    source = ROOT / "docs" / "examples" / f"{name}.yml"
    first, second = (Database(f"sqlite:///{tmp_path / number}.db") for number in "12")
    for one in (first, second):
        one.create()
    transfer.import_path(first, ANN, source)
    with first.read() as s:
        text = transfer.export_yaml(s)
    bring(second, text)
    assert resolved(first) == resolved(second)
    for one in (first, second):
        one.close()


# ---- round trips


def test_the_export_of_an_earlier_revision(database: Database) -> None:
    bring(database, SMALL)
    change(database, Edit("endpoint", "h1/web/a", None), Edit("overlay", "web", None))
    with database.read() as s:
        assert "crosshost_networks" in transfer.export_yaml(s, 1)
        assert "crosshost_networks" not in transfer.export_yaml(s)
        assert "h1:" not in transfer.export_yaml(s, 0)
