# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: a switch, the machine outside of the lab, the hosts' links. All in namespaces of the lab."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from .layout import (
    DEFAULT_MTU,
    OUTSIDE_ADDRESSES,
    OUTSIDE_GATEWAYS,
    SWITCH_BRIDGES,
    Host,
    Lab,
    LabError,
    address,
    address6,
    mac,
    subnets,
)
from .processes import netns_id
from .system import attempt, run

# mgmt and data are two networks: the switch routes each to the outside, never one to the other. `cut` holds pairs of
# ports between which nothing passes.
_RULES = """
table inet xhlab {
  chain forward {
    type filter hook forward priority 0;
    iifname "mgmt" oifname "data" drop
    iifname "data" oifname "mgmt" drop
  }
}
table bridge xhlab {
  set cut { type ifname . ifname; }
  chain forward {
    type filter hook forward priority 0;
    iifname . oifname @cut drop
  }
}
"""
# A new namespace inherits these from the machine: where that one forwards, a host would without being told to.
_INHERITED = (
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
    "ipv4/conf/all/rp_filter",
    "ipv4/conf/default/rp_filter",
)
Pair = tuple[str, str]


def batch(netns: str, lines: list[str]) -> None:
    """Runs lines of ip(8) in the network namespace `netns`."""
    run(["ip", "-n", netns, "-batch", "-"], "".join(line + "\n" for line in lines))


def _set(netns: str, names: Sequence[str], value: str) -> None:
    """Sets values below /proc/sys/net of the network namespace `netns`."""
    run(["ip", "netns", "exec", netns, "tee", *(f"/proc/sys/net/{name}" for name in names)], value + "\n")


def create_switch(lab: Lab, data_mtu: int) -> None:
    """Makes the switch and the outside. The machine's own namespace gets nothing."""
    for name in (lab.switch, lab.outside):
        run(["ip", "netns", "add", name])
    mtus = {"mgmt": DEFAULT_MTU, "data": data_mtu}
    lines = ["link set lo up"]
    for bridge in SWITCH_BRIDGES:
        lines += [
            f"link add {bridge} mtu {mtus[bridge]} type bridge stp_state 0 forward_delay 0",
            f"addr add {address(bridge, 254)}/24 dev {bridge}",
            f"addr add {address6(bridge, 254)}/64 dev {bridge} nodad",
            f"link set {bridge} up",
        ]
    lines += [
        f"link add outside type veth peer name eth0 netns {lab.outside}",
        f"addr add {OUTSIDE_GATEWAYS[0]}/24 dev outside",
        f"addr add {OUTSIDE_GATEWAYS[1]}/64 dev outside nodad",
        "link set outside up",
    ]
    batch(lab.switch, lines)
    batch(lab.outside, _outside_lines())
    _set(lab.switch, ("ipv4/ip_forward", "ipv6/conf/all/forwarding"), "1")
    _nft(lab, ["-f", "-"], _RULES)


def _outside_lines() -> list[str]:
    """The outside has routes to the lab's own ranges only: what leaves a host with another source gets no answer."""
    lines = ["link set lo up", "link set eth0 up"]
    for index, outside in enumerate(OUTSIDE_ADDRESSES):
        lines.append("addr add {} dev eth0{}".format(outside, " nodad" if index else ""))
    for bridge in SWITCH_BRIDGES:
        for index, subnet in enumerate(subnets(bridge)):
            lines.append(f"route add {subnet} via {OUTSIDE_GATEWAYS[index]}")
    return lines


def fresh_host(host: Host, data_mtu: int) -> None:
    """Gives `host` a new network namespace with new links, as a machine that was switched off and on has."""
    remove_host(host)
    run(["ip", "netns", "add", host.netns])
    mtus = {"mgmt": DEFAULT_MTU, "data": data_mtu}
    lines = []
    for bridge, name in zip(SWITCH_BRIDGES, ("eth0", "eth1")):
        port, size = host.port(bridge), mtus[bridge]
        lines += [
            f"link add {port} mtu {size} type veth peer name {name} address {mac(bridge, host.number)} mtu {size} netns {host.netns}",
            f"link set {port} master {bridge} up",
        ]
    batch(host.lab.switch, lines)
    _set(host.netns, _INHERITED, "0")


def remove_host(host: Host) -> None:
    """Removes the namespace of `host` and its links, at once: the kernel removes a namespace only later."""
    if netns_id(host.lab.switch) is not None:
        for bridge in SWITCH_BRIDGES:
            attempt(["ip", "-n", host.lab.switch, "link", "del", host.port(bridge)])
    _remove_namespace(host.netns)


def remove_all(lab: Lab) -> None:
    """Removes every namespace of `lab`, and with them every link, address, route and rule."""
    for name in lab.namespaces():
        _remove_namespace(name)


def _remove_namespace(name: str) -> None:
    deadline = time.monotonic() + 5
    while netns_id(name) is not None:
        reply = attempt(["ip", "netns", "del", name])
        if reply.returncode != 0 and time.monotonic() > deadline:
            raise LabError(f"network namespace {name}: {reply.stderr.strip()}")


def _nft(lab: Lab, arguments: list[str], stdin: str = "") -> str:
    return run(["ip", "netns", "exec", lab.switch, "nft", *arguments], stdin)


def cut(lab: Lab, one: Host, other: Host) -> None:
    """Drops all between two hosts, on both bridges, both ways."""
    pairs = []
    for bridge in SWITCH_BRIDGES:
        a, b = one.port(bridge), other.port(bridge)
        pairs += [f'"{a}" . "{b}"', f'"{b}" . "{a}"']
    _nft(lab, ["-f", "-"], "add element bridge xhlab cut {{ {} }}\n".format(", ".join(pairs)))


def heal(lab: Lab) -> None:
    """Ends all partitions."""
    _nft(lab, ["flush", "set", "bridge", "xhlab", "cut"])


def cuts(lab: Lab) -> list[Pair]:
    """The pairs of host names that are cut off from each other, as the switch has them."""
    return parse_cuts(_nft(lab, ["-j", "list", "set", "bridge", "xhlab", "cut"]))


def parse_cuts(listing: str) -> list[Pair]:
    """Pairs of host names, sorted by number, from nft's JSON of the set `cut`."""
    pairs: set[Pair] = set()
    for item in json.loads(listing)["nftables"]:
        for element in item.get("set", {}).get("elem", []):
            names = [port.split("-")[0] for port in element["concat"]]
            first, second = sorted(names, key=lambda name: int(name[1:]))
            pairs.add((first, second))
    return sorted(pairs, key=lambda pair: (int(pair[0][1:]), int(pair[1][1:])))
