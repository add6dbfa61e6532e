# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the nft table in nft's own language: only what crosshost's rules are made of."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Union

from .plan import Op
from .resources import NFT_TABLE, NftChain, NftElement, NftMap

_Part = Union[NftChain, NftMap, NftElement]


def lines(op: Op) -> list[str]:
    """The commands of one operation, for a shell."""
    item = op.subject
    if isinstance(item, NftElement):
        return _element(op, item)
    if isinstance(item, NftMap):
        return _map(op, item)
    assert isinstance(item, NftChain)
    chain = f"{item.family} {NFT_TABLE} {item.name}"
    if op.after is None:
        return [f"nft flush chain {chain}", f"nft delete chain {chain}"]
    found = [f"nft add table {item.family} {NFT_TABLE}"]
    found.append(f"nft add chain {chain}{_base(item)}")
    if op.before is not None:
        found.append(f"nft flush chain {chain}")
    return found + [f"nft add rule {chain} {_text(rule)}" for rule in item.rules]


def _base(chain: NftChain) -> str:
    if not chain.hook:
        return ""
    return f" '{{ type {chain.type} hook {chain.hook} priority {chain.prio}; policy {chain.policy}; }}'"


def _map(op: Op, item: NftMap) -> list[str]:
    name = f"{item.family} {NFT_TABLE} {item.name}"
    if op.after is None:
        return [f"nft delete map {name}"]
    keys = " . ".join(item.keys)
    return [f"nft add table {item.family} {NFT_TABLE}", f"nft add map {name} '{{ type {keys} : verdict; }}'"]


def _element(op: Op, item: NftElement) -> list[str]:
    found = []
    if op.before is not None:
        assert isinstance(op.before, NftElement)
        found.append(f"nft delete element {_member(op.before)}")
    return found + ([f"nft add element {_member(item)}"] if op.after is not None else [])


def _member(item: NftElement) -> str:
    return (
        f"{item.family} {NFT_TABLE} {item.map} '{{ {_operand(json.loads(item.key))} : goto {item.target} }}'"
    )


def describe(item: _Part) -> list[str]:
    """A line for the object, and one for each of its rules."""
    if isinstance(item, NftElement):
        return [f"nft {item.map}: {_operand(json.loads(item.key))} : goto {item.target}"]
    if isinstance(item, NftMap):
        return [f"nft map {item.name} ({' . '.join(item.keys)})"]
    head = f"nft {item.family} {NFT_TABLE} {item.name}"
    if item.hook:
        head += f" ({item.type} {item.hook} {item.prio})"
    return [
        head,
        *(f"{head}: {place} {_text(rule)}" for place, rule in enumerate(item.rules)),
    ]


@lru_cache(maxsize=1 << 14)
def _text(rule: str) -> str:
    """A rule by its JSON. Many sandboxes have the same, and each is shown as a command and as a part of the diff."""
    return rule_text(json.loads(rule))


def rule_text(expression: list[dict[str, Any]]) -> str:
    """A rule of this expression list."""
    return " ".join(_statement(statement) for statement in expression)


def _statement(statement: dict[str, Any]) -> str:
    ((kind, value),) = statement.items()
    if kind == "match":
        sign = "" if value["op"] in ("==", "in") else f"{value['op']} "
        return f"{_operand(value['left'])} {sign}{_operand(value['right'])}"
    if kind == "vmap":
        return f"{_operand(value['key'])} vmap {_operand(value['data'])}"
    if kind in ("dnat", "snat"):
        return _nat(kind, value)
    if kind in ("goto", "jump"):
        return f"{kind} {value['target']}"
    if kind == "mangle":
        return f"{_operand(value['key'])} set {_operand(value['value'])}"
    if kind == "reject" and value:
        return f"reject with {value['type']}" + (f" {value['expr']}" if "expr" in value else "")
    return str(kind)


def _nat(kind: str, value: dict[str, Any]) -> str:
    family = f"{value['family']} " if "family" in value else ""
    address = _operand(value["addr"])
    if "port" not in value:
        return f"{kind} {family}to {address}"
    if ":" in address and "map" not in address:
        address = f"[{address}]"
    return f"{kind} {family}to {address}:{_operand(value['port'])}"


def _operand(value: Any) -> str:
    if isinstance(value, dict):
        ((kind, found),) = value.items()
        return str(_WORDS[kind](found))
    if isinstance(value, list):
        return ",".join(_operand(one) for one in value)
    return str(value)


def _set(members: Any) -> str:
    pairs = (
        f"{_operand(one[0])} : {_operand(one[1])}" if isinstance(one, list) else _operand(one)
        for one in members
    )
    return "{ " + ", ".join(pairs) + " }"


def _seed(value: dict[str, Any]) -> str:
    return f" seed {value['seed']}" if "seed" in value else ""


_WORDS: dict[str, Any] = {
    "meta": lambda value: f"meta {value['key']}",
    "payload": lambda value: f"{value['protocol']} {value['field']}",
    "ct": lambda value: f"ct {value['key']}",
    "fib": lambda value: f"fib {' . '.join(value['flags'])} {value['result']}",
    "tcp option": lambda value: f"tcp option {value['name']} {value['field']}",
    "rt": lambda value: f"rt {value['key']}",
    "prefix": lambda value: f"{value['addr']}/{value['len']}",
    "range": lambda value: f"{_operand(value[0])}-{_operand(value[1])}",
    "concat": lambda value: " . ".join(_operand(one) for one in value),
    "set": _set,
    "map": lambda value: f"{_operand(value['key'])} map {_operand(value['data'])}",
    "numgen": lambda value: f"numgen {value['mode']} mod {value['mod']}",
    "jhash": lambda value: f"jhash {_operand(value['expr'])} mod {value['mod']}{_seed(value)}",
    "goto": lambda value: f"goto {value['target']}",
}
