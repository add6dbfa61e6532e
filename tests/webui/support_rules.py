# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call which route, as a table: `METHOD path role scope`, a line each. rules.txt is what was agreed to. When a route is
added or its rule changed on purpose: python -m tests.webui.support_rules > tests/webui/rules.txt"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from crosshost_webui.accounts.keys import Keys
from crosshost_webui.app import create_app
from crosshost_webui.db.engine import Database
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from crosshost_webui.web.access import Role, rules
from fastapi import FastAPI

FILE = Path(__file__).with_name("rules.txt")
HEAD = "# Who may call which route. Made by: python -m tests.webui.support_rules > tests/webui/rules.txt\n"


class Rule(NamedTuple):
    method: str
    path: str
    role: Role
    scope: str

    def __str__(self) -> str:
        role = "anyone" if self.role is Role.NOBODY else self.role.word
        return f"{self.method:<6} {self.path:<52} {role:<8} {'-' if self.role is Role.NOBODY else self.scope}"


def of_app(app: FastAPI) -> list[Rule]:
    """By path, then by method."""
    found = [
        Rule(method, str(route.path_format), rule.role, rule.scope)
        for route, rule in rules(app)
        if rule is not None
        for method in sorted(route.methods or ())
    ]
    return sorted(found, key=lambda rule: (rule.path, rule.method))


def agreed() -> list[str]:
    return [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        database = Database(settings.database_url)
        lines = [str(rule) for rule in of_app(create_app(State(settings, database, Keys(settings))))]
        database.close()
    sys.stdout.write(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
