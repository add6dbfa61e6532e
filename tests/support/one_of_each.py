# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with one of each kind of object, and another declaration of each; and a private world that can be such a host
without systemd: a stand-in for systemctl remembers what it was told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome, converge
from ansible_collections.crosshost.network.plugins.module_utils.kernel import resolv
from ansible_collections.crosshost.network.plugins.module_utils.kinds.names import NamesKind

from . import engine, eye
from .child import system_call
from .scenarios import GWBRIDGE
from .world import command

Config = list[dict[str, Any]]
Declared = dict[str, Config]
DEFAULTS = {"data_path_address": "10.98.0.1"}


def names(config: Config, state: str) -> Outcome:
    return converge(NamesKind(), config, state)


def overlays(config: Config, state: str) -> Outcome:
    return engine.overlays(config, state, DEFAULTS)


# in the order in which a host's roles run them
RUNS = {
    "gwbridge": engine.gwbridges,
    "overlay_network": overlays,
    "bridge_network": engine.bridges,
    "macvlan": engine.macvlans,
    "endpoint": engine.endpoints,
    "service": engine.services,
    "ingress": engine.ingress,
    "names": names,
}

WEB = {
    "name": "web",
    "control_plane": "static",
    "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}],
    "endpoints": [{"ip": "10.50.0.99", "vtep": "10.98.0.2"}],
}
SHOP = {"name": "shop", "subnets": [{"subnet": "10.70.0.0/24"}, {"subnet": "fd70::/64"}]}
LAN = {
    "name": "lan",
    "parent": "eth1",
    "subnets": [{"subnet": "10.98.0.0/24", "gateway": "10.98.0.254", "ip_range": "10.98.0.128/25"}],
    "host_range": ["10.98.0.128/28"],
    "shim": "10.98.0.128",
}


def end(network: str, sandbox: str, **more: Any) -> dict[str, Any]:
    return {"network": network, "sandbox": sandbox, "create": True, **more}


ENDS = [
    *(
        end("web", f"t{n}", ip=f"10.50.0.{10 + n}", ip6=f"fd50::{10 + n}", publish=["9090:90"] * (n == 1))
        for n in (1, 2, 3)
    ),
    end("shop", "b", ip="10.70.0.2", ip6="fd70::2", publish=["8081:80", "5353:53/udp"]),
    end("lan", "b", gw_priority=1, interface="lan0"),
    end("lan", "m", ip="10.98.0.150"),
    {"network": "container:b", "sandbox": "shared", "create": True},
]
TASKS = [{"name": f"t{n}", "ip": f"10.50.0.{10 + n}", "ip6": f"fd50::{10 + n}"} for n in (1, 2, 3)]
SERVICE = {"network": "web", "name": "shop", "vip": "10.50.0.100", "vip6": "fd50::100", "tasks": TASKS}
NEAR = {"name": "web.t1", "sandbox": "t1", "ip": "10.255.0.101", "ip6": "fd55::101"}
FAR = {"ip": "10.255.0.102", "ip6": "fd55::102"}
PORT = {"published": 8080, "target": 80, "tasks": [{"ip": "10.255.0.101", "ip6": "fd55::101"}, FAR]}
INGRESS = {
    "subnets": [{"subnet": "10.255.0.0/24", "vni": 4096}, {"subnet": "fd55::/64"}],
    "address": "10.255.0.11",
    "address6": "fd55::11",
    "data_path_address": "10.98.0.1",
    "endpoints": [{**FAR, "vtep": "10.98.0.2"}],
    "legs": [NEAR],
    "ports": [PORT],
}
RECORDS = [{"name": f"t{n}", "addresses": [f"10.50.0.{10 + n}"]} for n in (1, 2, 3)]
NAMES = {"network": "web", "records": RECORDS, "upstream": ["10.98.0.2"]}
FULL: Declared = {
    "gwbridge": [GWBRIDGE],
    "overlay_network": [WEB],
    "bridge_network": [SHOP],
    "macvlan": [LAN],
    "endpoint": ENDS,
    "service": [SERVICE],
    "ingress": [INGRESS],
    "names": [NAMES],
}

# -- what each kind changes to: everything that can change in it does, and something comes and something goes

OTHER: Declared = {
    "bridge_network": [
        {**SHOP, "icc": False, "mtu": 1400, "host_ip": "10.98.0.1", "ip_masquerade": False},
        {"name": "back", "subnets": [{"subnet": "10.71.0.0/24"}], "internal": True},
    ],
    "macvlan": [
        {**LAN, "shim": "10.98.0.140", "host_range": ["10.98.0.144/28"], "promiscuous": True, "mtu": 1400}
    ],
    "endpoint": [
        end("web", "t1", ip="10.50.0.21", ip6="fd50::11"),
        end("web", "t2", ip="10.50.0.12", ip6="fd50::12", publish=["9090:91", "9091:91/udp"]),
        end("shop", "t3", ip="10.70.0.3", interface="shop", publish=["8081:80"]),
        end("shop", "b", ip="10.70.0.77", publish=["8082:80", "5353:53/udp"], gw_priority=2),
        end("lan", "b", interface="lan1"),
        end("lan", "n"),
        {"network": "none", "sandbox": "shared", "create": True},
    ],
    "service": [
        {**SERVICE, "vip6": "fd50::101", "affinity": "source", "tasks": [{**TASKS[0], "weight": 5}, TASKS[1]]},
        {**SERVICE, "name": "cart", "vip": "10.50.0.101", "vip6": "fd50::102", "tasks": []},
    ],
    "ingress": [
        {
            **INGRESS,
            "address": "10.255.0.12",
            "legs": [NEAR, {"name": "web.t2", "sandbox": "t2", "ip": "10.255.0.103", "ip6": "fd55::103"}],
            "ports": [
                {**PORT, "target": 81, "tasks": [{"ip": "10.255.0.103", "ip6": "fd55::103"}]},
                {**PORT, "published": 5354, "protocol": "udp"},
                {**PORT, "published": 8443, "keep_client_address": True, "local": [{"sandbox": "t1"}]},
            ],
        }
    ],
    "names": [{**NAMES, "records": [*RECORDS[1:], {"name": "db", "addresses": ["10.50.0.99"]}]}],
}  # fmt: skip


def bring(declared: Declared) -> list[str]:
    """The whole host to what is declared. Which kinds had something to do."""
    done = [kind for kind in reversed(RUNS) if kind not in declared and RUNS[kind]([], "overridden").changed]
    return done + [
        kind for kind, run in RUNS.items() if kind in declared and run(declared[kind], "overridden").changed
    ]


# -- a host without systemd

SYSTEMCTL = """#!/bin/sh
# a unit is running when there is a file of its name
cd /run/units || exit 1
case $1 in
start|restart) touch "$2" ;;
reload-or-restart) test -e "$2" ;;
stop) rm -f "$2" ;;
show) for unit in *@*; do
    test -e "$unit" && printf 'Id=%s\\nActiveState=active\\nMainPID=1\\nNetworkNamespacePath=\\n\\n' "$unit"
done ;;
esac
exit 0
"""
JOURNALCTL = "#!/bin/sh\necho nothing was said\n"


def own_system() -> None:
    """Programs of our own before the others, and an /etc of our own."""
    for folder in ("/run/units", "/run/programs", "/run/systemd/system", "/run/etc"):
        os.makedirs(folder)
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL), ("dnsmasq", "#!/bin/sh\n")):
        path = Path("/run/programs", name)
        path.write_text(text)
        path.chmod(0o755)
    command(["cp", "-a", "/etc/.", "/run/etc"])
    system_call("mount", b"/run/etc", b"/etc", None, 0x1000, None)


def with_programs() -> None:
    os.environ["PATH"] = f"/run/programs:{os.environ['PATH']}"
    resolv.own_files = lambda: iter(())  # the machine's processes are not this host's


# -- looking

SHARED = ("/run/crosshost", "/run/crosshost/dns")  # nothing minds when one is left empty
FOLDERS = ["/run/crosshost", "/run/systemd/system", "/run/units", "/etc/netns", "/var/lib/crosshost"]
SETTINGS = ("forwarding", "route_localnet", "disable_ipv6", "accept_ra", "proxy_arp", "rp_filter", "arp_ignore", "accept_local", "keep_addr_on_down")  # fmt: skip


def snapshot() -> set[eye.Fact]:
    """The kernel with all settings of devices, what it takes in, and every file."""
    found = eye.snapshot()
    for netns in ("", *sorted(os.listdir("/run/netns"))):
        found |= {("setting", netns, *line.split(":")) for line in _settings(netns)}
    for line in command(["ip", "-d", "-o", "link"]).splitlines():
        if "PROMISC" in line.split("<")[1].split(">")[0]:
            found.add(("promiscuous", line.split()[1]))
    return found | set(files())


def _settings(netns: str) -> list[str]:
    listed = "/proc/sys/net/ipv[46]/conf/*/"
    script = "grep -s '' /proc/sys/net/ipv4/ip_forward " + " ".join(f"{listed}{name}" for name in SETTINGS)
    inside = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
    return command([*inside, "sh", "-c", f"{script}; true"]).splitlines()


def files() -> Iterator[eye.Fact]:
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                yield "file", str(path), path.stat().st_mode, path.read_text()
            elif (
                str(path) not in SHARED and folder != "/etc/netns"
            ):  # whose an empty one is there, nobody knows
                yield "folder", str(path)
    for path in Path("/run").iterdir():
        if str(path) not in SHARED:
            yield "in /run", path.name
