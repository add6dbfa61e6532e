# SPDX-License-Identifier: GPL-3.0-or-later
"""The routing mesh and the names, on the lab's hosts: throughput through a published port against the overlay, look-ups a
second, and how soon a change of a name is seen."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import yaml

from .figures import BenchError, Figure
from .hosts import HOSTS, Lab

_PORT = 5201
_SERVER = "ip netns exec mesh iperf3 --server --daemon --pidfile /run/iperf-mesh.pid\n"
_QUERIES = "mesh.app A\nweb A\ntasks.web A\nmesh A\nweb.app A\n11.72.1.10.in-addr.arpa PTR\n"
_FILE = "/run/bench-queries"
_ADDED = "added"
# On the host: wait for the name, then tell how long after the file was written it was answered first.
_WATCH = """
for _ in $(seq 600); do
    if [ -n "$(ip netns exec mesh dig +short +tries=1 +time=1 {name})" ]; then
        seen=$(date +%s.%N)
        break
    fi
    sleep 0.01
done
echo "$seen $(stat -c %.Y /run/crosshost/dns/app/hosts)"
"""


def ingress(lab: Lab, pairs: int, seconds: int) -> list[Figure]:
    """Gbit/s from h2 to the task on h1: to h1's published port, and from a sandbox over the overlay."""
    _declare(lab)
    lab.script("h1", _SERVER)
    time.sleep(1)
    ways = {"ours": ([], "10.98.0.1"), "other": (["ip", "netns", "exec", "mesh"], "10.72.1.11")}
    found: dict[str, list[float]] = {"ours": [], "other": []}
    for place in range(pairs):
        for side in ("ours", "other") if place % 2 == 0 else ("other", "ours"):
            inside, target = ways[side]
            argv = [
                *inside,
                "iperf3",
                "--json",
                "--client",
                target,
                "--port",
                str(_PORT),
                "--time",
                str(seconds),
            ]
            report = json.loads(lab.on("h2", *argv))
            found[side].append(float(report["end"]["sum_received"]["bits_per_second"]) / 1e9)
    what = "TCP to a task: through ingress on its host, and over the overlay"
    return [Figure("ingress", what, found["ours"], found["other"], "Gbit/s", 0.9, at_least=True)]


def names(lab: Lab, rounds: int, seconds: int) -> list[Figure]:
    """Look-ups a second of one sandbox at its network's name server, and the age of a change when it is first seen."""
    _declare(lab)
    server = (
        lab.on("h1", "ip", "netns", "exec", "mesh", "cat", "/etc/resolv.conf")
        .split("nameserver")[1]
        .split()[0]
    )
    lab.on("h1", "tee", _FILE, stdin=_QUERIES)
    rates = []
    for _round in range(rounds):
        argv = ["dnsperf", "-s", server, "-d", _FILE, "-l", str(seconds), "-c", "4"]
        report = lab.on("h1", "ip", "netns", "exec", "mesh", *argv)
        rate = re.search(r"Queries per second: +([0-9.]+)", report)
        if rate is None or "Queries lost:         0 " not in report:
            raise BenchError(f"dnsperf: {' '.join(report.split())[-300:]}")
        rates.append(float(rate.group(1)))
    ages = [_age(lab, f"{_ADDED}{number}") for number in range(rounds)]
    return [
        Figure(
            "names", "look-ups a second, one network's name server", rates, [], "/s", 10_000, at_least=True
        ),
        Figure(
            "names-change", "a changed name: from writing the file to the first answer", ages, [], "s", 1.0
        ),
    ]


def _age(lab: Lab, alias: str) -> float:
    """Seconds from the moment the host's file was written until the new alias was answered."""
    path = lab.file(".log", "")
    watch = lab.begin("h1", _WATCH.format(name=alias), path)
    _declare(lab, alias, "services")
    if watch.wait(timeout=60) != 0:
        raise BenchError(f"watching for {alias} failed: {path.read_text()[-300:]}")
    seen, written = path.read_text().split()
    return float(seen) - float(written)


def _declare(lab: Lab, alias: str = "", tags: str = "") -> Path:
    inventory = lab.file(".yml", yaml.safe_dump({"crosshost": {"vars": _cluster(alias)}}))
    lab.playbook("site.yml", {}, inventory, tags=tags)
    return inventory


def _cluster(alias: str) -> dict[str, Any]:
    ends: list[dict[str, Any]] = [
        {"host": host, "network": "app", "sandbox": "mesh", "create": True, "ip": f"10.72.1.1{host[1:]}"}
        for host in HOSTS
    ]
    ends[0]["aliases"] = [alias] if alias else []
    port = {"published": _PORT, "target": _PORT}
    task = {"endpoint": "mesh", "host": "h1"}
    return {
        "crosshost_networks": [{"name": "app", "subnets": [{"subnet": "10.72.1.0/24", "vni": 7200}]}],
        "crosshost_endpoints": ends,
        "crosshost_services": [
            {"name": "web", "network": "app", "vip": "10.72.1.100", "tasks": [task], "ports": [port]}
        ],
        "crosshost_ingress": {"subnets": [{"subnet": "10.73.0.0/20", "vni": 7300}]},
        "crosshost_gwbridge": {"subnet": "172.30.0.0/16"},
    }
