# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one host running: a process of its own, which outlives `lab up` and boots the host again after a reboot."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from . import cgroups, network, state
from .layout import Host
from .processes import supervisor_argv
from .system import mount_overlay, mount_tmpfs, private_mounts, tool_path

# With --keep-unit, systemd-nspawn ends with this code when its host rebooted, and leaves the rest to its caller.
_REBOOTED = 133
NSPAWN_RUN = Path("/run/systemd/nspawn")


def start(host: Host) -> None:
    """Starts the supervisor of `host` in a session of its own and returns at once."""
    with host.log.open("ab") as log:
        subprocess.Popen(
            [sys.executable, *supervisor_argv(host)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def supervise(host: Host) -> int:
    """The supervisor: boots `host` until it ends otherwise than by a reboot. Returns nspawn's exit code."""
    code = _REBOOTED
    while code == _REBOOTED:
        print("lab: {} boots at {}".format(host.name, time.strftime("%H:%M:%S")), flush=True)
        network.fresh_host(host, state.load(host.lab).mtu)
        code = subprocess.call([sys.executable, *supervisor_argv(host), "boot"], stdin=subprocess.DEVNULL)
    if code == 0:  # else nspawn has said why, and that is the line to be seen last
        print(f"lab: {host.name} was switched off", flush=True)
    return code


def boot(host: Host) -> None:
    """Becomes systemd-nspawn, with the host's disk mounted where only it sees it: no mount can be left over."""
    cgroups.enter(host)
    private_mounts()
    # Relative paths: mount options must fit a page, whatever the length of the checkout's path.
    os.chdir(str(host.lab.base))
    mount_overlay(
        "lowerdir=cache/{},upperdir={},workdir={}".format(
            state.load(host.lab).rootfs,
            host.upper.relative_to(host.lab.base),
            (host.folder / "work").relative_to(host.lab.base),
        ),
        host.merged,
    )
    # nspawn's locks and sockets: private too, or a killed nspawn leaves them.
    mount_tmpfs(NSPAWN_RUN)
    argv = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--capability=all",
        "--console=pipe",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        f"--machine={host.netns}",
        f"--hostname={host.name}",
        f"--directory={host.merged}",
        f"--network-namespace-path=/run/netns/{host.netns}",
    ]
    # Without this nspawn shows the machine's /sys/class/net, and /proc/sys/net read-only: it does both well only for a
    # namespace that it made itself, but such a one has no eth0 and eth1 of our making.
    environment = {"PATH": tool_path(), "LC_ALL": "C.UTF-8", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
    os.execvpe(argv[0], argv, environment)  # noqa: S606  (an argv list; a shell is what this check asks for)
