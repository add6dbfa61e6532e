# SPDX-License-Identifier: GPL-3.0-or-later
"""A container of a real Podman joins a network and leaves it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import HostError

from tests.support import engine
from tests.support.world import Host, world

pytestmark = [pytest.mark.root, pytest.mark.slow]
ROOTFS = "/run/podman-test/root"
ITEM = {
    "network": "web",
    "container": "pod1",
    "ip": "10.0.1.20",
    "ip6": "fd00:0:1::20",
    "default_route": False,
}


def start() -> None:
    """A container from a folder with busybox: no image and no registry are needed."""
    for folder in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        os.makedirs(f"{ROOTFS}/{folder}")
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(os.path.realpath(busybox), f"{ROOTFS}/bin/busybox")
    for name in ("sleep", "ip", "ping", "cat", "ls"):
        os.symlink("busybox", f"{ROOTFS}/bin/{name}")
    # runc, as crun refuses machines with both versions of control groups; limits below those of any machine
    argv = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "-d", "--name", "pod1"]
    argv += [
        "--network",
        "none",
        "--cap-add",
        "net_raw",
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=1024:1024",
    ]
    done = subprocess.run(
        [*argv, "--rootfs", ROOTFS, "sleep", "100000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def show(host: Host) -> str:
    return host.run("podman", "exec", "pod1", "ip", "addr")


def test_container_joins_and_leaves() -> None:
    lacking = [name for name in ("podman", "runc", "busybox") if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    engine.warm()
    subnets = [{"subnet": "10.0.1.0/24", "vni": 4101}, {"subnet": "fd00:0:1::/64"}]
    with world() as made:
        host = made[1]
        host.call(
            engine.overlays, [{"name": "web", "subnets": subnets}], "merged", {"data_path_address": host.vtep}
        )
        host.call(start)
        try:
            assert host.call(engine.endpoints, [ITEM]).changed
            assert not host.call(engine.endpoints, [ITEM]).changed
            assert "10.0.1.20/24" in show(host) and "fd00:0:1::20/64" in show(host)
            assert " 0% packet loss" in host.run("podman", "exec", "pod1", "ping", "-c1", "-W2", "10.0.1.1")
            pid = int(host.run("podman", "inspect", "--format", "{{.State.Pid}}", "pod1"))
            assert host.call(engine.resolv_conf, pid, "10.0.1.1") == ""
            assert "\nnameserver 10.0.1.1\n" in host.run("podman", "exec", "pod1", "cat", "/etc/resolv.conf")
            assert host.call(engine.resolv_conf, pid, "") == ""
            # with --network none Podman gives a container no such file
            assert "resolv.conf" not in host.run("podman", "exec", "pod1", "ls", "/etc")
            assert host.call(engine.endpoints, [ITEM], "deleted").changed
            assert "10.0.1.20" not in show(host)
        finally:
            host.run("podman", "rm", "-f", "-t", "0", "pod1")
        with pytest.raises(HostError, match=r"container 'pod1': .*start it first"):
            host.call(engine.endpoints, [ITEM])
