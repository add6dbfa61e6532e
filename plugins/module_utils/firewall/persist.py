# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the rules of the nftables and iptables backends back at boot.

A unit of our own, not a line in /etc/nftables.conf: that file is the operator's, and its usual first line flushes
every table. The unit is part of the services that flush, so that their restart and their reload load ours again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .model import STATE_DIR, Host, Op, run_op

UNIT_DIR = "/etc/systemd/system"
NFT_FILE = f"{STATE_DIR}/firewall_ports.nft"
IPTABLES_FILES = {4: f"{STATE_DIR}/firewall_ports.rules4", 6: f"{STATE_DIR}/firewall_ports.rules6"}
FORWARD_FILES = {4: f"{STATE_DIR}/firewall_ports.forward4", 6: f"{STATE_DIR}/firewall_ports.forward6"}
# Services that flush what others have in iptables' tables when they start, restart or reload.
_FLUSHING = "netfilter-persistent.service iptables.service ip6tables.service"

_HEAD = """# SPDX-License-Identifier: GPL-3.0-or-later
# Written by crosshost.network.firewall_ports; changes are overwritten.
[Unit]
Description=Crosshost: {what}
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
After={after}
PartOf={after}
ReloadPropagatedFrom={after}
RequiresMountsFor={state_dir}

[Service]
Type=oneshot
RemainAfterExit=yes
"""
_PORTS, _FORWARDS = "ports between the hosts", "forwarded traffic past the firewall"
_TAIL = """
[Install]
WantedBy=sysinit.target
"""


def unit_name(backend: str) -> str:
    """One unit a backend: when the host moves from one to the other, both exist for a moment."""
    return f"crosshost-ports-{backend}.service"


class Files(NamedTuple):
    """The files of ours: path to text. `link`: the unit is enabled; `active`: systemd has it running.

    `unit` and `live` are circumstances: whether the host has systemd's tool, and whether systemd runs now.
    """

    name: str
    texts: Mapping[str, str]
    link: bool
    active: bool
    unit: bool
    live: bool

    @property
    def unit_path(self) -> str:
        return f"{UNIT_DIR}/{self.name}"

    @property
    def link_path(self) -> str:
        return f"{UNIT_DIR}/sysinit.target.wants/{self.name}"


def blank(backend: str) -> Files:
    """A host with a running systemd that holds nothing of ours."""
    return Files(unit_name(backend), {}, False, False, True, True)


def _commands(programs: Sequence[str]) -> str:
    """Start and reload do the same, and both begin from nothing: what they load replaces what is there."""
    return "".join(f"Exec{word}={line}\n" for word in ("Start", "Reload") for line in programs)


def _head(after: str, what: str) -> str:
    return _HEAD.format(after=after, what=what, state_dir=STATE_DIR)


def nft_unit() -> str:
    body = _commands([f"/usr/sbin/nft -f {NFT_FILE}"])
    return _head("nftables.service", _PORTS) + body + _TAIL


def iptables_unit(families: Sequence[int], chain: str, comment: str) -> str:
    """iptables-restore cannot "insert unless there": the jump is taken out first, which may fail.

    `--wait=60`, as a bare `-w` takes the file's name for its seconds and then loads nothing, with success.
    """
    lines: list[str] = []
    for family in families:
        program = "ip6tables" if family == 6 else "iptables"
        lines.append(f"-/usr/sbin/{program} -w -D INPUT -m comment --comment {comment} -j {chain}")
        lines.append(f"/usr/sbin/{program}-restore --noflush --wait=60 {IPTABLES_FILES[family]}")
    return _head(_FLUSHING, _PORTS) + _commands(lines) + _TAIL


def nft_forward_unit(paths: Sequence[str]) -> str:
    """Each file may fail: its table may be gone from the operator's rules, or ours may be in it already."""
    body = _commands([f"-/usr/sbin/nft -f {path}" for path in paths])
    return _head(f"{_FLUSHING} nftables.service", _FORWARDS) + body + _TAIL


def iptables_forward_unit(targets: Mapping[int, str], chain: str, comment: str) -> str:
    """`targets`: family to the chain that leads to ours. At boot it may have to be made: DOCKER-USER is there only
    once dockerd has started, which then keeps what it finds in it."""
    lines: list[str] = []
    for family, target in sorted(targets.items()):
        program = "ip6tables" if family == 6 else "iptables"
        lines += [f"-/usr/sbin/{program} -w -N {target}"] if target != "FORWARD" else []
        lines.append(f"-/usr/sbin/{program} -w -D {target} -m comment --comment {comment} -j {chain}")
        lines.append(f"/usr/sbin/{program}-restore --noflush --wait=60 {FORWARD_FILES[family]}")
    return _head(f"{_FLUSHING} nftables.service ufw.service", _FORWARDS) + _commands(lines) + _TAIL


def observe(host: Host, backend: str, paths: Sequence[str]) -> Files:
    """`paths`: the rule files that the backend would write."""
    unit, live = host.has("systemctl"), host.exists("/run/systemd/system")
    files = Files(unit_name(backend), {}, False, False, unit, live)
    texts: dict[str, str] = {}
    for path in (*paths, files.unit_path):
        text = host.read(path)
        if text is not None:
            texts[path] = text
    active = (
        live
        and unit
        and files.unit_path in texts
        and host.attempt("systemctl", "is-active", "-q", files.name)[0] == 0
    )
    return files._replace(texts=texts, link=host.exists(files.link_path), active=active)


def goal(now: Files, rules: Mapping[str, str], unit: str) -> Files:
    """The files that hold `rules` (path to text); without rules none are left."""
    if not rules:
        return now._replace(texts={}, link=False, active=False)
    texts = dict(rules)
    if now.unit:
        texts[now.unit_path] = unit
    return now._replace(texts=texts, link=now.unit, active=now.unit and now.live)


def plan(now: Files, then: Files) -> list[Op]:
    ops: list[Op] = []
    if now.active and not then.active and now.live:
        ops.append(run_op("systemctl", "stop", now.name))
    if now.link and not then.link:
        ops.append(Op("remove", path=now.link_path))
    ops += [Op("remove", path=p) for p in sorted(now.texts) if p not in then.texts]
    ops += [
        Op("write", path=p, text=then.texts[p])
        for p in sorted(then.texts)
        if now.texts.get(p) != then.texts[p]
    ]
    if then.link and not now.link:
        ops.append(Op("link", path=now.link_path, text=now.unit_path))
    touched = now.texts.get(now.unit_path) != then.texts.get(now.unit_path) or now.link != then.link
    if touched and now.live and now.unit:
        ops.append(run_op("systemctl", "daemon-reload"))
    if then.active and not now.active and then.live:
        # Loads what the plan has just written, and makes systemd propagate the restart of the flushing service.
        ops.append(run_op("systemctl", "start", now.name))
    return ops


def describe(files: Files) -> list[str]:
    lines = [f"file {path}" for path in sorted(files.texts)]
    return [*lines, f"unit {files.name} enabled"] if files.link else lines


def warning(files: Files) -> list[str]:
    if files.unit:
        return []
    return [
        f"This host has no systemctl: load {STATE_DIR}/firewall_ports.* at boot yourself, or run the play again."
    ]
