# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheel: one installation is a working server, with the collection that it runs, and without a checkout around."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest

from scripts.link_collection import CHECKOUT
from tests.webui.support_server import Server

pytestmark = pytest.mark.slow

COLLECTION = "crosshost_webui/collection/ansible_collections/crosshost/network/"
BIN = Path(sys.executable).parent


def run(*argv: str | Path, cwd: Path | None = None, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    ended = subprocess.run(
        argv, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this checkout."""
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", target, cwd=CHECKOUT / "webui")
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtualenv with the wheel in it; what it depends on comes from the one of the checkout, so that nothing is fetched."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    run(
        sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "--no-deps", "--no-index",
        "--disable-pip-version-check", wheel,
    )  # fmt: skip
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return venv


def names(wheel: Path) -> dict[str, str]:
    """SHA-256 of each file by its name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_it_holds_the_collection_and_no_more(wheel: Path) -> None:
    found = {name.removeprefix(COLLECTION) for name in names(wheel) if name.startswith(COLLECTION)}
    assert {name.split("/")[0] for name in found} == {
        "LICENSE", "README.md", "galaxy.yml", "meta", "playbooks", "plugins", "roles",
    }  # fmt: skip
    wanted = {
        str(path.relative_to(CHECKOUT))
        for part in ("meta", "playbooks", "plugins", "roles")
        for path in (CHECKOUT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "molecule" not in path.parts
    }
    assert wanted <= found
    assert [
        name for name in found if "__pycache__" in name or "molecule" in name or name.endswith(".pyc")
    ] == []


def test_it_holds_all_of_the_package(wheel: Path) -> None:
    package = CHECKOUT / "webui" / "crosshost_webui"
    wanted = {
        f"crosshost_webui/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= set(names(wheel))


def test_a_wheel_of_the_source_distribution_is_the_same(built: Path, wheel: Path, tmp_path: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    shutil.unpack_archive(source, tmp_path)
    (folder,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=folder)
    (again,) = (tmp_path / "again").iterdir()
    assert again.name == wheel.name
    ours, theirs = names(wheel), names(again)
    record = next(name for name in ours if name.endswith("/RECORD"))
    # the same lines, though in another order: the files come in another way
    del ours[record], theirs[record]
    assert theirs == ours


def test_it_serves_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    program = installed / "bin" / "crosshost-webui"
    (tmp_path / "empty").mkdir()
    version = run(program, "--version", cwd=tmp_path / "empty").split()[1]
    assert f"\nversion: {version}\n" in (CHECKOUT / "galaxy.yml").read_text()
    more = {"PYTHONPATH": "", "ANSIBLE_COLLECTIONS_PATH": ""}
    with Server(tmp_path / "data", argv=(str(program),), more=more) as server:
        assert httpx.get(f"{server.address}/healthz").text == "ok\n"
        found = httpx.get(f"{server.address}/sign-in")
        assert found.status_code == 200
        assert "stylesheet" in found.text
        assert server.stop() == 0
    assert not [line for line in server.log if "Traceback" in line]


def test_ansible_finds_the_playbooks_in_it(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed / "bin" / "python",
        "-c",
        "import crosshost_webui.collection as c; print(c.collections_path())",
        cwd=tmp_path,
    ).strip()
    assert Path(where).is_relative_to(installed)
    listed = run(
        BIN / "ansible-playbook", "-i", "h1,", "--list-tasks", "crosshost.network.site", cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=where, LC_ALL="C.UTF-8", ANSIBLE_HOME=str(tmp_path / "ansible"),
    )  # fmt: skip
    assert listed.count("TAGS: [") > 5
    shutil.rmtree(tmp_path / "ansible", ignore_errors=True)
