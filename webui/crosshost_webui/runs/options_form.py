# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of a run's options, for a run and for a schedule. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..web.problem import Invalid
from .options import PLAYBOOKS, RunOptions


def read(sent: Mapping[str, str]) -> RunOptions:
    """ValidationError if it is nothing that a run is started with. Variables and tags count that are of the chosen playbook."""
    playbook = sent.get("playbook", "")
    known = PLAYBOOKS.get(playbook)
    variables: dict[str, Any] = {}
    tags = [tag for tag in known.tags if sent.get(f"tag.{playbook}.{tag}") == "1"] if known else []
    for one in known.variables if known else ():
        text = sent.get(f"variable.{playbook}.{one.name}", "").strip()
        if text:
            variables[one.name] = _value(one.kind, text)
    forks = sent.get("forks", "").strip()
    return RunOptions.model_validate(
        {
            "playbook": playbook, "check": sent.get("check") == "1", "diff": sent.get("diff") == "1",
            "limit": sent.get("limit", ""), "tags": ",".join(tags), "forks": forks or None, "variables": variables,
            "secrets": [
                int(name.removeprefix("secret.")) for name, value in sent.items()
                if name.startswith("secret.") and value == "1" and name[7:].isascii() and name[7:].isdigit()
            ],
        }
    )  # fmt: skip


def show(options: Mapping[str, Any]) -> dict[str, Any]:
    """The form's values for stored options."""
    playbook = str(options.get("playbook", "site"))
    found: dict[str, Any] = {
        "playbook": playbook, "check": "1" if options.get("check") else "", "diff": "1" if options.get("diff", True) else "",
        "limit": options.get("limit", ""), "forks": options.get("forks") or "",
    }  # fmt: skip
    found |= {f"tag.{playbook}.{tag}": "1" for tag in str(options.get("tags", "")).split(",") if tag}
    for name, value in (options.get("variables") or {}).items():
        text = (
            {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
        )
        found[f"variable.{playbook}.{name}"] = text
    return found | {f"secret.{number}": "1" for number in options.get("secrets") or ()}


def problem(error: ValidationError) -> Invalid:
    """The same as one problem, with the fields of the form."""
    fields: dict[str, str] = {}
    for one in error.errors():
        text = str(one["msg"]).removeprefix("Value error, ")
        where = str(one["loc"][0]) if one["loc"] else text.partition(":")[0]
        fields.setdefault(where, text)
    name, text = next(iter(fields.items()))
    return Invalid(text if text.startswith(name) else f"{name}: {text}", fields)


def _value(kind: str, text: str) -> Any:
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return int(text) if kind == "number" and text.isascii() and text.isdigit() and len(text) < 10 else text
