# SPDX-License-Identifier: GPL-3.0-or-later
"""What host_check reports, on a kernel that has things and one that has not."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import HostError
from ansible_collections.crosshost.network.plugins.module_utils.kernel import probe
from ansible_collections.crosshost.network.plugins.module_utils.kernel.netlink import NetlinkError
from ansible_collections.crosshost.network.plugins.modules import host_check


class Refusing:
    """A netlink socket that answers every message with one error."""

    def __init__(self, code: int) -> None:
        self._code = code

    def send(self, _messages: Any) -> None:
        raise NetlinkError(self._code, os.strerror(self._code), 0)


@pytest.mark.parametrize(
    ("code", "there"),
    [(errno.EOPNOTSUPP, False), (errno.ENODEV, False), (errno.EINVAL, True), (errno.EEXIST, True)],
)
def test_a_kind_of_link_is_there_unless_the_kernel_does_not_know_it(code: int, there: bool) -> None:
    assert probe._has_link_kind(Refusing(code), "vxlan") is there  # type: ignore[arg-type]


@pytest.mark.root
def test_features_of_this_kernel_leave_the_namespace_as_it_was() -> None:
    namespace, links = os.readlink("/proc/thread-self/ns/net"), sorted(os.listdir("/sys/class/net"))
    found = probe.features()
    assert set(found) == set(probe.FEATURES)
    assert found["bridge"] and found["veth"]
    assert os.readlink("/proc/thread-self/ns/net") == namespace
    assert sorted(os.listdir("/sys/class/net")) == links


@pytest.mark.root
def test_a_kind_that_no_kernel_has() -> None:
    with probe.netns.new():
        sock = probe.Socket()
    try:
        assert not probe._has_link_kind(sock, "nosuchkind")
    finally:
        sock.close()


def test_libraries_and_programs() -> None:
    assert probe.library("json") == ""  # of Python itself, without a version of its own
    assert probe.library("pytest")
    assert probe.library("no_such_library") is None
    assert probe.program("sh") and probe.program("no-such-program") is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"euid": 1000}, "become: true"),
        ({"features": {"vxlan": False, "bridge": True}}, "has no vxlan:"),
        ({"features": HostError("network namespaces: no")}, "network namespaces: no"),
        ({"version": (3, 8, 10)}, "3.9 or newer"),
        ({"sysfs": False}, "/sys is not mounted"),
    ],
)
def test_problems_name_a_remedy(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], word: str) -> None:
    real = os.path.isdir

    def features() -> dict[str, bool]:
        wanted = change.get("features", {})
        if isinstance(wanted, Exception):
            raise wanted
        return dict(wanted)

    monkeypatch.setattr(os, "geteuid", lambda: change.get("euid", 0))
    monkeypatch.setattr(probe, "features", features)
    monkeypatch.setattr(probe, "underlay", lambda: {"interfaces": [], "default": []})
    monkeypatch.setattr(host_check.sys, "version_info", change.get("version", (3, 11, 2)))
    monkeypatch.setattr(os.path, "isdir", lambda path: change.get("sysfs", real(path)))
    (problem,) = host_check.check()["problems"]
    assert word in problem and "\n" not in problem


def test_what_a_package_can_bring_is_missing_and_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(probe, "features", lambda: {"vxlan": True})
    monkeypatch.setattr(probe, "underlay", dict)
    monkeypatch.setattr(probe, "library", lambda _name: None)
    monkeypatch.setattr(probe, "program", lambda _name: None)
    found = host_check.check()
    assert (found["missing"], found["problems"], found["engines"]) == (
        ["pyroute2", "nft", "dnsmasq"],
        [],
        [],
    )


def test_what_is_recorded_is_told_by_the_names_of_its_modules(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_check, "STATE_DIR", str(tmp_path))
    assert host_check.recorded() == []
    for name in ("service.json", "endpoint.json", "endpoint.json.part", "note.txt"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    assert host_check.recorded() == ["endpoint", "service"]
    monkeypatch.setattr(host_check, "STATE_DIR", str(tmp_path / "nowhere"))
    assert host_check.recorded() == []


@pytest.mark.root
def test_routes_and_name_servers_are_told_but_for_our_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a namespace with a device of the host's, one of crosshost's by its alias, and a default route."""
    (tmp_path / "resolv.conf").write_text(
        "# nameserver 9.9.9.9\nnameserver 10.9.0.53\nnameserver fd00:9::53\nnameserver 10.9.0.53\nsearch x\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(probe.resolv, "HOSTS_OWN", str(tmp_path / "resolv.conf"))
    commands = (
        "link set lo up",
        "link add eth0 type bridge",
        "link add xb-own type bridge",
        "link set xb-own alias crosshost:own",
        "link set eth0 up",
        "link set xb-own up",
        "address add 10.9.0.2/24 dev eth0",
        "address add 10.10.0.1/24 dev xb-own",
        "-6 address add fd00:9::2/64 dev eth0 nodad",
        "route add 192.0.2.0/24 via 10.9.0.1",
        "route add default via 10.9.0.1",
        "route add blackhole 198.51.100.0/24",
        "route add 203.0.113.0/24 dev eth0 table 77",
    )
    found: list[dict[str, Any]] = []

    def inside() -> None:
        assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0  # CLONE_NEWNET
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        found.append(probe.underlay())

    # a thread's namespace ends with it
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(30)
    (told,) = found
    assert told["routes"] == ["10.9.0.0/24", "192.0.2.0/24", "fd00:9::/64"]
    assert told["nameservers"] == ["10.9.0.53", "fd00:9::53"]
    assert [one["name"] for one in told["interfaces"]] == ["eth0"]


def test_a_router_s_table_is_cut() -> None:
    class Route:
        def __init__(self, number: int) -> None:
            self.dst, self.dev = f"10.{number // 256}.{number % 256}.0/24", 1

    class View:
        by_index: ClassVar[dict[int, Any]] = {}
        routes: ClassVar[list[Route]] = [Route(number) for number in range(3000)]

    assert len(probe._routes(View())) == probe.ROUTES_MOST  # type: ignore[arg-type]


def test_a_host_without_resolv_conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probe.resolv, "HOSTS_OWN", str(tmp_path / "nowhere"))
    assert probe.resolv.listed() == []


def test_it_takes_no_library() -> None:
    """pyroute2 would cost more than all the rest, and may not be there yet."""
    code = "import sys; from ansible_collections.crosshost.network.plugins.module_utils.kernel import probe; print('pyroute2' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "False\n"
