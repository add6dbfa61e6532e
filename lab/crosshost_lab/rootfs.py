# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system that all hosts share: built once a recipe, with mmdebstrap, from the machine's own apt sources."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from .layout import Lab, LabError
from .system import attempt, last_line, locked, remove_tree, run, tool_path, words, write

SUITE = "bookworm"
PACKAGES = words(
    [
        "systemd systemd-sysv dbus iproute2 nftables python3 python3-pyroute2 openssh-server iputils-ping",
        "firewalld ufw iptables tcpdump iperf3 netcat-openbsd curl procps strace less dnsmasq-base bind9-dnsutils dnsperf",
    ]
)
ENABLED = ["systemd-networkd.service", "ssh.service"]
# firewalld is there for the tests that start it (ufw does nothing before `ufw enable`); the rest would disturb or slow a short-lived host.
DISABLED = ["firewalld.service", "iperf3.service", "systemd-networkd-wait-online.service"]
MASKED = words(
    [
        "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service",
        "fstrim.timer console-getty.service systemd-firstboot.service systemd-pcrphase.service",
        # Each watches a folder: the kernel gives all hosts together 128 inotify instances by default.
        "systemd-ask-password-console.path systemd-ask-password-wall.path",
        # The machine's own: a host has no use for them.
        "sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount sys-fs-fuse-connections.mount",
    ]
)
FILES = {
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\nForwardToConsole=no\n",
    # A unit that hangs at stop must not hold a reboot for the default 90 s.
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStopSec=10s\n",
    # There is no name server but the networks' own; ip-netns(8) mounts a sandbox's file over this one.
    "etc/resolv.conf": "# none\n",
    "etc/ssh/sshd_config.d/lab.conf": "PasswordAuthentication no\nUseDNS no\nMaxSessions 50\nMaxStartups 50\n",
}
_LEFT_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
# Counts the changes of build() itself, which the recipe's hash cannot see.
_REVISION = 2
# With blanks, quotes or the like in the path, apt fails to verify signatures and says so in misleading ways.
_APT_PATH = re.compile(r"[A-Za-z0-9/._+@~-]+")
# mmdebstrap mounts /proc, /sys and /dev below its target. In namespaces of its own a killed build leaves neither these
# nor a process; setpriv ends it together with a killed `lab up`.
_CONTAINED = words(["setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc"])
_FIELDS = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"


def recipe_hash() -> str:
    """12 hex digits that change when what is in the root file system changes."""
    recipe = [_REVISION, SUITE, PACKAGES, ENABLED, DISABLED, MASKED, FILES, _LEFT_OUT]
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def debian_sources(index_targets: str) -> list[str]:
    """The apt lines of Debian's own archives for SUITE, from apt's list of index targets; others are dropped."""
    lines: dict[str, None] = {}
    for row in index_targets.splitlines():
        origin, codename, uri, release, component = row.split("|")
        if origin == "Debian" and codename in (SUITE, SUITE + "-updates", SUITE + "-security"):
            lines[f"deb {uri} {release} {component}"] = None
    return list(lines)


def ensure(lab: Lab, say: Callable[[str], None]) -> Path:
    """The root file system's folder; builds it when it is not there. Two labs never build at the same time."""
    target = lab.cache / f"rootfs-{recipe_hash()}"
    if target.is_dir():
        return target
    if not _APT_PATH.fullmatch(str(lab.cache)):
        raise LabError(f"{lab.checkout}: apt needs a path of letters, digits and ._+@~-; move the checkout")
    with locked(lab.cache / "build.lock"):
        for rest in lab.cache.glob("build-*"):
            if rest.is_dir():
                remove_tree(rest)
        if not target.is_dir():
            say("building the root file system (once, half a minute)")
            _build(lab, target)
            _prune(lab, target)
    return target


def _build(lab: Lab, target: Path) -> None:
    draft = lab.cache / f"build-{os.getpid()}"
    log = lab.cache / "build.log"
    try:
        with log.open("w") as output:
            mmdebstrap(draft, PACKAGES, output.fileno())
        _customize(draft)
        draft.rename(target)
    except LabError as error:
        raise LabError(f"{error}: {last_line(log)}; see {log}") from None
    finally:
        remove_tree(draft)


def mmdebstrap(draft: Path, packages: Sequence[str], log: int) -> None:
    """Makes a root file system with these packages; what mmdebstrap says goes to the descriptor `log`."""
    listing = attempt(["apt-get", "indextargets", "--format", _FIELDS, "Created-By: Packages"])
    sources = debian_sources(listing.stdout) if listing.returncode == 0 else []
    argv = [*_CONTAINED, "mmdebstrap", "--variant=minbase", "--include=" + ",".join(packages)]
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    argv += [SUITE, str(draft)]
    if sources:
        argv.append("-")  # on a machine without Debian's archives mmdebstrap's own default serves
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log, env=_environment())
    try:
        child.communicate("".join(line + "\n" for line in sources).encode())
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.returncode != 0:
        raise LabError(f"mmdebstrap failed ({child.returncode})")


def _environment() -> dict[str, str]:
    """The environment with apt's proxy: mmdebstrap does not read the machine's apt configuration."""
    environment = dict(os.environ, PATH=tool_path(), LC_ALL="C.UTF-8")
    for scheme in ("http", "https"):
        name = f"Acquire::{scheme}::Proxy"
        reply = attempt(["apt-config", "--format", "%v", "dump", name])
        if reply.returncode == 0 and reply.stdout.strip():
            environment[scheme + "_proxy"] = reply.stdout.strip()
    return environment


def _customize(root: Path) -> None:
    for unit_action, units in (("enable", ENABLED), ("disable", DISABLED), ("mask", MASKED)):
        _systemctl(root, unit_action, units)
    # Each host gets its own; an archive's address is nothing for a host that has no way to it.
    for pattern in (
        "etc/ssh/ssh_host_*",
        "etc/apt/sources.list*",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/resolv.conf",
    ):
        for path in root.glob(pattern):
            remove_tree(path)
    for name, text in FILES.items():
        write(root / name, text)
    remove_tree(root / "var/lib/apt/lists")


def _systemctl(root: Path, action: str, units: Sequence[str]) -> None:
    run(["chroot", str(root), "systemctl", action, *units])


def _prune(lab: Lab, keep: Path) -> None:
    """Removes root file systems of older recipes that no lab is made of."""
    try:
        used = {str(json.loads(state.read_text())["rootfs"]) for state in lab.base.glob("*/state.json")}
    except (OSError, ValueError, KeyError):
        return
    used.add(keep.name)
    for path in lab.cache.glob("rootfs-*"):
        if path.name not in used:
            remove_tree(path)
