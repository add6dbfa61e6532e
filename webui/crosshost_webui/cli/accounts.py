# SPDX-License-Identifier: GPL-3.0-or-later
"""user, token, rotate-keys."""

from __future__ import annotations

import argparse

from ..accounts import maintenance, store, users
from ..web.access import SCOPES
from ..web.problem import NotFound
from .options import Commands, command, state_of

USERS_MOST = 100_000


def add(commands: Commands) -> None:
    _add_users(
        commands.add_parser("user", help="users: add, list, change").add_subparsers(
            metavar="ACTION", required=True
        )
    )
    tokens = commands.add_parser("token", help="API tokens: make").add_subparsers(
        metavar="ACTION", required=True
    )
    make = command(tokens, "make", _make_token, "make an API token and print it; it is not shown again")
    make.add_argument("user", metavar="USER")
    make.add_argument("name", metavar="NAME", help="what it is for")
    make.add_argument(
        "--scope", action="append", choices=SCOPES, required=True, help="may be given several times"
    )
    make.add_argument("--days", type=int, default=90, help="after which it expires; 0: never (default: 90)")
    command(
        commands,
        "rotate-keys",
        _rotate,
        "make a new key and encrypt all secrets with it; a server that runs goes on",
    )


def _add_users(actions: Commands) -> None:
    made = command(actions, "add", _add_user, "make a user and print the password")
    made.add_argument("name", metavar="NAME")
    made.add_argument("--role", choices=users.ROLES, default="viewer", help="default: viewer")
    made.add_argument("--no-password", action="store_true", help="for accounts that have only API tokens")
    command(actions, "list", _list_users, "list all users")
    for name, run, help_ in (
        ("password", _password, "give a user a new password and print it; enables it too"),
        ("role", _role, "give a user another role"),
        ("disable", lambda options: _change(options, disabled=True), "end a user's sessions and tokens, and let it in no more"),
        ("enable", lambda options: _change(options, disabled=False), "let a user in again"),
    ):  # fmt: skip
        parser = command(actions, name, run, help_)
        parser.add_argument("name", metavar="NAME")
        if name == "role":
            parser.add_argument("role", choices=users.ROLES)


def _add_user(options: argparse.Namespace) -> None:
    with state_of(options) as state:
        password = maintenance.create_user(state, options.name, options.role, not options.no_password)
    if password:
        print(password)


def _list_users(options: argparse.Namespace) -> None:
    with state_of(options) as state, state.db.read() as s:
        found = store.users(s, USERS_MOST)
    width = max([len(one.name) for one in found], default=0)
    for one in found:
        seen = "never" if one.signed_in_at is None else f"{one.signed_in_at:%Y-%m-%d %H:%M} UTC"
        print(
            f"{one.name:{width}}  {one.role:8}  {'disabled' if one.disabled else one.source:8}  signed in: {seen}"
        )


def _password(options: argparse.Namespace) -> None:
    with state_of(options) as state:
        print(maintenance.reset_password(state, options.name))


def _role(options: argparse.Namespace) -> None:
    _change(options, role=options.role)


def _change(options: argparse.Namespace, role: str | None = None, disabled: bool | None = None) -> None:
    with state_of(options) as state, state.db.write() as s:
        named = store.user_by_name(s, users.normal_name(options.name))
        if named is None:
            raise NotFound(
                f"user {options.name}: there is none of this name; `crosshost-webui user list` names them"
            )
        user = users.to_change(s, named.id)
        users.change(s, maintenance.command_line(), user, role=role, disabled=disabled)


def _make_token(options: argparse.Namespace) -> None:
    with state_of(options) as state:
        print(maintenance.make_token(state, options.user, options.name, options.scope, options.days or None))


def _rotate(options: argparse.Namespace) -> None:
    with state_of(options) as state:
        key_id, secrets = maintenance.rotate_keys(state)
        print(f"the key is {key_id} now; {secrets} secrets are encrypted with it")
        print(f"the old keys stay in {state.keys.path}: API tokens and backups need them")
