# SPDX-License-Identifier: GPL-3.0-or-later
"""The other side of the kernel figures: the same state, written by the batch modes of iproute2, and looking whether it is
the same. All of this runs inside a private world."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.compile.overlay import bridge_mac
from ansible_collections.crosshost.network.plugins.module_utils.resources import GROUP

from .figures import BenchError

VTEP = "10.98.0.1"
_INNER_MTU = 1450
# Counters and numbers that differ from one device to the next, and the MAC that a VXLAN device rolls for itself.
_FLEETING = frozenset({
    "ifindex", "gc_timer", "hello_timer", "tcn_timer", "topology_change_timer", "tcp_timer", "hold_timer",
    "message_age_timer", "forward_delay_timer", "link_index", "link_netnsid", "operstate", "txqlen",
})  # fmt: skip


def networks(count: int) -> list[dict[str, Any]]:
    """Declarations of networks of one subnet each."""
    return [
        {
            "name": f"n{place}",
            "subnets": [{"subnet": f"10.{100 + place // 256}.{place % 256}.0/24", "vni": 10000 + place}],
        }
        for place in range(count)
    ]


def write_script(config: Sequence[dict[str, Any]], folder: Path) -> list[str]:
    """Files for the networks of :func:`networks`, and the command that works through them.

    What one process can do is one batch: the namespaces, then the VXLAN devices, each made from the host's namespace.
    The rest is a batch a namespace. nsenter(1) enters it, not ``ip -n``, which makes a mount namespace each time
    and gets slower with every namespace that has a name.
    """
    folder.mkdir()
    spaces, tunnels, calls = [], [], []
    for item in config:
        name, subnet = item["name"], item["subnets"][0]
        vni, netns = subnet["vni"], f"xh-{name}"
        spaces.append(f"netns add {netns}")
        tunnels.append(
            f"link add vx{vni} netns {netns} group {GROUP} type vxlan id {vni} local {VTEP} dstport 4789 nolearning proxy"
        )
        (folder / netns).write_text(_inside(name, vni, subnet["subnet"].replace(".0/24", ".1/24")))
        calls.append(f"nsenter --net=/run/netns/{netns} ip -batch {folder / netns}")
    (folder / "host").write_text("\n".join([*spaces, *tunnels, ""]))
    script = folder / "script"
    script.write_text("\n".join(["set -e", f"ip -batch {folder / 'host'}", *calls, ""]))
    return ["/bin/sh", str(script)]


def _inside(name: str, vni: int, gateway: str) -> str:
    """A network's own batch. Each device is set up by as few lines as `ip link set` allows."""
    mac = bridge_mac(VTEP, vni)
    return (
        f"link set lo alias crosshost:{name} up\n"
        f"link add br{vni} group {GROUP} mtu {_INNER_MTU} address {mac} type bridge vlan_default_pvid 0 mcast_snooping 0\n"
        f"link set br{vni} alias crosshost:{name} up\n"
        f"link set vx{vni} alias crosshost:{name} mtu {_INNER_MTU} master br{vni}\n"
        f"link set vx{vni} type bridge_slave learning off\n"
        f"link set vx{vni} up\n"
        f"addr add {gateway} dev br{vni}\n"
    )


def endpoints(count: int) -> list[dict[str, str]]:
    """Endpoints of one /16 behind three other hosts."""
    return [
        {"ip": f"10.100.{place // 250}.{place % 250 + 2}", "vtep": f"10.98.0.{place % 3 + 2}"}
        for place in range(count)
    ]


def write_rows(ends: Sequence[dict[str, str]], dev: str, folder: Path) -> list[list[str]]:
    """Files with the rows of these endpoints, and the two commands that write them."""
    folder.mkdir()
    fdb, neighbours = [], []
    for end in ends:
        mac = bytes([2, 0x42, *map(int, end["ip"].split("."))]).hex(":")
        fdb.append(f"fdb replace {mac} dev {dev} dst {end['vtep']} self permanent\n")
        neighbours.append(f"neigh replace {end['ip']} lladdr {mac} dev {dev} nud permanent\n")
    (folder / "fdb").write_text("".join(fdb))
    (folder / "neigh").write_text("".join(neighbours))
    enter = ["nsenter", "--net=/run/netns/xh-big"]
    return [
        [*enter, "bridge", "-batch", str(folder / "fdb")],
        [*enter, "ip", "-batch", str(folder / "neigh")],
    ]


def run(argv: Sequence[str]) -> str:
    """The output of a command. BenchError when it fails."""
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv)}: {done.stderr.strip()[:300] or done.returncode}")
    return done.stdout


def state_of(netns: str) -> dict[str, list[Any]]:
    """What iproute2 shows of a namespace, without what differs between any two devices."""
    enter = ["nsenter", f"--net=/run/netns/{netns}"]
    shown = {
        "links": [*enter, "ip", "-details", "-json", "link"],
        "ports": [*enter, "bridge", "-details", "-json", "link"],
        "addresses": [*enter, "ip", "-json", "address"],
    }
    return {
        # the two sides make devices in different orders
        name: [_lasting(one) for one in sorted(json.loads(run(argv)), key=lambda one: str(one["ifname"]))]
        for name, argv in shown.items()
    }


def rows_of(netns: str) -> list[str]:
    """All permanent FDB rows and neighbours of a namespace, sorted."""
    enter = ["nsenter", f"--net=/run/netns/{netns}"]
    fdb = run([*enter, "bridge", "fdb"]).splitlines()
    neighbours = run([*enter, "ip", "neigh", "show", "nud", "permanent"]).splitlines()
    return sorted(line.strip() for line in fdb if " dst " in line) + sorted(map(str.strip, neighbours))


def _lasting(value: Any) -> Any:
    if isinstance(value, list):
        return [_lasting(one) for one in value if not (isinstance(one, dict) and one.get("scope") == "link")]
    if not isinstance(value, dict):
        return value
    rolled = {"address"} if str(value.get("ifname", "")).startswith("vx") else set()
    return {name: _lasting(one) for name, one in value.items() if name not in _FLEETING | rolled}


def first_difference(ours: Any, other: Any, where: str = "") -> str | None:
    """Where two states differ first, in words; None when they are the same."""
    if isinstance(ours, dict) and isinstance(other, dict):
        for name in [*ours, *(name for name in other if name not in ours)]:
            if name not in ours or name not in other:
                return f"{where}/{name}: only {'ours' if name in ours else 'the other'} has it"
            found = first_difference(ours[name], other[name], f"{where}/{name}")
            if found:
                return found
        return None
    if isinstance(ours, list) and isinstance(other, list) and len(ours) == len(other):
        for place, (one, two) in enumerate(zip(ours, other, strict=True)):
            found = first_difference(one, two, f"{where}[{place}]")
            if found:
                return found
        return None
    return None if ours == other else f"{where}: ours {str(ours)[:100]}, the other {str(other)[:100]}"
