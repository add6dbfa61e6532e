# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table ``crosshost``: read as JSON, changed by one atomic transaction a namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any, Optional

from ..errors import HostError
from ..resources import NFT_TABLE, NftChain, canonical
from . import netns as _netns

_BASE = ("type", "hook", "prio", "policy")


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


def chains(netns: str, family: str) -> list[NftChain]:
    """The base chains of our table; [] when there is none."""
    code, out, _err = _run(netns, [{"list": {"table": {"family": family, "name": NFT_TABLE}}}])
    if code != 0:
        return []  # the one way in which listing by name fails: there is no such table
    rules: dict[str, list[str]] = {}
    found: list[NftChain] = []
    listing = json.loads(out)["nftables"] if out.strip() else []
    for entry in listing:
        if "rule" in entry:
            rules.setdefault(entry["rule"]["chain"], []).append(canonical(entry["rule"]["expr"]))
    for entry in listing:
        chain = entry.get("chain")
        if chain and "hook" in chain:
            found.append(
                NftChain(
                    netns,
                    family,
                    chain["name"],
                    chain["type"],
                    chain["hook"],
                    chain["prio"],
                    tuple(rules.get(chain["name"], ())),
                    chain.get("policy", "accept"),
                )
            )
    return found


def transact(netns: str, changes: Iterable[tuple[Optional[NftChain], Optional[NftChain]]]) -> None:
    """Make all these (before, after) changes of chains at once. NftError if nft refuses: then nothing was done."""
    document: list[dict[str, Any]] = []
    families = set()
    for before, after in changes:
        if before is not None:
            families.add(before.family)
            target = {"family": before.family, "table": NFT_TABLE, "name": before.name}
            document.append({"flush": {"chain": target}})
            if after is None or _base(before) != _base(after):
                document.append({"delete": {"chain": target}})
        if after is not None:
            document += _write(after)
    code, _out, err = _run(netns, document)
    if code != 0:
        raise NftError(" ".join(err.split()) or f"nft ended with {code}")
    for family in families:
        if not _any_chain(netns, family):
            _run(netns, [{"delete": {"table": {"family": family, "name": NFT_TABLE}}}])


def _base(chain: NftChain) -> tuple[object, ...]:
    return tuple(getattr(chain, field) for field in _BASE)


def _write(chain: NftChain) -> list[dict[str, Any]]:
    place = {"family": chain.family, "table": NFT_TABLE}
    base = {field: getattr(chain, field) for field in _BASE}
    document: list[dict[str, Any]] = [
        {"add": {"table": {"family": chain.family, "name": NFT_TABLE}}},
        {"add": {"chain": {**place, "name": chain.name, **base}}},
    ]
    rules = ({**place, "chain": chain.name, "expr": json.loads(rule)} for rule in chain.rules)
    return document + [{"add": {"rule": rule}} for rule in rules]


def _any_chain(netns: str, family: str) -> bool:
    code, out, _err = _run(netns, [{"list": {"table": {"family": family, "name": NFT_TABLE}}}])
    return code == 0 and any(
        "chain" in entry or "set" in entry or "map" in entry for entry in json.loads(out)["nftables"]
    )
