# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a host with its declarations: python -m tests.checker --inventory-json FILE --host h1 --runner 'lab/lab exec h1'

The file holds {"hosts": {"h1": {"vtep": .., "underlay_mtu": .., "overlay_networks": [..], "gwbridges": [..],
"endpoints": [..]}}}. Ends with 0 when all is as declared, 1 with a line per difference, 2 when it cannot look.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from . import check
from .read import local_runner, prefixed_runner


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.checker", description=__doc__)
    parser.add_argument("--inventory-json", required=True, type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--runner", default="", help="words to put before each command")
    chosen = parser.parse_args(arguments)
    try:
        hosts = json.loads(chosen.inventory_json.read_text(encoding="utf-8"))["hosts"]
        host = hosts[chosen.host]
        runner = prefixed_runner(shlex.split(chosen.runner)) if chosen.runner else local_runner
        found = check(host, runner)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"{chosen.host}: cannot be compared: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for line in found:
        print(f"{chosen.host}: {line}")
    print(f"{chosen.host}: {len(found)} differences" if found else f"{chosen.host}: as declared")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
