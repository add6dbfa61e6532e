#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the dashboard on a large seeded database, and print one table. `make bench-webui` runs it; docs/benchmarks.md says what
the figures are."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "webui"), str(CHECKOUT / ".build")]

from scripts.link_collection import link_collection  # noqa: E402

link_collection()

from crosshost_webui.operations import logs  # noqa: E402
from crosshost_webui.web.problem import Problem  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from tests.bench.figures import BenchError, Figure, table  # noqa: E402
from tests.bench_webui import load, seed  # noqa: E402
from tests.webui.support_server import Server  # noqa: E402

RESULT = CHECKOUT / ".build" / "bench-webui.json"
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- dashboard: begin -->\n", "<!-- dashboard: end -->\n"


class Group(NamedTuple):
    """Figures that are measured together, by a function of a module here; it is imported when it is its turn, as what it compares
    with may not be installed. It gets the run's folder, or the server and its data directory if it needs one, and sizes."""

    module: str
    function: str
    needs_server: bool
    full: tuple[int, ...]
    quick: tuple[int, ...]


# Memory last of the server's: what it has needed for all of them.
GROUPS = {
    "ipam": Group("ipam", "measure", False, (1,), (0,)),
    "recorder": Group("recorder", "measure", False, (1,), (0,)),
    "inventory": Group("pages", "dynamic_inventory", True, (40,), (10,)),
    "pages": Group("pages", "pages", True, (160,), (40,)),
    "streams": Group("streams", "streams", True, (50, 500, 10), (50, 500, 4)),
    "memory": Group("pages", "memory", True, (), ()),
}


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    logs.set_up("warning", "text")
    begun = time.monotonic()
    figures, failures = _measure(options.only or list(GROUPS), options.quick, options.data_dir)
    if figures:
        print(f"{_machine()}, {time.monotonic() - begun:.0f} s{', quick' if options.quick else ''}\n")
        print(table(figures))
    RESULT.write_text(
        json.dumps(_report(figures, failures, options.quick), indent=1) + "\n", encoding="utf-8"
    )
    missed = [figure for figure in figures if figure.met is False]
    for figure in (one for one in missed if not one.what.startswith("- ")):
        print(f"\nTARGET MISSED: {figure.what}: {figure.value:.2f}, target {figure.target:g}")
    for name, reason in failures.items():
        print(f"\nbench: {name} could not be measured: {reason}", file=sys.stderr)
    if options.write_docs and not failures:
        _write_docs(figures)
    return 1 if failures or (missed and options.strict) else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench-webui", description="Measure the dashboard; see docs/benchmarks.md.",
        epilog="Exit code: 1 when a measurement failed, with --strict also when a target was missed; else 0.",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a smaller database and fewer samples")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(GROUPS),
        metavar="NAME",
        help=f"only this: {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="the seeded database: made here if there is none, and kept for the next time",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(argv)
    if options.write_docs and (options.quick or options.only):
        parser.error("--write-docs needs all figures at their full size")
    return options


def _measure(names: Sequence[str], quick: bool, data_dir: Path | None) -> tuple[list[Figure], dict[str, str]]:
    """All figures of these groups, and why groups failed. One that fails does not stop the others."""
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    RESULT.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-webui-", dir=RESULT.parent))
        )
        running: Server | None = None
        data = data_dir or folder / "data"
        for name in sorted(names, key=list(GROUPS).index):
            group = GROUPS[name]
            _say(name)
            try:
                if group.needs_server and running is None:
                    if not (data / "crosshost.db").exists():
                        seed.seed(data, seed.QUICK if quick else seed.FULL, _say)
                    running = stack.enter_context(load.serving(data))
                sizes = group.quick if quick else group.full
                measure = _measured_by(group)
                figures += measure(running, data, *sizes) if group.needs_server else measure(folder, *sizes)
            except (
                BenchError,
                ImportError,
                Problem,
                AssertionError,
                OSError,
                subprocess.SubprocessError,
                SQLAlchemyError,
            ) as error:
                failures[name] = " ".join(str(error).split())
    return figures, failures


def _measured_by(group: Group) -> Callable[..., list[Figure]]:
    found: Callable[..., list[Figure]] = getattr(
        import_module(f"tests.bench_webui.{group.module}"), group.function
    )
    return found


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def _machine() -> str:
    """What the figures were measured on, as far as it matters."""
    linux = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cores, Linux {linux}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"


def _report(figures: Sequence[Figure], failures: dict[str, str], quick: bool) -> dict[str, Any]:
    return {
        "machine": _machine(), "quick": quick, "failures": failures, "figures": [figure.as_dict() for figure in figures],
    }  # fmt: skip


def _write_docs(figures: Sequence[Figure]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(_BEGIN)
    _old, tail = rest.split(_END)
    shown = f"{_BEGIN}\n{_machine()}:\n\n{table(figures, markdown=True)}\n\n{_END}"
    DOCUMENT.write_text(head + shown + tail, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
