# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table ``crosshost`` of a namespace by its meaning.

A base chain is its hook and its rules. A map is its keys with what the chains do to which they lead: how these chains are
called matters only where it is documented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .read import Space
from .rules import key_words, rule_words

TABLE = "crosshost"
Base = tuple[str, tuple[str, ...]]  # type, hook and priority; the rules
Lead = tuple[str, str]  # the chain's name, "" for any; what it does


@dataclass
class Table:
    """``spare``: chains to which nothing need lead."""

    bases: Counter[Base] = field(default_factory=Counter)
    maps: dict[str, dict[str, Lead]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    spare: set[str] = field(default_factory=set)

    def base(self, hook: str, *rules: str) -> None:
        self.bases[hook, rules] += 1

    def map(self, name: str, types: str) -> dict[str, Lead]:
        """A map that has to be there, with its elements so far."""
        self.types[name] = types
        return self.maps.setdefault(name, {})

    def __bool__(self) -> bool:
        return bool(self.bases or self.maps)


def read_table(space: Space) -> Table:
    """What there is. Chains to which nothing leads are ``spare``."""
    chains = {entry["chain"]["name"]: entry["chain"] for entry in space.nft if _ours(entry, "chain", "inet")}
    rules: dict[str, list[Any]] = {name: [] for name in chains}
    for entry in space.nft:
        if _ours(entry, "rule", "inet"):
            rules[entry["rule"]["chain"]].append(entry["rule"]["expr"])
    led: set[str] = set()

    def does(name: str) -> str:
        led.add(name)
        return "; ".join(rule_words(one, does) for one in rules[name])

    found = Table()
    for name, chain in chains.items():
        if "hook" in chain:
            hook = f"{chain['type']} {chain['hook']} {chain['prio']}"
            found.base(hook, *(rule_words(one, does) for one in rules[name]))
    for entry in space.nft:
        if not _ours(entry, "map", "inet"):
            continue
        one = entry["map"]
        types = one["type"] if isinstance(one["type"], list) else [one["type"]]
        elements = found.map(one["name"], " . ".join(types))
        for key, verdict in one.get("elem", []):
            ((action, inner),) = verdict.items()
            target = inner["target"] if action in ("goto", "jump") else ""
            elements[key_words(key)] = (target, does(target) if target else action)
    found.spare = {name for name, chain in chains.items() if "hook" not in chain} - led
    return found


def compare_table(wanted: Table, space: Space) -> Iterator[str]:
    """The differences, a line each."""
    found = read_table(space)
    for hook, rules in sorted((wanted.bases - found.bases).elements()):
        yield f"nft chain ({hook}) with {list(rules)}: missing"
    for hook, rules in sorted((found.bases - wanted.bases).elements()):
        yield f"nft chain ({hook}) with {list(rules)}: unexpected"
    yield from _maps(wanted, found)
    yield from (
        f"nft chain {name}: unexpected, nothing leads there" for name in sorted(found.spare - wanted.spare)
    )
    yield from _foreign(space)
    if not wanted and ("inet", TABLE) in tables(space):
        yield f"nft table inet {TABLE}: unexpected"


def _foreign(space: Space) -> Iterator[str]:
    """What no declaration makes in a table of ours."""
    for entry in space.nft:
        for kind, one in entry.items():
            if one.get("table") != TABLE:
                continue
            if kind not in ("chain", "rule", "map") or one["family"] != "inet":
                yield f"nft {kind} {one.get('name')}: unexpected in family {one['family']}"
            elif kind == "chain" and one.get("policy", "accept") != "accept":
                yield f"nft chain {one['name']}: policy {one['policy']}"


def _maps(wanted: Table, found: Table) -> Iterator[str]:
    yield from (f"nft map {name}: missing" for name in sorted(set(wanted.types) - set(found.types)))
    yield from (f"nft map {name}: unexpected" for name in sorted(set(found.types) - set(wanted.types)))
    for name in sorted(set(found.types) & set(wanted.types)):
        if found.types[name] != wanted.types[name]:
            yield f"nft map {name}: its keys are {found.types[name]}, should be {wanted.types[name]}"
        yield from _elements(name, wanted.maps[name], found.maps[name])


def _elements(name: str, wanted: dict[str, Lead], found: dict[str, Lead]) -> Iterator[str]:
    for key in sorted({**wanted, **found}):
        if key not in found:
            yield f"nft map {name}: element {key}: missing, should be: {wanted[key][1]}"
        elif key not in wanted:
            yield f"nft map {name}: element {key}: unexpected ({found[key][1]})"
        else:
            (chain, does), (there, is_) = wanted[key], found[key]
            if does != is_:
                yield f"nft map {name}: element {key}: is {is_!r}, should be {does!r}"
            elif chain and chain != there:
                yield f"nft map {name}: element {key}: leads to chain {there}, should be {chain}"


def tables(space: Space) -> list[tuple[str, str]]:
    """(family, name) of all that there are."""
    return [(entry["table"]["family"], entry["table"]["name"]) for entry in space.nft if "table" in entry]


def _ours(entry: dict[str, Any], kind: str, family: str) -> bool:
    one = entry.get(kind, {})
    return bool(one.get("table") == TABLE and one["family"] == family)
