# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation that ansible-doc shows says of every option what the module's argument_spec says."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("[a-z]*.py"))
# host_view runs as an action plugin; its module holds the documentation alone
WITH_SPEC = [name for name in MODULES if name != "host_view"]


@functools.cache
def documented() -> dict[str, Any]:
    argv = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "-t", "module"]
    argv += [f"crosshost.network.{name}" for name in MODULES]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TakenError(Exception):
    """Carries an argument_spec out of a module's main()."""


def spec_of(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    module = importlib.import_module(f"ansible_collections.crosshost.network.plugins.modules.{name}")

    def take(**settings: Any) -> None:
        raise TakenError(settings)

    monkeypatch.setattr(module, "AnsibleModule", take)
    with pytest.raises(TakenError) as caught:
        module.main()
    settings: dict[str, Any] = caught.value.args[0]
    assert settings["supports_check_mode"] is True
    found: dict[str, Any] = settings["argument_spec"]
    return found


def compare(where: str, spec: dict[str, Any], docs: dict[str, Any]) -> list[str]:
    """What differs, as lines."""
    wrong = [f"{where}{name}: only in one of the two" for name in spec.keys() ^ docs.keys()]
    for name in spec.keys() & docs.keys():
        said, real = docs[name], spec[name]
        for field, absent in (("type", "str"), ("elements", None), ("default", None), ("required", False)):
            if said.get(field, absent) != real.get(field, absent):
                wrong.append(
                    f"{where}{name}: {field} is {real.get(field)!r}, documented as {said.get(field)!r}"
                )
        if list(said.get("choices", [])) != list(real.get("choices") or []):
            wrong.append(f"{where}{name}: the choices differ")
        wrong += compare(f"{where}{name}.", real.get("options", {}), said.get("suboptions", {}))
    return wrong


@pytest.mark.parametrize("name", WITH_SPEC)
def test_documentation_matches_the_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = documented()[f"crosshost.network.{name}"]["doc"]
    assert compare("", spec_of(name, monkeypatch), docs.get("options", {})) == []


@pytest.mark.parametrize("name", MODULES)
def test_documentation_is_whole(name: str) -> None:
    found = documented()[f"crosshost.network.{name}"]
    assert found["doc"]["short_description"] and found["doc"]["version_added"]
    assert {"check_mode", "diff_mode", "idempotent", "platform"} <= found["doc"]["attributes"].keys()
    assert f"crosshost.network.{name}:" in found["examples"]
    assert found["return"]


def test_a_difference_is_found() -> None:
    spec = {
        "config": {"type": "list", "elements": "dict", "options": {"mtu": {"type": "int"}}},
        "extra": {"type": "str"},
    }
    docs = {"config": {"type": "list", "elements": "dict", "suboptions": {"mtu": {"type": "str"}}}}
    assert len(compare("", spec, docs)) == 2
