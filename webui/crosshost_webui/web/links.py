# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the pages of objects are."""

from __future__ import annotations

from urllib.parse import quote

NETWORKS = ("overlay", "bridge", "macvlan")
WORDS = {
    "overlay": "overlay network",
    "bridge": "bridge network",
    "macvlan": "macvlan network",
    "gwbridge": "gateway bridge",
    "ingress": "ingress network",
}


def item(kind: str, name: str) -> str:
    """The page of a declared object."""
    place = quote(name, safe="/")
    if kind in NETWORKS:
        return f"/networks/{kind}/{place}"
    if kind in ("ingress", "gwbridge"):
        return "/ingress"
    return f"/{kind}s/{place}"


def form(kind: str, name: str) -> str:
    """The form that changes it."""
    return f"/items/{kind}/edit/{quote(name, safe='/')}"


def word(kind: str) -> str:
    """What people call a kind."""
    return WORDS.get(kind, kind)
