# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings as options of the command line, and the state that commands work with."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from .. import server
from ..operations import logs
from ..settings import Settings
from ..state import State

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

# What says where the data is; the rest is of use to the server only.
PLACE = ("data_dir", "database", "key_file")


class Failed(Exception):  # noqa: N818 - no fault, but an answer
    """The command has done its work, and the answer is no. One line."""


class UsageError(Exception):
    """The command line or the environment asks for what is not possible. One line."""


def command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], None],
    help_: str,
    settings: Sequence[str] = PLACE,
) -> argparse.ArgumentParser:
    """A command with options for these settings; it calls ``run``."""
    parser = commands.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.")
    parser.set_defaults(command=run)
    group = parser.add_argument_group("settings")
    for setting in settings:
        field = Settings.model_fields[setting]
        default = field.default
        shown = "" if default in ("", None, ()) else f" (default: {default})"
        group.add_argument(
            _option(setting), dest=setting, metavar=_metavar(field.annotation), default=argparse.SUPPRESS,
            help=f"{field.description or 'see the documentation'}{shown}".replace("%", "%%"),
        )  # fmt: skip
    return parser


def server_settings() -> list[str]:
    """All that may stand on a command line: no secrets."""
    return [name for name, field in Settings.model_fields.items() if field.annotation is not SecretStr]


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of the command line and the environment. UsageError names the setting."""
    given = {name: getattr(options, name) for name in Settings.model_fields if hasattr(options, name)}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise UsageError(_first(error.errors(include_url=False, include_input=False)[0])) from None
    except SettingsError as error:
        raise UsageError(error) from None


@contextmanager
def state_of(options: argparse.Namespace) -> Iterator[State]:
    """The state beside a server, which may run. Only warnings are logged."""
    settings = settings_of(options)
    logs.set_up("warning", "text")
    state = server.open_state(settings)
    try:
        yield state
    finally:
        state.close()


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return {int: "N", Path: "PATH", Path | None: "PATH"}.get(annotation, "TEXT")


def _first(error: Any) -> str:
    setting = str(error["loc"][0])
    told = str(error["msg"]).removeprefix("Value error, ")
    return f"{_option(setting)}, or CROSSHOST_WEBUI_{setting.upper()}: {told}"
