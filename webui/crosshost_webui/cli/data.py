# SPDX-License-Identifier: GPL-3.0-or-later
"""backup, restore, import, export, ipam."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..accounts.maintenance import command_line
from ..db import migrate
from ..inventory import kinds
from ..inventory.transfer import export_yaml, import_path
from ..ipam import check
from ..operations.backup import backup, restore
from .options import Commands, Failed, command, settings_of, state_of


def add(commands: Commands) -> None:
    made = command(
        commands, "backup", _backup, "write database, keys and runs' files to one new file; a server may run"
    )
    made.add_argument("file", metavar="FILE", type=Path)
    put = command(commands, "restore", _restore, "put a backup into an empty data directory")
    put.add_argument("file", metavar="FILE", type=Path)
    taken = command(commands, "import", _import, "take over an Ansible inventory, as one revision")
    taken.add_argument("file", metavar="FILE", type=Path, help="an inventory file, or a folder with one")
    taken.add_argument(
        "--replace", action="store_true", help="remove what is not in it; without, what is only here stays"
    )
    taken.add_argument("--dry-run", action="store_true", help="only say what it would change")
    taken.add_argument("--message", default="", help="for the history")
    given = command(commands, "export", _export, "print the inventory as YAML that Ansible takes")
    given.add_argument("--revision", type=int, help="another one than the newest")
    pools = commands.add_parser("ipam", help="addresses: check, rebuild").add_subparsers(
        metavar="ACTION", required=True
    )
    command(pools, "check", _ipam_check, "see whether all pools add up; exit status 1 if one does not")
    command(pools, "rebuild", _ipam_rebuild, "make all free extents anew from what is allocated")


def _backup(options: argparse.Namespace) -> None:
    with state_of(options) as state:
        manifest = backup(state, options.file.absolute())
    print(
        f"{options.file}: {len(manifest.digests)} files; whoever has it can open the secrets, so keep it as safe as they are"
    )


def _restore(options: argparse.Namespace) -> None:
    settings = settings_of(options)
    manifest = restore(settings, options.file.absolute())
    print(f"restored what version {manifest.version} wrote at {manifest.at} into {settings.data_dir}")
    if manifest.schema != migrate.head():
        print("the next start, or `crosshost-webui migrate`, brings the database to this version's schema")


def _import(options: argparse.Namespace) -> None:
    mode = "replace" if options.replace else "merge"
    with state_of(options) as state:
        found = import_path(
            state.db, command_line(), options.file, mode, options.message, dry_run=options.dry_run
        )
    for line in found.warnings:
        print(f"crosshost-webui: {line}", file=sys.stderr)
    for word, keys in (("added", found.added), ("changed", found.changed), ("removed", found.removed)):
        for kind, name in keys:
            print(f"{word} {kinds.label(kind, name)}")
    would = "would be " if options.dry_run else ""
    counts = f"{len(found.added)} added, {len(found.changed)} changed, {len(found.removed)} removed"
    print(f"{would}{counts}, {found.unchanged} unchanged: revision {found.revision.id}")


def _export(options: argparse.Namespace) -> None:
    with state_of(options) as state, state.db.read() as s:
        print(export_yaml(s, options.revision), end="")


def _ipam_check(options: argparse.Namespace) -> None:
    with state_of(options) as state, state.db.read() as s:
        report = check.check(s)
    for fault in report.faults:
        remedy = "`crosshost-webui ipam rebuild` mends it" if fault.is_mended else "rebuild does not mend it"
        print(f"pool {fault.pool_id} {fault.pool}: {fault.text}; {remedy}")
    if report.faults:
        raise Failed(
            f"ipam: {len(report.faults)} faults{' or more' if len(report.faults) >= check.FAULTS_MOST else ''}"
        )
    print(f"{report.pools} pools, {report.blocks} blocks and {report.free} free extents add up")


def _ipam_rebuild(options: argparse.Namespace) -> None:
    with state_of(options) as state, state.db.write() as s:
        count = check.rebuild(s, command_line())
    print(f"{count} free extents")
