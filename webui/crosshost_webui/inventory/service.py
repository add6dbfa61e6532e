# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rest of the dashboard asks of the inventory."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import view as views

from ..audit.store import Actor
from ..db.base import Json
from ..db.engine import Database, ReadSession, WriteSession
from ..web.problem import NotFound
from . import cache, changing, emit, history, kinds, store
from .changing import Outcome, rehearse
from .declared import Parsed
from .kinds import Entry, Items
from .models import Revision
from .planning import Edit

__all__ = [
    "Edit", "Entry", "Outcome", "change", "check", "cluster_group", "current", "items", "listing", "one", "outcome", "parsed",
    "prepare", "rehearse", "snapshot", "view",
]  # fmt: skip


def current(s: ReadSession) -> Revision:
    """The newest revision; number 0 is the empty inventory."""
    return store.newest(s)


def items(s: ReadSession) -> Items:
    """All items of the newest revision. They are shared: nobody may change them."""
    return cache.current(s).items


def one(s: ReadSession, kind: str, name: str) -> Entry:
    """NotFound if there is no such item."""
    found = store.item(s, kind, name)
    if found is None:
        raise NotFound(f"{kinds.label(kind, name[:200])}: there is none; the list has their names")
    return found


def change(
    s: WriteSession, actor: Actor, edits: Sequence[Edit], message: str = "", *, is_admin: bool = False
) -> Revision:
    """Make all of the edits as one revision. Allocates what the bodies leave open, and checks the whole declaration: Invalid,
    Conflict, Changed, NotFound or Forbidden say what is wrong, and the caller's transaction must not be committed then. Without
    an effect it makes no revision. ``is_admin``: whether variables may be set by which the server itself starts programs."""
    return outcome(s, actor, edits, message, is_admin=is_admin).revision


def outcome(
    s: WriteSession, actor: Actor, edits: Sequence[Edit], message: str = "", *, is_admin: bool = False
) -> Outcome:
    """The same, with all that became of it."""
    return changing.apply(s, actor, edits, message, is_admin)


def prepare(db: Database, actor: Actor, edits: Sequence[Edit], *, is_admin: bool = False) -> None:
    """Call it before the transaction of a change: of a large declaration it then checks the whole before others have to wait, and
    not while they do. It changes nothing, and tells no error."""
    changing.prepare(db, actor, edits, is_admin)


def check(
    db: Database, actor: Actor, edits: Sequence[Edit], message: str = "", *, is_admin: bool = False
) -> Outcome:
    """What a change would do, without doing it."""
    return rehearse(db, lambda s: changing.apply(s, actor, edits, message, is_admin))


def parsed(s: ReadSession) -> Parsed:
    """The newest revision as the engine understands it. Invalid if what hosts have reported since contradicts it."""
    held = cache.current(s)
    return held.parse(changing.facts(s, held.items))


def view(s: ReadSession, host: str) -> dict[str, Any]:
    """What the roles do on a host of the cluster, in the words of the modules' options."""
    found = parsed(s)
    with kinds.engine():
        return views.view_of(found.cluster, host)


def cluster_group(s: ReadSession) -> str:
    """The group whose hosts are the cluster: `crosshost`, or `all` if there is no such group; a run then needs
    ``-e crosshost_group=all``."""
    return emit.cluster_group(items(s))


def listing(s: ReadSession) -> tuple[Revision, bytes]:
    """The newest revision with its inventory in Ansible's `--list` shape, as JSON that is compressed in gzip's format."""
    newest = store.newest(s)
    held = cache.current(s, newest)
    if "listing" not in held.packed:
        text = json.dumps(emit.inventory(held.items).listing(), separators=(",", ":")).encode()
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: with gzip's header
        held.packed["listing"] = packer.compress(text) + packer.flush()
    return newest, held.packed["listing"]


def snapshot(s: WriteSession, revision_id: int) -> tuple[str, Json]:
    """The inventory of a revision in Ansible's `--list` shape, with its digest (SHA-256 of the JSON, in hex). Kept from then on, so
    that a run has what it was started with."""
    found = store.snapshot(s, revision_id)
    if found is not None:
        return found
    listed = emit.inventory(history.items_at(s, revision_id)).listing()
    text = json.dumps(listed, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    if revision_id == store.EMPTY:
        store.begin(s)
    store.add_snapshot(s, revision_id, digest, text.encode())
    return digest, listed
