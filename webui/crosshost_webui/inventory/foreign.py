# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign inventories as groups and hosts with their variables, read in a process of its own (child.py)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..db.base import Json
from ..web.problem import Invalid, TooLarge, Unavailable
from . import shape
from .emit import Group, Inventory

SECONDS = 90  # until the child is ended, whatever it waits for
FILE_MOST = 32 * 2**20  # bytes
OUTPUT_MOST = 64 * 2**20  # child.py has the same
AT_ONCE = 2  # children; each takes a processor and some memory
WAIT = 30  # seconds for a place among them
CHILD = Path(__file__).with_name("child.py")
FORMATS = {".yml": "yaml", ".yaml": "yaml", ".json": "yaml", ".toml": "toml", ".ini": "ini"}
_WARNINGS_MOST = 20
_UNSAFE = "__ansible_unsafe"
_places = threading.BoundedSemaphore(AT_ONCE)


class Read(NamedTuple):
    """What a source says. ``warnings``: Ansible's, a line each."""

    inventory: Inventory
    warnings: list[str]


def read_bytes(name: str, content: bytes) -> Read:
    """An inventory file that was sent; ``name``: what it was called, whose suffix says its format. Invalid says line and reason."""
    shown = shape.printable(Path(name.replace("\\", "/")).name)[:100] or "inventory"
    if len(content) > FILE_MOST:
        raise TooLarge(f"{shown}: it has {len(content)} bytes; {FILE_MOST} are taken at most")
    suffix = Path(shown).suffix.lower()
    if suffix == ".json":
        found = _listed(shown, content)
        if found is not None:
            return Read(_inventory(shown, found), [])
    with tempfile.TemporaryDirectory(prefix="crosshost-import-") as folder:
        file = Path(folder, "inventory").with_suffix(suffix if suffix in FORMATS else "")
        file.write_bytes(content)
        return _read(file, shown)


def read_path(path: Path) -> Read:
    """An inventory file, or a folder with one or more and their group_vars and host_vars. For the command line alone: a server
    would read what its user may."""
    if not path.exists():
        raise Invalid(f"{path}: there is no such file or folder")
    if path.is_file() and path.suffix.lower() == ".json":
        found = _listed(str(path), path.read_bytes())
        if found is not None:
            return Read(_inventory(str(path), found), [])
    return _read(path.resolve(), str(path))


def _listed(shown: str, content: bytes) -> Json | None:
    """What `ansible-inventory --list --export` has printed, or None if it is another JSON file."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise _malformed(shown, line, getattr(error, "msg", "it is no JSON")) from None
    return found if isinstance(found, dict) and "_meta" in found else None


def _read(path: Path, shown: str) -> Read:
    formats = FORMATS.get(path.suffix.lower(), "yaml,ini,toml") if path.is_file() else "yaml,ini,toml"
    if path.is_file() and not path.suffix and path.read_bytes()[:65536].lstrip().startswith(b"["):
        formats = "ini,yaml"
    if not _places.acquire(timeout=WAIT):
        raise Unavailable(f"{shown}: other inventories are being read; try again in a moment")
    try:
        with tempfile.TemporaryDirectory(prefix="crosshost-ansible-") as home:
            code, out, errors = _run([str(path), formats], home)
    finally:
        _places.release()
    if code == 0:
        try:
            found = json.loads(out)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return Read(_inventory(shown, found), _warnings(errors, path, shown))
    raise _failure(code, errors, path, shown)


def _run(arguments: list[str], home: str) -> tuple[int, bytes, str]:
    Path(home, "ansible.cfg").touch(mode=0o600)
    environment = {
        "PATH": os.defpath, "HOME": home, "LC_ALL": "C.UTF-8", "ANSIBLE_HOME": home, "ANSIBLE_LOCAL_TEMP": home,
        "ANSIBLE_CONFIG": str(Path(home, "ansible.cfg")), "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": home, "ANSIBLE_VARS_ENABLED": "host_group_vars",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-I", str(CHILD), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
            env=environment, cwd=home, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            code = -signal.SIGXCPU
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return code, _content(out), _content(errors).decode("utf-8", "replace")


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(OUTPUT_MOST)


def _failure(code: int, errors: str, path: Path, shown: str) -> Invalid:
    if code < 0:
        why = (
            "takes too long"
            if code in (-signal.SIGXCPU, -signal.SIGKILL)
            else "failed, it may be nested too deep"
        )
        return Invalid(f"{shown}: reading it {why}; take it apart")
    lines = errors.strip().splitlines()
    found: Mapping[str, Any] = {}
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        found = {}
    reason = str(found.get("reason") or "")
    line = found.get("line")
    file = str(found.get("file") or path)
    if not reason or reason.startswith("Completely failed"):
        reason, where = _told(errors)
        file, line = where or (file, line)
    name = shown if path.is_file() else str(Path(file)).replace(str(path), shown, 1)
    if "Plugin configuration" in errors or (os.access(path, os.X_OK) and path.is_file()):
        reason += "; scripts and plugins are not run here: import what `ansible-inventory --list --export` prints, as a .json file"
    if "vault" in reason.lower():
        reason += "; a file that is encrypted as a whole cannot be read here: encrypt single values"
    return _malformed(name, line if isinstance(line, int) else None, reason.replace(str(path), shown))


def _told(errors: str) -> tuple[str, tuple[str, int] | None]:
    """The reason out of Ansible's messages, and the place if it names one."""
    reasons = re.findall(r"^\[(?:ERROR|WARNING)\]: (.+)$", errors, re.MULTILINE)
    chosen = next((one for one in reasons if "Completely failed" not in one), "it is no inventory")
    place = re.search(r"^Origin: (\S+?):(\d+)(?::\d+)?$", errors, re.MULTILINE)
    chosen = re.sub(r"^Failed to parse inventory with '\w+' plugin: ", "", chosen)
    chosen = re.sub(r"<class '[\w.]*?(?:_AnsibleTagged)?(\w+)'>", lambda found: found[1].lower(), chosen)
    return chosen, (place[1], int(place[2])) if place else None


def _malformed(shown: str, line: int | None, reason: str) -> Invalid:
    told = shape.printable(" ".join(reason.split()))[:600]
    place = f"line {line}: {told}" if line else told
    return Invalid(f"{shown}: {place}", {"file": place})


def _warnings(errors: str, path: Path, shown: str) -> list[str]:
    found = re.findall(r"^\[WARNING\]: (.+)$", errors, re.MULTILINE)
    return [shape.printable(one.replace(str(path), shown))[:300] for one in found[:_WARNINGS_MOST]]


def _inventory(shown: str, listed: Json) -> Inventory:
    """The groups and hosts of a `--list`."""
    found = _decoded(listed)
    meta = found.pop("_meta", {})
    hostvars = meta.get("hostvars", {}) if isinstance(meta, dict) else {}
    groups: dict[str, Group] = {"all": Group([], [], {})}
    hosts: dict[str, Json] = {}
    for name, raw in found.items():
        whole = raw if isinstance(raw, dict) else {"hosts": raw}
        mine = Group(_texts(whole.get("hosts")), _texts(whole.get("children")), _mapping(whole.get("vars")))
        hosts.update((host, {}) for host in mine.hosts)
        if name == "all":
            groups["all"] = Group([], [], mine.variables)
        elif name != "ungrouped":
            groups[name] = mine._replace(children=[one for one in mine.children if one != "ungrouped"])
        # a group without anything is named by its parent alone
        for child in mine.children:
            if child not in found and child not in ("all", "ungrouped"):
                groups.setdefault(child, Group([], [], {}))
    hosts.update((host, _mapping(variables)) for host, variables in _mapping(hostvars).items())
    if not hosts:
        raise Invalid(f"{shown}: it has no hosts; is it an inventory?", {"file": "it has no hosts"})
    return Inventory(groups, hosts)


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | dict) else []


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _decoded(value: Any) -> Any:
    """Without Ansible's marks of what must not be evaluated: here nothing is."""
    if isinstance(value, dict):
        if value.keys() == {_UNSAFE} and isinstance(value[_UNSAFE], str):
            return value[_UNSAFE]
        return {key: _decoded(inner) for key, inner in value.items()}
    return [_decoded(one) for one in value] if isinstance(value, list) else value
