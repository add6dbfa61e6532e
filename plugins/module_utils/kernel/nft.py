# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table ``crosshost`` of the family inet: read as JSON, changed by one atomic transaction a namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any, Optional

from ..errors import HostError
from ..plan import Op
from ..resources import NFT_TABLE, NftChain, NftElement, NftMap, Resource, canonical
from . import netns as _netns

FAMILY = "inet"
_BASE = ("type", "hook", "prio", "policy")
_TABLE = {"family": FAMILY, "name": NFT_TABLE}
_IN_TABLE = {"family": FAMILY, "table": NFT_TABLE}


class NftError(Exception):
    """nft refused the transaction; nothing of it was done. The message is nft's own."""


def _run(netns: str, document: Sequence[dict[str, Any]]) -> tuple[int, str, str]:
    with _netns.inside(netns):
        try:
            done = subprocess.run(
                ["nft", "-j", "-f", "-"],
                input=json.dumps({"nftables": list(document)}),
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise HostError("nft cannot be found: install the package nftables on the host") from None
    return done.returncode, done.stdout, done.stderr


def _list(netns: str) -> list[dict[str, Any]]:
    code, out, _err = _run(netns, [{"list": {"table": _TABLE}}])
    if code != 0:
        return []  # the one way in which listing by name fails: there is no such table
    found: list[dict[str, Any]] = json.loads(out)["nftables"] if out.strip() else []
    return found


def table(netns: str) -> list[Resource]:
    """The chains, verdict maps and their elements in our table; [] when there is none."""
    rules: dict[str, list[str]] = {}
    found: list[Resource] = []
    listing = _list(netns)
    for entry in listing:
        if "rule" in entry:
            rules.setdefault(entry["rule"]["chain"], []).append(canonical(entry["rule"]["expr"]))
    for entry in listing:
        if "chain" in entry:
            chain = entry["chain"]
            found.append(
                NftChain(
                    netns,
                    FAMILY,
                    chain["name"],
                    chain.get("type", ""),
                    chain.get("hook", ""),
                    chain.get("prio", 0),
                    tuple(rules.get(chain["name"], ())),
                    chain.get("policy", "accept"),
                )
            )
        elif entry.get("map", {}).get("map") == "verdict":
            found += _map(netns, entry["map"])
    return found


def _map(netns: str, entry: dict[str, Any]) -> list[Resource]:
    keys = entry["type"]
    name = entry["name"]
    found: list[Resource] = [NftMap(netns, FAMILY, name, (keys,) if isinstance(keys, str) else tuple(keys))]
    for key, verdict in entry.get("elem", ()):
        target = verdict.get("goto", {}).get("target", "") if isinstance(verdict, dict) else ""
        found.append(NftElement(netns, FAMILY, name, canonical(key), target))
    return found


def transact(netns: str, ops: Sequence[Op]) -> None:
    """Make all these changes of a namespace's table at once. NftError if nft refuses: then nothing was done.

    What refers to something goes before it and comes after it: elements, rules, maps and chains, then the other way."""
    document = [{"add": {"table": _TABLE}}, *_clear(ops), *_write(ops)]
    code, _out, err = _run(netns, document)
    if code != 0:
        raise NftError(" ".join(err.split()) or f"nft ended with {code}")
    if all(op.after is None for op in ops) and not any(
        "chain" in one or "map" in one for one in _list(netns)
    ):
        _run(netns, [{"delete": {"table": _TABLE}}])


def _clear(ops: Sequence[Op]) -> Iterable[dict[str, Any]]:
    chains = [op for op in ops if isinstance(op.before, NftChain)]
    maps = [op.before for op in ops if op.after is None and isinstance(op.before, NftMap)]
    yield from _elements("delete", [op.before for op in ops if isinstance(op.before, NftElement)])
    for op in chains:
        yield {"flush": {"chain": _named(op.before)}}
    for item in maps:
        yield {"delete": {"map": _named(item)}}
    for op in chains:
        if op.after is None or _base(op.before) != _base(op.after):
            yield {"delete": {"chain": _named(op.before)}}


def _write(ops: Sequence[Op]) -> Iterable[dict[str, Any]]:
    chains = [op.after for op in ops if isinstance(op.after, NftChain)]
    maps = [op.after for op in ops if op.before is None and isinstance(op.after, NftMap)]
    for chain in chains:
        base = {field: getattr(chain, field) for field in _BASE} if chain.hook else {}
        yield {"add": {"chain": {**_named(chain), **base}}}
    for item in maps:
        keys = item.keys[0] if len(item.keys) == 1 else list(item.keys)
        yield {"add": {"map": {**_named(item), "type": keys, "map": "verdict"}}}
    yield from _elements("add", [op.after for op in ops if isinstance(op.after, NftElement)])
    for chain in chains:
        for rule in chain.rules:
            yield {"add": {"rule": {**_IN_TABLE, "chain": chain.name, "expr": json.loads(rule)}}}


def _named(item: Any) -> dict[str, Any]:
    return {**_IN_TABLE, "name": item.name}


def _elements(verb: str, items: Iterable[Optional[Resource]]) -> Iterable[dict[str, Any]]:
    """One command a map for all its elements."""
    found: dict[str, list[Any]] = {}
    for item in items:
        assert isinstance(item, NftElement)
        found.setdefault(item.map, []).append([json.loads(item.key), {"goto": {"target": item.target}}])
    for name, elements in found.items():
        yield {verb: {"element": {**_IN_TABLE, "name": name, "elem": elements}}}


def _base(item: Any) -> tuple[object, ...]:
    return tuple(getattr(item, field) for field in _BASE)
