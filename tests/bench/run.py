#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure, compare, and print one table. `make bench` runs it; docs/benchmarks.md says what the figures are."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / ".build")]

from scripts.link_collection import link_collection  # noqa: E402

link_collection()

from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError  # noqa: E402

from tests.bench import hosts, kernel, mesh, modules, services, throughput  # noqa: E402
from tests.bench.figures import BenchError, Figure, table  # noqa: E402

RESULT = CHECKOUT / ".build" / "bench.json"
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- results: begin -->\n", "<!-- results: end -->\n"


class Group(NamedTuple):
    """Figures that are measured together. ``measure`` gets the run's folder, or the lab if it needs one, and sizes."""

    measure: Callable[..., list[Figure]]
    needs_lab: bool
    full: tuple[int, ...]
    quick: tuple[int, ...]


# Throughput first among the lab's: the hosts are to be as they came, without anyone's firewall rules.
GROUPS = {
    "rows": Group(kernel.rows, False, (10_000, 9), (2_000, 5)),
    "networks": Group(kernel.networks, False, (1_000, 3), (100, 3)),
    "services": Group(services.services, False, (1_000, 7), (1_000, 3)),
    "connections": Group(services.connections, False, (1_000, 15, 2_000), (1_000, 7, 1_000)),
    "throughput": Group(throughput.throughput, True, (16, 2), (5, 1)),
    "calls": Group(modules.calls, True, (10,), (4,)),
    "memory": Group(modules.memory, True, (10_000,), (10_000,)),
    "site": Group(modules.site, True, (3,), (1,)),
    "ingress": Group(mesh.ingress, True, (8, 2), (3, 1)),
    "names": Group(mesh.names, True, (3, 3), (1, 1)),
}


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    if os.geteuid() != 0:
        print("bench: it makes network namespaces and lab hosts: run it as root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is removed
    begun = time.monotonic()
    figures, failures = _measure(options.only or list(GROUPS), options.quick)
    if figures:
        print(f"{_machine()}, {time.monotonic() - begun:.0f} s{', quick' if options.quick else ''}\n")
        print(table(figures))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        json.dumps(_report(figures, failures, options.quick), indent=1) + "\n", encoding="utf-8"
    )
    missed = [figure for figure in figures if figure.met is False]
    for figure in missed:
        print(f"\nTARGET MISSED: {figure.what}: {figure.value:.2f}, target {figure.target:g}")
    for name, reason in failures.items():
        print(f"\nbench: {name} could not be measured: {reason}", file=sys.stderr)
    if options.write_docs and not failures:
        _write_docs(figures)
    return 1 if failures or (missed and options.strict) else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure the engine and the modules against what else would do the work; see docs/benchmarks.md.",
        epilog="Exit code: 1 when a measurement failed, with --strict also when a target was missed; else 0.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes and fewer samples: about two minutes"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(GROUPS),
        metavar="NAME",
        help=f"only this: {', '.join(GROUPS)}",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(argv)
    if options.write_docs and (options.quick or options.only):
        parser.error("--write-docs needs all figures at their full size")
    return options


def _measure(names: Sequence[str], quick: bool) -> tuple[list[Figure], dict[str, str]]:
    """All figures of these groups, and why groups failed. One that fails does not stop the others."""
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    RESULT.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=RESULT.parent)))
        lab: hosts.Lab | None = None
        for name in sorted(names, key=list(GROUPS).index):
            group = GROUPS[name]
            print(f"bench: {name}", file=sys.stderr, flush=True)
            try:
                if group.needs_lab and lab is None:
                    lab = stack.enter_context(hosts.lab(folder))
                sizes = group.quick if quick else group.full
                figures += group.measure(lab if group.needs_lab else folder, *sizes)
            except (BenchError, CrosshostError, AssertionError, OSError, subprocess.SubprocessError) as error:
                failures[name] = " ".join(str(error).split())
    return figures, failures


def _machine() -> str:
    """What the figures were measured on, as far as it matters."""
    linux = ".".join(platform.release().split(".")[:2])
    tool = subprocess.run(["ip", "-V"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"iproute2-([0-9.]+)", tool)
    return (
        f"{os.cpu_count()} cores, Linux {linux}, Python {platform.python_version()}, "
        f"iproute2 {version.group(1).rstrip('.') if version else 'unknown'}"
    )


def _report(figures: Sequence[Figure], failures: dict[str, str], quick: bool) -> dict[str, Any]:
    return {
        "machine": _machine(),
        "quick": quick,
        "failures": failures,
        "figures": [figure.as_dict() for figure in figures],
    }


def _write_docs(figures: Sequence[Figure]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(_BEGIN)
    _old, tail = rest.split(_END)
    shown = f"{_BEGIN}\n{_machine()}:\n\n{table(figures, markdown=True)}\n\n{_END}"
    DOCUMENT.write_text(head + shown + tail, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
