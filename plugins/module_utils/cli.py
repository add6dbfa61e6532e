# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own command ``crosshost``: the engine without Ansible, to look and to bring back what was applied.

It is installed by the module host_restore, and run at boot by the unit crosshost-restore.service.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

from . import info, record
from .converge import Kind, converge, need_root
from .errors import CrosshostError
from .kinds.bridge import BridgeKind
from .kinds.endpoint import EndpointKind
from .kinds.gwbridge import GwbridgeKind
from .kinds.ingress import IngressKind
from .kinds.macvlan import MacvlanKind
from .kinds.names import NamesKind
from .kinds.overlay import OverlayKind
from .kinds.service import ServiceKind

_RETRY = 2.0  # seconds between attempts: at boot the data-path address may come late


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; 0 when all is as recorded, 1 when not, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="crosshost", description="Networks across hosts, as recorded on this one."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser(
        "status", help="show what there is, and where it differs from what was recorded"
    )
    status.add_argument("--json", action="store_true", help="print all facts as JSON")
    restore = commands.add_parser("restore", help="make what was recorded, as after a reboot")
    restore.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="try again this long")
    args = parser.parse_args(argv)
    try:
        if args.command == "status":
            return show(args.json)
        return restore_all(args.wait)
    except CrosshostError as error:
        print(error, file=sys.stderr)
        return 1


def show(as_json: bool) -> int:
    """Print the state of this host; 1 if it has drifted."""
    found = info.gather(list(info.KINDS))
    if as_json:
        print(json.dumps(found, indent=2, sort_keys=True))
        return int(found["drifted"])
    for network in found["overlay_networks"]:
        size = f"{network['fdb_rows']} FDB rows, {network['neighbours']} neighbours"
        print(
            f"network  {network['name']:<20} {_presence(network)}  {' '.join(network['addresses'])}  {size}"
        )
    for bridge in found["gwbridges"]:
        print(f"gwbridge {bridge['name']:<20} {_presence(bridge)}  {' '.join(bridge['addresses'])}")
    for network in found["bridge_networks"]:
        where = f"{network['bridge'] or '-'}  {' '.join(network['addresses'])}"
        print(f"bridge   {network['name']:<20} {_presence(network)}  {where}")
    for lan in found["macvlans"]:
        where = f"{lan['parent'] or '-'} {lan['driver'] or '-'} {lan['mode'] or '-'}"
        print(f"macvlan  {lan['name']:<20} {_presence(lan)}  {where}  {' '.join(lan['shim'])}".rstrip())
    for end in found["endpoints"]:
        print(
            f"endpoint {end['id']:<20} {_presence(end)}  {end['interface'] or '-'}  "
            f"{' '.join([*end['addresses'], *end['published']])}".rstrip()
        )
    _show_services(found)
    for lines in found["drift"].values():
        for line in lines:
            print(f"drift    {line}")
    for reason in found["errors"].values():
        print(f"error    {reason}")
    return int(found["drifted"])


def _show_services(found: dict[str, Any]) -> None:
    for one in found["services"]:
        where = f"sandboxes: {len(one['sandboxes'])}"
        print(f"service  {one['id']:<20} {_presence(one)}  {' '.join(one['vips']) or 'dnsrr'}  {where}")
    for mesh in found["ingress"]:
        where = f"{' '.join(mesh['addresses'])}  {len(mesh['ports'])} ports, {len(mesh['legs'])} tasks here"
        print(f"ingress  {mesh['name']:<20} {_presence(mesh)}  {where}")
    for names in found["names"]:
        print(
            f"names    {names['name']:<20} {_presence(names)}  {names['records']} records, {names['services']} services"
        )


def _presence(fact: dict[str, Any]) -> str:
    return "up     " if fact["present"] else "missing"


def restore_all(wait: float) -> int:
    """Converge what was recorded, networks first; try again until ``wait`` seconds are over. 1 if something failed."""
    need_root()
    deadline = time.monotonic() + wait
    while True:
        failures = _restore_once()
        if not failures or time.monotonic() >= deadline:
            break
        time.sleep(_RETRY)
    for line in failures:
        print(line, file=sys.stderr)
    return int(bool(failures))


def _restore_once() -> list[str]:
    """Each kind after those that it stands on. Networks of a LAN and endpoints one by one: an interface that comes late must
    not keep the other LANs waiting, nor a container the other sandboxes."""
    below: tuple[Callable[[], Kind], ...] = (lambda: OverlayKind({}), GwbridgeKind, BridgeKind)
    singly: tuple[Callable[[], Kind], ...] = (MacvlanKind, EndpointKind)
    above: tuple[Callable[[], Kind], ...] = (ServiceKind, IngressKind, NamesKind)
    failures: list[str] = []
    for make in (*below, *singly, *above):
        recorded = record.load(make().name)
        for part in [[item] for item in recorded] if make in singly else [recorded]:
            try:
                if part:
                    converge(make(), part, "replaced")
            except CrosshostError as error:
                failures.append(str(error))
    return failures
