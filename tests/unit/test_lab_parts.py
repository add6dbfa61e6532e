# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the lab that read what other programs print, and its helpers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crosshost_lab import cgroups, network, processes, rootfs, state, system
from crosshost_lab.layout import Lab, LabError

CHECKOUT = Path("/srv/crosshost")


def test_only_debians_own_archives_of_the_suite_are_used() -> None:
    rows = [
        "Debian|bookworm|http://a/debian/|bookworm|main",
        "Debian|bookworm|http://a/debian/|bookworm|main",
        "Debian|bookworm-security|http://a/sec/|bookworm-security|main",
        "Debian|trixie|http://a/debian/|trixie|main",
        "Debian Backports|bookworm-backports|http://a/debian/|bookworm-backports|main",
        "Somebody|bookworm|https://b/|stable|main",
    ]
    assert rootfs.debian_sources("\n".join(rows)) == [
        "deb http://a/debian/ bookworm main",
        "deb http://a/sec/ bookworm-security main",
    ]
    assert rootfs.debian_sources("") == []


def test_a_path_that_apt_cannot_use_is_refused_before_the_build(tmp_path: Path) -> None:
    checkout = tmp_path / "a b"
    with pytest.raises(LabError, match="move the checkout"):
        rootfs.ensure(Lab(checkout, "a"), print)
    assert not checkout.exists()


def test_recipe_hash_follows_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rootfs.recipe_hash()
    assert before == rootfs.recipe_hash()
    monkeypatch.setattr(rootfs, "PACKAGES", [*rootfs.PACKAGES, "less-is-more"])
    assert rootfs.recipe_hash() != before


def test_cuts_are_pairs_in_the_order_of_numbers() -> None:
    ports = [("h10-mgmt", "h2-mgmt"), ("h2-mgmt", "h10-mgmt"), ("h1-data", "h3-data")]
    elements = [{"concat": list(pair)} for pair in ports]
    listing = json.dumps({"nftables": [{"metainfo": {}}, {"set": {"name": "cut", "elem": elements}}]})
    assert network.parse_cuts(listing) == [("h1", "h3"), ("h2", "h10")]
    assert network.parse_cuts(json.dumps({"nftables": [{"set": {"name": "cut"}}]})) == []


def test_hierarchies_of_both_cgroup_versions() -> None:
    old = (
        "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "40 31 0:37 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,name=systemd\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    new = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate\n"
    assert cgroups.hierarchies(old) == [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]
    assert cgroups.hierarchies(new) == [Path("/sys/fs/cgroup")]


def test_processes_are_known_by_their_arguments() -> None:
    one, two = Lab(CHECKOUT, "a").host(1), Lab(CHECKOUT, "a").host(10)
    argv = ("/usr/bin/python3", *processes.supervisor_argv(one))
    assert processes.is_supervisor(argv, one) and processes.is_supervisor((*argv, "boot"), one)
    assert not processes.is_supervisor(argv, two)
    assert not processes.is_supervisor(argv, Lab(CHECKOUT, "b").host(1))
    assert not processes.is_supervisor(argv, Lab(Path("/other"), "a").host(1))
    nspawn = ("systemd-nspawn", "--quiet", f"--machine={one.netns}", f"--directory={one.merged}")
    assert processes.is_nspawn(nspawn, one) and not processes.is_nspawn(nspawn, two)
    assert not processes.is_nspawn(("vi", *nspawn[1:]), one) and not processes.is_nspawn((), one)


def test_kill_spares_a_process_that_only_has_the_number() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        now = processes.read(child.pid)
        assert now is not None and now.pid == child.pid
        processes.kill([processes.Process(now.pid, now.started - 1, now.argv)])
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
        processes.kill([now])
        assert child.wait(5) == -signal.SIGKILL
        processes.kill([now])  # gone: no error
    finally:
        child.kill()
        child.communicate()


def test_a_process_stays_the_same_when_it_becomes_another_program() -> None:
    before = processes.Process(7, 70, ("systemd-nspawn",))
    assert before == processes.Process(7, 70, ("/usr/lib/systemd/systemd",))
    assert before != processes.Process(7, 71, ("systemd-nspawn",))


def test_own_namespace_is_never_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.stat("/proc/self/ns/net")
    monkeypatch.setattr(processes, "netns_id", lambda _: (own.st_dev, own.st_ino))
    assert processes.inside(["xhlab-a"]) == []


def test_state_is_kept_and_damage_is_named(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "a")
    assert state.find(lab) is None
    with pytest.raises(LabError, match="is not up"):
        state.load(lab)
    kept = state.State(3, 9000, "rootfs-1")
    state.save(lab, kept)
    assert state.load(lab) == kept
    assert [path.name for path in lab.folder.iterdir()] == ["state.json"]
    lab.state_file.write_text("{")
    with pytest.raises(LabError, match="down"):
        state.find(lab)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(system, "PROGRAMS", {"sh": "dash", "no-such-program": "such-a-package"})
    with pytest.raises(LabError, match="apt-get install such-a-package`"):
        system.check_machine()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="root"):
        system.check_machine()


def test_run_reports_the_last_line_of_errors() -> None:
    with pytest.raises(LabError, match=r"failed \(3\): why$"):
        system.run([sys.executable, "-c", "import sys; print('x\\nwhy', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(LabError, match="No such file"):
        system.run(["/no/such/program"])
    with pytest.raises(LabError, match=r"more than 0.1 s"):
        system.run(["sleep", "5"], timeout=0.1)


def test_write_sets_the_mode_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "new" / "key"
    system.write(target, "one", 0o600)
    system.write(target, "two", 0o600)
    assert target.read_text() == "two" and target.stat().st_mode & 0o777 == 0o600
    assert list(target.parent.iterdir()) == [target]
