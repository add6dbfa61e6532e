# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of secrets: they go in, and never come out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..audit import store as audit
from ..web import conditional
from ..web.access import Admin, Context, RunStarter
from ..web.openapi import Match, errors
from ..web.paging import Paged, Part, number_after
from . import maintenance, secret_store, secrets
from .models import Secret
from .schemas import Id, KeysRotated, SecretContent, SecretKind, SecretNew, SecretOut, secret_out

router = APIRouter()


@router.get("/secrets", tags=["secrets"], summary="Secrets, without their content")
def list_secrets(
    context: RunStarter,
    paging: Paged,
    kind: Annotated[SecretKind | None, Query(description="only these")] = None,
) -> Part[SecretOut]:
    """For those who start runs, to choose from."""
    with context.db.read() as s:
        found = secret_store.secrets(s, kind, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    return Part(items=[secret_out(one) for one in found[: paging.limit]], next=more)


@router.post("/secrets", tags=["secrets"], summary="Add a secret", status_code=201, responses=errors(409))
def add_secret(context: Admin, body: SecretNew, response: Response) -> SecretOut:
    """An ssh key is checked, and known by its fingerprint from then on."""
    with context.db.write() as s:
        made = secrets.create(
            s, context.state.keys, audit.actor(context), body.kind, body.name, body.value.get_secret_value()
        )
        return _told(response, made)


@router.get(
    "/secrets/{secret_id}", tags=["secrets"], summary="A secret, without its content", responses=errors(404)
)
def get_secret(context: RunStarter, secret_id: Id, response: Response) -> SecretOut:
    """With its ETag for a change."""
    with context.db.read() as s:
        return _told(response, secrets.get(s, secret_id))


@router.put(
    "/secrets/{secret_id}",
    tags=["secrets"],
    summary="Replace a secret's content",
    responses=errors(404, 412, 428),
)
def replace_secret(
    context: Admin, secret_id: Id, body: SecretContent, response: Response, _match: Match = None
) -> SecretOut:
    """What uses it by its name uses the new content from the next run on."""
    with context.db.write() as s:
        found = _matched(context, secrets.to_change(s, secret_id))
        secrets.replace(s, context.state.keys, audit.actor(context), found, body.value.get_secret_value())
        return _told(response, found)


@router.delete(
    "/secrets/{secret_id}",
    tags=["secrets"],
    summary="Delete a secret",
    status_code=204,
    responses=errors(404, 412, 428),
)
def delete_secret(context: Admin, secret_id: Id, _match: Match = None) -> None:
    """A run that names it is refused from then on."""
    with context.db.write() as s:
        secrets.delete(s, audit.actor(context), _matched(context, secrets.to_change(s, secret_id)))


@router.post(
    "/keys/rotate", tags=["secrets"], summary="Encrypt all secrets with a new key", responses=errors(503)
)
def rotate_keys(context: Admin) -> KeysRotated:
    """The old keys stay in the key file, for backups and tokens; make a copy of the file."""
    key, count = maintenance.rotate_keys(context.state, audit.actor(context))
    return KeysRotated(key=key, secrets=count)


def _told(response: Response, secret: Secret) -> SecretOut:
    response.headers["ETag"] = conditional.etag(secrets.version(secret))
    return secret_out(secret)


def _matched(context: Context, secret: Secret) -> Secret:
    conditional.demand_match(
        context.request, conditional.etag(secrets.version(secret)), f"secret {secret.name}"
    )
    return secret
