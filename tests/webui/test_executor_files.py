# SPDX-License-Identifier: GPL-3.0-or-later
"""The files, the arguments and the environment of a run: what somebody wrote stays data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crosshost_webui.executor import command, inventory_file
from crosshost_webui.executor.folder import Folder
from crosshost_webui.executor.tail import Tail
from crosshost_webui.runs.models import Run
from crosshost_webui.web.problem import Invalid
from hypothesis import given
from hypothesis import strategies as st

from tests.webui.support_runs import LOCAL, playbook

HOSTILE = {
    "template": "{{ lookup('pipe', 'touch PWNED') }}",
    "statement": "{% for x in range(3) %}x{% endfor %}",
    "comment": "{# gone #}",
    "tag": "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00",
    "quotes": "'\"` \\ \\n \\u0000 \\x00",
    "lines": "one\ntwo\r\nthree\u2028four\u0085five\x7f",
    "wide": "é \U0001f600 \ufeff 日本",
    "yaml": "- [a, {b: &x c}, *x]: ? | >",
    "yes": "yes",
    "number": "0123",
    "empty": "",
    "nested": {
        "{{ 1 + 1 }}": ["{{ 1 + 1 }}", {"deep": "{{ ansible_password }}"}],
        "__ansible_unsafe": "x",
        "__ansible_vault": "x",
    },
    "truth": True,
    "nothing": None,
    "real": 1.5,
    "<<": {"merge": "no"},
}


def listing(variables: dict[str, Any]) -> dict[str, Any]:
    return {
        "_meta": {"hostvars": {"web1": {**LOCAL, "data": variables}, "web2": dict(LOCAL)}},
        "all": {"children": ["crosshost", "ungrouped"], "vars": {"everywhere": "{{ 2 + 2 }}"}},
        "crosshost": {"hosts": ["web1"], "vars": {"shared": variables}, "children": ["rack1"]},
        "rack1": {"hosts": ["web1"]},
        "ungrouped": {"hosts": ["web2"]},
    }


@pytest.mark.slow
def test_nothing_in_the_inventory_is_a_template(tmp_path: Path) -> None:
    """Ansible itself reads the file, and a playbook writes down what it sees."""
    (tmp_path / "inventory.yml").write_text(inventory_file.render(listing(HOSTILE)), encoding="utf-8")
    tasks = "- copy: {content: '{{ [data | default(1), shared | default(2), everywhere, group_names] | to_json }}', dest: '{{ out }}/{{ inventory_hostname }}'}\n"
    book = playbook(tmp_path / "p.yml", tasks)
    environment = {
        **os.environ,
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", tmp_path / "inventory.yml", "-e", f"out={tmp_path}", book],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "web1").read_text()) == [
        HOSTILE,
        HOSTILE,
        "{{ 2 + 2 }}",
        ["crosshost", "rack1"],
    ]
    assert json.loads((tmp_path / "web2").read_text()) == [1, 2, "{{ 2 + 2 }}", ["ungrouped"]]
    assert not (tmp_path / "PWNED").exists()


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_any_value_reads_back_as_it_was(value: Any) -> None:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def unsafe(loader: Loader, node: yaml.Node) -> Any:
        assert isinstance(node, yaml.MappingNode)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("!unsafe", unsafe)
    found = yaml.load(inventory_file.render({"_meta": {"hostvars": {"h": {"v": value}}}}), Loader=Loader)  # noqa: S506
    text = json.dumps(found["all"]["hosts"]["h"]["v"])
    assert text == json.dumps(json.loads(json.dumps(value).encode().decode("utf-8", "replace")))


@pytest.mark.parametrize("name", ["web[1:3]", "web1:22", "-e", "a b", "", "x\n", "!unsafe"])
def test_names_that_ansible_would_read_otherwise_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match="Ansible cannot be given it"):
        inventory_file.render({"_meta": {"hostvars": {name: {}}}})


def test_an_empty_inventory() -> None:
    assert inventory_file.render({}) == "all:\n  hosts:\n    {}\n"


def run_of(**more: Any) -> Run:
    return Run(**{
        "id": 7, "playbook": "site", "limit": "", "tags": "", "variables": {}, "diff_mode": False, "check_mode": False, **more,
    })  # fmt: skip


def test_arguments(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 7)
    plain = command.argv(run_of(), folder, False, 20)
    assert plain[:5] == [sys.executable, "-P", "-m", "ansible", "playbook"]
    assert plain[5:7] == [f"--inventory={tmp_path}/7/inventory.yml", "--forks=20"] and plain[-2] == "--"
    assert plain[-1].endswith("/playbooks/site.yml") and len(plain) == 9
    run = run_of(limit="web1", tags="overlay", variables={"crosshost_state": "merged"}, diff_mode=True)
    whole = command.argv(run, folder, True, 5, [11, 12], True)
    assert whole[7:-2] == [
        f"--extra-vars=@{tmp_path}/7/variables.json", "--limit=web1", "--tags=overlay", "--check", "--diff",
        "--vault-id=secret1@/dev/fd/11", "--vault-id=secret2@/dev/fd/12", "--become-password-file=-",
    ]  # fmt: skip


def test_the_environment_is_made_of_what_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 7)
    given = {
        "PATH": "/bin", "HOME": "/root", "SSH_AUTH_SOCK": "/s", "LD_PRELOAD": "x", "CROSSHOST_WEBUI_DATABASE": "secret", "PYTHONPATH": "x",
        "ANSIBLE_LIBRARY": "x", "AWS_SECRET_ACCESS_KEY": "x",
    }  # fmt: skip
    found = command.environment(folder, folder.phase("run"), 9, given, has_keys=False)
    assert found.keys() & given.keys() == {"PATH", "HOME", "SSH_AUTH_SOCK"}
    assert found["CROSSHOST_RECORD_MASK_FD"] == "9"
    assert "SSH_AUTH_SOCK" not in command.environment(folder, folder.phase("run"), None, given, has_keys=True)


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "runs", 7)
    folder.make()
    folder.write(folder.inventory, "x")
    assert folder.path.stat().st_mode & 0o777 == 0o700 and folder.inventory.stat().st_mode & 0o777 == 0o600
    folder.output.write_text("kept")
    folder.phase("run").record.write_text("x")
    folder.tidy()
    assert [path.name for path in folder.path.iterdir()] == ["output.log"]


def test_a_pipe_takes_what_it_has_room_for() -> None:
    reading = command.piped(b"x" * 60_000)
    with os.fdopen(reading, "rb") as file:
        assert len(file.read()) == 60_000
    with pytest.raises((ValueError, BlockingIOError)):
        command.piped(b"x" * 200_000)


def line(seq: int) -> str:
    return json.dumps({"seq": seq, "kind": "warning"}) + "\n"


def test_a_record_is_followed_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    tail = Tail(path, 1)
    assert tail.read() == []
    path.write_text(line(1) + line(2) + line(3)[:5])
    assert [one["seq"] for one in tail.read()] == [2]
    assert [one["seq"] for one in tail.read()] == [2]  # until they are stored
    tail.acknowledge(2)
    assert tail.read() == []
    with path.open("a") as file:
        file.write(line(3)[5:] + "no json\n" + '{"seq": "x"}\n' + line(4))
    assert [one["seq"] for one in tail.read()] == [3, 4]
    tail.acknowledge(3)
    assert [one["seq"] for one in tail.read()] == [4]


def test_a_long_record_comes_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(map(line, range(1, 1301))))
    tail, found = Tail(path), []
    while batch := tail.read():
        assert len(batch) <= 500
        found += [one["seq"] for one in batch]
        tail.acknowledge(batch[-1]["seq"])
    assert found == list(range(1, 1301))
