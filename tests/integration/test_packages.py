# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without pyroute2: the role installs the package, from a repository on the host's own disk."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAB = [str(ROOT / "lab" / "lab"), "--name", "t-pkg"]
PACKAGE = "python3-pyroute2"
# Ansible's apt module brings python3-apt itself, with what that needs
FETCHED = (PACKAGE, "python3-apt", "python-apt-common", "distro-info-data")
pytestmark = [pytest.mark.lab, pytest.mark.slow]
SITE = """
- hosts: crosshost
  gather_facts: false
  tasks:
    - name: The role alone
      ansible.builtin.import_role:
        name: crosshost.network.host
"""


def run(argv: list[str], given: bytes | None = None) -> str:
    done = subprocess.run(argv, input=given, capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, f"{argv}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode()


def on_host(*argv: str, given: bytes | None = None) -> str:
    return run([*LAB, "exec", "h1", *argv], given)


@pytest.fixture(scope="module", autouse=True)
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A lab host that has lost the package and knows one repository: a folder that holds it."""
    folder = tmp_path_factory.mktemp("packages")
    fetched = subprocess.run(
        ["apt-get", "-q", "download", *FETCHED], cwd=folder, capture_output=True, check=False
    )
    if fetched.returncode != 0:
        pytest.skip(f"{PACKAGE} cannot be fetched here: {fetched.stderr.decode().strip()[-200:]}")
    run([*LAB, "up", "--hosts", "1"])
    try:
        on_host("dpkg", "--purge", PACKAGE)
        on_host("mkdir", "-p", "/repository")
        entries = []
        for package in sorted(folder.glob("*.deb")):
            data = package.read_bytes()
            name = hashlib.sha256(data).hexdigest()
            on_host("dd", "status=none", f"of=/repository/{name}.deb", given=data)
            control = run(["dpkg-deb", "-f", str(package)]).strip()
            entries.append(f"{control}\nFilename: ./{name}.deb\nSize: {len(data)}\nSHA256: {name}\n")
        on_host("dd", "status=none", "of=/repository/Packages", given="\n".join(entries).encode())
        on_host("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*")
        on_host(
            "dd", "status=none", "of=/etc/apt/sources.list", given=b"deb [trusted=yes] file:/repository ./\n"
        )
        yield
    finally:
        run([*LAB, "down"])


def play(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    playbook = tmp_path / "role.yml"
    playbook.write_text(SITE)
    inventory = str(ROOT / ".lab" / "t-pkg" / "inventory.yml")
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory, str(playbook), *options]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)


def installed() -> bool:
    return (
        on_host("sh", "-c", f"dpkg-query -W -f '${{db:Status-Status}}' {PACKAGE} 2>/dev/null || true")
        == "installed"
    )


def test_role_installs_what_is_missing(tmp_path: Path) -> None:
    assert not installed()
    refused = play(tmp_path, "-e", "crosshost_install_packages=false")
    assert refused.returncode != 0 and PACKAGE in refused.stdout
    checked = play(tmp_path, "--check")
    assert checked.returncode == 0, checked.stdout
    assert not installed()
    done = play(tmp_path)
    assert done.returncode == 0, done.stdout
    assert installed()
    again = play(tmp_path)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout


def test_role_installs_without_package_lists(tmp_path: Path) -> None:
    on_host("dpkg", "--purge", PACKAGE)
    on_host("sh", "-c", "rm -rf /var/lib/apt/lists/*")
    done = play(tmp_path)
    assert done.returncode == 0, done.stdout
    assert installed()


def test_module_names_the_package_that_is_missing(tmp_path: Path) -> None:
    on_host("dpkg", "--purge", PACKAGE)
    before = on_host("ip", "-j", "link")
    task = {"hosts": "crosshost", "gather_facts": False, "tasks": []}
    config = [{"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 4101}]}]
    task["tasks"] = [
        {"crosshost.network.overlay_network": {"config": config, "data_path_address": "10.98.0.1"}}
    ]
    playbook = tmp_path / "module.yml"
    playbook.write_text(json.dumps([task]))
    inventory = str(ROOT / ".lab" / "t-pkg" / "inventory.yml")
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory, str(playbook)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert PACKAGE in done.stdout and "Traceback" not in done.stdout
    assert on_host("ip", "-j", "link") == before
