# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of secrets. Their content goes in and is never shown."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Response

from ..audit import store as audit
from ..web.access import Admin, Context
from ..web.pages import go, page
from ..web.problem import NotFound, Problem
from ..web.sent import Sent
from . import maintenance, secret_store, secrets
from .schemas import Id

router = APIRouter()
SHOWN_MOST = 500
KINDS = (
    ("ssh_key", "SSH key: the private one, without a passphrase"),
    ("vault_password", "Vault password: of variables that ansible-vault has encrypted"),
    ("become_password", "Become password: what sudo asks for on the hosts"),
)


@router.get("/secrets")
def list_secrets(context: Admin) -> Response:
    return _secrets_page(context)


@router.post("/secrets")
def add_secret(context: Admin, sent: Sent) -> Response:
    who, value = audit.actor(context), sent.get("value", "").replace("\r\n", "\n")
    try:
        with context.db.write() as s:
            made = secrets.create(
                s, context.state.keys, who, sent.get("kind", ""), sent.get("name", ""), value
            )
    except Problem as error:
        return _secrets_page(context, sent, error)
    return go(
        context, "/secrets", ("ok", f"Secret {made.name} is kept. Runs can use it; nobody can read it.")
    )


@router.post("/secrets/rotate")
def rotate_keys(context: Admin) -> Response:
    key, number = maintenance.rotate_keys(context.state, audit.actor(context))
    return go(context, "/secrets", ("ok", f"{number} secrets are encrypted with the new key {key}."))


@router.get("/secrets/{secret_id}")
def show_secret(context: Admin, secret_id: Id) -> Response:
    return _secret_page(context, secret_id)


@router.post("/secrets/{secret_id}")
def replace_secret(context: Admin, secret_id: Id, sent: Sent) -> Response:
    value = sent.get("value", "").replace("\r\n", "\n")
    try:
        with context.db.write() as s:
            found = secrets.to_change(s, secret_id)
            secrets.replace(s, context.state.keys, audit.actor(context), found, value)
    except NotFound:
        raise
    except Problem as error:
        return _secret_page(context, secret_id, error)
    return go(context, "/secrets", ("ok", f"Secret {found.name} has its new content."))


@router.post("/secrets/{secret_id}/delete")
def delete_secret(context: Admin, secret_id: Id) -> Response:
    with context.db.write() as s:
        found = secrets.to_change(s, secret_id)
        secrets.delete(s, audit.actor(context), found)
    return go(context, "/secrets", ("ok", f"Secret {found.name} is deleted."))


def _secrets_page(
    context: Context, sent: Mapping[str, str] | None = None, error: Problem | None = None
) -> Response:
    with context.db.read() as s:
        found = secret_store.secrets(s, None, SHOWN_MOST)
    values = {name: value for name, value in (sent or {"kind": "ssh_key"}).items() if name != "value"}
    return page(
        context, "accounts/secrets.html", error.status if error else 200, secrets=found, kinds=KINDS,
        values=values, error=error, errors=error.fields if error else {},
    )  # fmt: skip


def _secret_page(context: Context, secret_id: int, error: Problem | None = None) -> Response:
    with context.db.read() as s:
        found = secrets.get(s, secret_id)
    return page(
        context, "accounts/secret.html", error.status if error else 200, secret=found, error=error,
        errors=error.fields if error else {},
    )  # fmt: skip
