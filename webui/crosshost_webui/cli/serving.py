# SPDX-License-Identifier: GPL-3.0-or-later
"""serve, migrate, version."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable

from .. import server
from ..accounts.maintenance import first_admin, unknown_keys
from ..collection import version
from ..db import migrate
from ..operations import logs
from ..state import State
from .options import Commands, command, server_settings, settings_of

log = logging.getLogger("crosshost_webui")


def add(commands: Commands) -> None:
    parser = command(
        commands, "serve", _serve, "serve the dashboard until it is told to stop", server_settings()
    )
    parser.add_argument(
        "--print-address", action="store_true", help="print nothing but the address, when it listens"
    )
    command(
        commands, "migrate", _migrate, "bring the database to the schema of this version, as serve does too"
    )
    command(commands, "version", lambda _: print(version()), "print the version", ())


def _serve(options: argparse.Namespace) -> None:
    settings = settings_of(options)
    logs.set_up(settings.log_level, settings.log_format)

    def ready(address: str) -> None:
        shown = f"{settings.base_url}/" if settings.base_url else address
        print(address if options.print_address else f"The dashboard is at {shown}", flush=True)

    server.serve(settings, ready, _first(options.print_address))


def _first(is_quiet: bool) -> Callable[[State], None]:
    def greeted(state: State) -> None:
        for line in unknown_keys(state):
            log.error(line)
        made = first_admin(state)
        if made is None:
            return
        name, password = made
        told = f"First start: sign in as {name} with the password {password} (it is not shown again)"
        print(told, flush=True, file=sys.stderr if is_quiet else sys.stdout)

    return greeted


def _migrate(options: argparse.Namespace) -> None:
    applied = server.migrate_only(settings_of(options))
    print(f"applied {', '.join(applied)}" if applied else f"nothing to do: the schema is {migrate.head()}")
