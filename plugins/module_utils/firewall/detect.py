# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which firewall the host runs. Backends are imported when they are asked for: a host runs one of the four."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ..errors import HostError
from ..spec.firewall import BACKENDS, MODULE
from .model import Backend, Host

# What must be there for a backend, and what a distribution calls the package.
PROGRAMS: Mapping[str, tuple[str, str]] = {
    "firewalld": ("firewall-cmd", "firewalld"),
    "ufw": ("ufw", "ufw"),
    "nftables": ("nft", "nftables"),
    "iptables": ("iptables-restore", "iptables"),
}


def load(name: str, host: Host) -> Backend:
    """The backend of that name."""
    if name == "firewalld":
        from .firewalld import Firewalld

        return Firewalld(host)
    if name == "ufw":
        from .ufw import Ufw

        return Ufw(host)
    if name == "nftables":
        from .nftables import Nftables

        return Nftables(host)
    from .iptables import Iptables

    return Iptables(host)


def found(host: Host) -> Optional[str]:
    """The name of the backend that the host runs, None where it has no program for any."""
    if host.has("firewall-cmd"):
        from .firewalld_read import Daemon

        if Daemon(host).running():
            return "firewalld"
    if host.has("ufw"):
        from .ufw import enabled

        if enabled(host):
            return "ufw"
    return next((name for name in ("nftables", "iptables") if host.has(PROGRAMS[name][0])), None)


def choose(host: Host, asked: str) -> str:
    """The name of the backend: the one asked for if its program is there, else what the host runs.

    Raises HostError, which names the package that is missing.
    """
    if asked == "auto":
        name = found(host)
        if name is None:
            raise HostError(
                f"{MODULE}: backend 'auto': this host runs no firewall that could be told: install the package "
                "nftables (or one of firewalld, ufw, iptables)"
            )
        return name
    program, package = PROGRAMS[asked]
    if not host.has(program):
        raise HostError(
            f"{MODULE}: backend {asked!r}: this host has no {program}: "
            f"install the package {package}, or choose another backend"
        )
    return asked


def leftovers(host: Host, chosen: str) -> tuple[list[Backend], list[str]]:
    """The other backends that hold something of ours and can be changed, and warnings about those that cannot."""
    present: list[Backend] = []
    warnings: list[str] = []
    for name in BACKENDS:
        if name == chosen or not host.has(PROGRAMS[name][0]):
            continue
        backend = load(name, host)
        if not backend.present():
            continue
        if name == "firewalld":
            from .firewalld_read import Daemon

            if not Daemon(host).running():
                warnings.append(
                    "firewalld does not run, but its permanent configuration holds rules of crosshost: "
                    "they come into force when it is started; remove them with state deleted then."
                )
                continue
        present.append(backend)
    return present, warnings
