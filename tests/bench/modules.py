# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures 4, 5 and 7: what calls of the modules cost on a host, over ssh."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import yaml

from . import batch
from .figures import BenchError, Figure
from .hosts import HOSTS, Lab, executions

_NETWORKS = 10
_PEERS = [{"host": host, "vtep": f"10.98.0.{host[1:]}"} for host in HOSTS[1:]]
# Runs the interpreter and notes the greatest resident size, in KiB, of what ran as the module.
_MEASURED = """#!/usr/bin/python3
import resource, subprocess, sys
code = subprocess.call(["/usr/bin/python3", *sys.argv[1:]])
with open("/root/bench-peaks", "a") as file:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=file)
sys.exit(code)
"""


def calls(lab: Lab, rounds: int) -> list[Figure]:
    """Calls with nothing to change, each next to a call of Ansible's ping on the same connection."""
    tasks = _converging_tasks()
    made = lab.play("h1", tasks)
    if not all(one.changed for one in made):
        raise BenchError("setting the host up changed nothing: it was not fresh")
    ping = {"name": "ping", "ansible.builtin.ping": {}}
    warm = [ping, *tasks]
    measured = [one for _round in range(rounds) for task in tasks for one in (ping, task)]
    times = lab.play("h1", [*warm, *measured])[len(warm) :]
    if any(one.changed for one in times):
        raise BenchError("a call that had nothing to change says that it did")
    figures = []
    for task in tasks:
        places = [place for place, one in enumerate(times) if one.task == task["name"]]
        figures.append(
            Figure(
                f"call-{task['name']}",
                f"{task['name']}, nothing to change: module call, and ping",
                [times[place].seconds for place in places],
                [times[place - 1].seconds for place in places],
                "s",
                2.0,
            )
        )
    return figures


def _converging_tasks() -> list[dict[str, Any]]:
    """Ten networks with endpoints here and elsewhere, and the bridge to the outside."""
    networks, endpoints = [], []
    for place in range(_NETWORKS):
        elsewhere = [{"ip": f"10.60.{place}.{30 + n}", "vtep": _PEERS[n % 2]["vtep"]} for n in range(4)]
        subnet = {"subnet": f"10.60.{place}.0/24", "vni": 6000 + place}
        networks.append({"name": f"net{place}", "subnets": [subnet], "endpoints": elsewhere})
        sandbox = {
            "network": f"net{place}",
            "sandbox": f"box{place}",
            "ip": f"10.60.{place}.20",
            "create": True,
        }
        endpoints.append(sandbox)
    where = {"data_path_address": "10.98.0.1", "peers": _PEERS}
    bridge = {"subnet": "172.30.0.0/16"}
    return [
        {"name": "gwbridge", "crosshost.network.gwbridge": {"config": [bridge]}},
        {"name": "overlay_network", "crosshost.network.overlay_network": {"config": networks, **where}},
        {"name": "endpoint", "crosshost.network.endpoint": {"config": endpoints}},
    ]


def memory(lab: Lab, count: int) -> list[Figure]:
    """The greatest resident size of the module's process with many endpoints: as they are written, and again."""
    lab.on("h3", "sh", "-c", "cat > /root/bench-python; chmod 755 /root/bench-python", stdin=_MEASURED)
    network = {
        "name": "big",
        "subnets": [{"subnet": "10.100.0.0/16", "vni": 77}],
        "endpoints": [{**end, "vtep": "10.98.0.1"} for end in batch.endpoints(count)],
    }
    config = lab.file(".json", json.dumps([network]))
    task = {
        "name": "overlay_network",
        "crosshost.network.overlay_network": {
            "config": f"{{{{ lookup('ansible.builtin.file', '{config}') | from_json }}}}",
            "data_path_address": "10.98.0.3",
        },
        "vars": {"ansible_python_interpreter": "/root/bench-python"},
    }
    times = lab.play("h3", [task, task])
    if [one.changed for one in times] != [True, False]:
        raise BenchError("the first call was to write the rows, the second to find them: they say otherwise")
    rows = lab.on("h3", "bridge", "-n", "xh-big", "fdb", "show", "dev", "vx77").count(" dst ")
    peaks = [int(line) / 1024 for line in lab.on("h3", "cat", "/root/bench-peaks").split()]
    if rows != count or len(peaks) != 2:
        raise BenchError(
            f"{count} rows were to be written in 2 calls: there are {rows}, of {len(peaks)} calls"
        )
    return [
        Figure("memory", f"{count:,} FDB rows: peak memory of the module's process", peaks, [], "MiB", 120.0)
    ]


def site(lab: Lab, rounds: int) -> list[Figure]:
    """The whole playbook with nothing to change on three hosts: module calls a host, and seconds."""
    inventory = lab.file(".yml", yaml.safe_dump({"crosshost": {"vars": _cluster()}}))
    lab.playbook("site.yml", {}, inventory)
    seconds = []
    for _round in range(rounds):
        begun = time.monotonic()
        text = lab.playbook("site.yml", {}, inventory)
        seconds.append(time.monotonic() - begun)
        if text.count("changed=0") != len(HOSTS):
            steps = [line for line in text.splitlines() if line.startswith(("TASK", "changed:"))]
            said = " ".join(a for a, b in itertools.pairwise(steps) if b.startswith("changed"))
            raise BenchError(f"site.yml changes something at every run: {said}")
    counted = executions(lab.playbook("site.yml", {}, inventory, verbose=True))
    if set(counted) != set(HOSTS):
        raise BenchError(f"module calls were seen on {', '.join(counted) or 'no host'} only")
    return [
        Figure("site", "site.yml, nothing to change, 3 hosts: module calls a host", [float(n) for n in counted.values()], [], "calls", 8.0),
        Figure("site-time", "... and its wall time", seconds, [], "s", None),
    ]  # fmt: skip


def _cluster() -> dict[str, Any]:
    networks = [
        {"name": f"app{place}", "subnets": [{"subnet": f"10.70.{place}.0/24", "vni": 7000 + place}]}
        for place in range(_NETWORKS)
    ]
    endpoints = [
        {
            "network": f"app{place}",
            "sandbox": f"site{place}",
            "create": True,
            "ip": f"10.70.{place}.1{{{{ inventory_hostname[1:] }}}}",
        }
        for place in range(_NETWORKS)
    ]
    return {
        "crosshost_networks": networks,
        "crosshost_endpoints": endpoints,
        "crosshost_gwbridge": {"subnet": "172.30.0.0/16"},
    }
