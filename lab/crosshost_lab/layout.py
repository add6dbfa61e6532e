# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, addresses and paths of a lab: pure, the one place that knows the address plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

MAX_HOSTS = 20
DEFAULT_MTU = 1500
# The IPv6 minimum link MTU (RFC 8200 section 5), and the largest that Linux gives a veth.
MTU_RANGE = (1280, 65535)
SWITCH_BRIDGES = ("mgmt", "data")
OUTSIDE = "outside"
OUTSIDE_ADDRESSES = ("203.0.113.10/24", "2001:db8:113::10/64")
OUTSIDE_GATEWAYS = ("203.0.113.1", "2001:db8:113::1")
_NETWORK_OCTET = {"mgmt": 97, "data": 98}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,9}")
_RESERVED_NAME = re.compile(r"cache|.*-out|.*-h[0-9]+")
_HOST = re.compile(r"h([1-9][0-9]?)")


class LabError(Exception):
    """What went wrong, in one line that names the remedy. `exit_code`: 2 for bad input, 1 for a failure."""

    exit_code = 1


class UsageError(LabError):
    """Bad input."""

    exit_code = 2


def address(bridge: str, number: int) -> str:
    """IPv4 address of host `number` (254: the switch) on `bridge` ("mgmt" or "data"), without prefix length."""
    return f"10.{_NETWORK_OCTET[bridge]}.0.{number}"


def address6(bridge: str, number: int) -> str:
    """IPv6 address of host `number` (254: the switch) on `bridge`, without prefix length."""
    return f"fd{_NETWORK_OCTET[bridge]}::{number}"


def subnets(bridge: str) -> list[str]:
    """The IPv4 and the IPv6 subnet of `bridge`."""
    octet = _NETWORK_OCTET[bridge]
    return [f"10.{octet}.0.0/24", f"fd{octet}::/64"]


def mac(bridge: str, number: int) -> str:
    """Locally administered MAC address; fixed, so that a reboot does not look like a new machine."""
    return f"02:78:68:{_NETWORK_OCTET[bridge]:02x}:00:{number:02x}"


@dataclass(frozen=True)
class Host:
    """Host `number` (1..20) of a lab."""

    lab: Lab
    number: int

    @property
    def name(self) -> str:
        return f"h{self.number}"

    @property
    def netns(self) -> str:
        """Name of the host's network namespace; also nspawn's machine name."""
        return f"{self.lab.switch}-{self.name}"

    @property
    def folder(self) -> Path:
        return self.lab.folder / "hosts" / self.name

    @property
    def upper(self) -> Path:
        """The host's own disk: what differs from the root file system."""
        return self.folder / "upper"

    @property
    def merged(self) -> Path:
        return self.folder / "merged"

    @property
    def log(self) -> Path:
        return self.lab.folder / "logs" / f"{self.name}.log"

    def port(self, bridge: str) -> str:
        """Name of the switch's port for this host on `bridge`."""
        return f"{self.name}-{bridge}"


@dataclass(frozen=True)
class Lab:
    """A lab of the checkout `checkout`, by its validated name."""

    checkout: Path
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"--name {self.name!r}: use 1 to 10 of a-z, 0-9 and -, starting with a letter")
        if _RESERVED_NAME.fullmatch(self.name):
            raise UsageError(
                f"--name {self.name!r}: is like the name of a part of another lab; do not end it in -out or "
                "-h<number>, nor call it cache"
            )

    @property
    def base(self) -> Path:
        return self.checkout / ".lab"

    @property
    def cache(self) -> Path:
        return self.base / "cache"

    @property
    def folder(self) -> Path:
        return self.base / self.name

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    @property
    def ssh(self) -> Path:
        return self.folder / "ssh"

    @property
    def inventory(self) -> Path:
        """Where the inventory is written: `lab/inventory.yml` for the lab named demo."""
        if self.name == "demo":
            return self.checkout / "lab" / "inventory.yml"
        return self.folder / "inventory.yml"

    @property
    def switch(self) -> str:
        """Name of the switch's network namespace."""
        return f"xhlab-{self.name}"

    @property
    def outside(self) -> str:
        """Name of the network namespace of the machine outside of the lab."""
        return f"{self.switch}-out"

    @property
    def run(self) -> Path:
        """Folder of sockets: a path under .lab could pass the 107 bytes that a Unix socket's path may have."""
        return Path("/run") / self.switch

    @property
    def script(self) -> Path:
        return self.checkout / "lab" / "lab"

    def host(self, number: int) -> Host:
        return Host(self, number)

    def hosts(self, count: int) -> list[Host]:
        return [self.host(number) for number in range(1, count + 1)]

    def namespaces(self) -> list[str]:
        """Every namespace name that this lab can own, hosts first."""
        return [host.netns for host in self.hosts(MAX_HOSTS)] + [self.outside, self.switch]


def host_count(text: str) -> int:
    """The value of --hosts: 1..20."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_HOSTS:
        raise UsageError(f"--hosts {text}: give a number from 1 to {MAX_HOSTS}")
    return int(text)


def mtu(text: str) -> int:
    """The value of --mtu, in bytes of an IP packet."""
    low, high = MTU_RANGE
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise UsageError(f"--mtu {text}: give a number of bytes from {low} to {high}")
    return int(text)


def host_number(name: str, count: int) -> int:
    """The number of host `name` in a lab of `count` hosts."""
    match: Optional[re.Match[str]] = _HOST.fullmatch(name)
    if match is None or int(match.group(1)) > count:
        hosts = "h1" if count == 1 else f"h1 to h{count}"
        raise UsageError(f"host {name!r}: the lab has {hosts}")
    return int(match.group(1))
