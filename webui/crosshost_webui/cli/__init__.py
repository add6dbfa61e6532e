# SPDX-License-Identifier: GPL-3.0-or-later
"""`crosshost-webui`: the server, and what is done to its data beside it. Exit status 1: it failed; 2: it was asked wrongly."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from ..accounts.keys import KeyFileError
from ..collection import version
from ..operations.backup import BackupError
from ..server import StartError
from ..web.problem import Problem
from . import accounts, data, serving
from .options import Failed, UsageError

FAILURES = (Failed, StartError, BackupError, KeyFileError, CommandError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    options = _parser().parse_args(argv)
    try:
        options.command(options)
        sys.stdout.flush()
    except UsageError as error:
        return _told(error, 2)
    except Problem as error:
        return _told(error.detail, 1)
    except FAILURES as error:
        return _told(error, 1)
    except DBAPIError as error:
        return _told(f"database: {error.orig}", 1)
    except BrokenPipeError:
        # who read the output has seen enough; Python would complain of it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _told(f"{error.filename}: {error.strerror}" if error.filename else error, 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _told(error: object, status: int) -> int:
    print(f"crosshost-webui: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crosshost-webui", description=__doc__.partition(":")[2].partition(". ")[0].strip().capitalize() + ".",
        epilog="Every setting can also be given by the environment: CROSSHOST_WEBUI_DATA_DIR for --data-dir. "
        "Passwords and tokens are given only so, for others can read the arguments of a program.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for part in (serving, data, accounts):
        part.add(commands)
    return parser
