# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table ``crosshost`` of the family inet: read as JSON, changed by one atomic transaction a namespace."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

from ..errors import HostError
from ..plan import Op
from ..resources import NFT_TABLE, NftChain, NftElement, NftMap, Resource, canonical
from . import netns as _netns

FAMILY = "inet"
AT_ONCE = 2  # processes of nft: each keeps a processor busy
_BASE = ("type", "hook", "prio", "policy")
_TABLE = {"family": FAMILY, "name": NFT_TABLE}
# on a host without /etc/protocols nft lists their numbers
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
_SPOKEN = re.compile(r'("key":"l4proto"}},"op":"[!=]=","right":)([0-9]+)')
_IN_TABLE = {"family": FAMILY, "table": NFT_TABLE}


class NftError(Exception):
    """nft refused the transaction; nothing of it was done. The message is nft's own."""


class Call:
    """nft at work in a namespace. It runs from now on; its answer may be waited for later, with other work in between. It
    reads and writes files in memory, so that it never waits for us."""

    def __init__(self, netns: str, document: str) -> None:
        self._files = [os.fdopen(os.memfd_create("nft"), "w+", encoding="utf-8") for _ in range(3)]
        stdin, stdout, stderr = self._files
        stdin.write(document)
        stdin.seek(0)
        try:
            with _netns.inside(netns):
                self._process = subprocess.Popen(
                    ["nft", "-j", "-f", "-"], stdin=stdin, stdout=stdout, stderr=stderr
                )
        except OSError as error:
            self._close()
            if isinstance(error, FileNotFoundError) and error.filename == "nft":
                raise HostError("nft cannot be found: install the package nftables on the host") from None
            raise

    def answer(self) -> tuple[int, str, str]:
        """nft's exit code, output and errors."""
        code = self._process.wait()
        _stdin, stdout, stderr = self._files
        stdout.seek(0)
        stderr.seek(0)
        out, err = stdout.read(), stderr.read()
        self._close()
        return code, out, err

    def wait(self) -> None:
        """Wait for its end; the answer can still be had."""
        self._process.wait()

    def stop(self) -> None:
        """End it: nobody wants the answer any more."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        for file in self._files:
            file.close()


def listing(netns: str) -> Call:
    """Begin to read our table of a namespace, for :func:`table`."""
    return Call(netns, _document([canonical({"list": {"table": _TABLE}})]))


def _document(commands: Iterable[str]) -> str:
    return f'{{"nftables":[{",".join(commands)}]}}'


def _entries(call: Call) -> list[dict[str, Any]]:
    code, out, _err = call.answer()
    if code != 0:
        return []  # the one way in which listing by name fails: there is no such table
    found: list[dict[str, Any]] = json.loads(out)["nftables"] if out.strip() else []
    return found


def table(netns: str, call: Call) -> list[Resource]:
    """The chains, verdict maps and their elements in our table, as a listing shows them; [] when there is none."""
    rules: dict[str, list[str]] = {}
    found: list[Resource] = []
    entries = _entries(call)
    for entry in entries:
        if "rule" in entry:
            rules.setdefault(entry["rule"]["chain"], []).append(_named_protocol(entry["rule"]["expr"]))
    for entry in entries:
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


def _named_protocol(expression: list[dict[str, Any]]) -> str:
    text = canonical(expression)
    if '"l4proto"' in text:
        text = _SPOKEN.sub(lambda found: f'{found[1]}"{_PROTOCOLS.get(int(found[2]), found[2])}"', text)
    return text


def _map(netns: str, entry: dict[str, Any]) -> list[Resource]:
    keys = entry["type"]
    name = entry["name"]
    found: list[Resource] = [NftMap(netns, FAMILY, name, (keys,) if isinstance(keys, str) else tuple(keys))]
    place = keys.index("inet_proto") if "inet_proto" in keys else -1
    for key, verdict in entry.get("elem", ()):
        if place >= 0 and isinstance(key, dict):
            spoken = key["concat"][place]
            key["concat"][place] = _PROTOCOLS.get(spoken, spoken)
        target = verdict.get("goto", {}).get("target", "") if isinstance(verdict, dict) else ""
        found.append(NftElement(netns, FAMILY, name, canonical(key), target))
    return found


def transact(netns: str, ops: Sequence[Op]) -> Call:
    """Begin to make all these changes of a namespace's table at once, for :func:`finish`.

    What refers to something goes before it and comes after it: elements, rules, maps and chains, then the other way. With the
    last of them the table goes."""
    commands = [canonical({"add": {"table": _TABLE}}), *map(canonical, _clear(ops)), *_write(ops)]
    if all(op.after is None for op in ops) and _is_all(netns, ops):
        commands.append(canonical({"delete": {"table": _TABLE}}))
    return Call(netns, _document(commands))


def finish(call: Call) -> None:
    """Wait for the end of a transaction. NftError if nft refuses: then nothing was done."""
    code, _out, err = call.answer()
    if code != 0:
        raise NftError(" ".join(err.split()) or f"nft ended with {code}")


def _is_all(netns: str, ops: Sequence[Op]) -> bool:
    """True if these parts are all that the table has."""
    parts = {op.before.name for op in ops if isinstance(op.before, (NftChain, NftMap))}
    there = (entry.get(kind) for entry in _entries(listing(netns)) for kind in ("chain", "map", "set"))
    return all(one["name"] in parts for one in there if one)


def _clear(ops: Sequence[Op]) -> Iterator[dict[str, Any]]:
    chains = [op for op in ops if isinstance(op.before, NftChain)]
    maps = [op.before for op in ops if op.after is None and isinstance(op.before, NftMap)]
    for name, members in _elements(op.before for op in ops).items():
        elements = [[json.loads(item.key), _verdict(item)] for item in members]
        yield {"delete": {"element": {**_IN_TABLE, "name": name, "elem": elements}}}
    for op in chains:
        yield {"flush": {"chain": _named(op.before)}}
    for item in maps:
        yield {"delete": {"map": _named(item)}}
    for op in chains:
        if op.after is None or _base(op.before) != _base(op.after):
            yield {"delete": {"chain": _named(op.before)}}


def _write(ops: Sequence[Op]) -> Iterator[str]:
    """Rules and keys are JSON already, and there may be thousands: they are put in as they are."""
    chains = [op.after for op in ops if isinstance(op.after, NftChain)]
    maps = [op.after for op in ops if op.before is None and isinstance(op.after, NftMap)]
    place = canonical(_IN_TABLE)[1:-1]
    for chain in chains:
        base = {field: getattr(chain, field) for field in _BASE} if chain.hook else {}
        yield canonical({"add": {"chain": {**_named(chain), **base}}})
    for item in maps:
        keys = item.keys[0] if len(item.keys) == 1 else list(item.keys)
        yield canonical({"add": {"map": {**_named(item), "type": keys, "map": "verdict"}}})
    for name, members in _elements(op.after for op in ops).items():
        elements = ",".join(f"[{item.key},{canonical(_verdict(item))}]" for item in members)
        yield f'{{"add":{{"element":{{{place},"name":{canonical(name)},"elem":[{elements}]}}}}}}'
    for chain in chains:
        for rule in chain.rules:
            yield f'{{"add":{{"rule":{{{place},"chain":{canonical(chain.name)},"expr":{rule}}}}}}}'


def _named(item: Any) -> dict[str, Any]:
    return {**_IN_TABLE, "name": item.name}


def _elements(items: Iterable[Optional[Resource]]) -> dict[str, list[NftElement]]:
    """Elements by their map: all that a map loses or gets is one command."""
    found: dict[str, list[NftElement]] = {}
    for item in items:
        if isinstance(item, NftElement):
            found.setdefault(item.map, []).append(item)
    return found


def _verdict(item: NftElement) -> dict[str, Any]:
    return {"goto": {"target": item.target}}


def _base(item: Any) -> tuple[object, ...]:
    return tuple(getattr(item, field) for field in _BASE)
