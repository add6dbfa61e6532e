# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the server's settings: how it was started, without what is secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Response
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from ..collection import version
from ..settings import Settings
from ..web.access import Admin
from ..web.pages import page

router = APIRouter()
PARTS = (
    ("The server", ("host", "port", "base_url", "trusted_proxies", "log_level", "log_format", "metrics_token")),
    ("Data", ("data_dir", "database", "key_file", "quarantine", "keep_runs")),
    ("Runs", ("executors", "forks")),
    ("Sign-in", ("session_idle", "session_life", "oidc_issuer", "oidc_client_id", "oidc_client_secret",
                 "oidc_groups_claim", "oidc_admins", "oidc_operators", "oidc_viewers")),
)  # fmt: skip
SECONDS = ("quarantine", "keep_runs", "session_idle", "session_life")


@router.get("/settings")
def show_settings(context: Admin) -> Response:
    settings = context.state.settings
    named = {name for _, names in PARTS for name in names}
    others = tuple(name for name in Settings.model_fields if name not in named)
    parts = [(title, list(_rows(settings, names))) for title, names in (*PARTS, ("Others", others)) if names]
    return page(context, "settings/settings.html", parts=parts, version=version())


def _rows(settings: Settings, names: tuple[str, ...]) -> Iterator[tuple[str, str, str, bool]]:
    """Name, value for people, what it is, and whether it is the usual one."""
    for name in names:
        field = Settings.model_fields.get(name)
        if field is not None:
            value = getattr(settings, name)
            usual = value == field.get_default(call_default_factory=True)
            yield name, _text(name, value), field.description or "", usual


def _text(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    if name == "database" and value:
        return make_url(value).render_as_string(hide_password=True)
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if name in SECONDS:
        hours, rest = divmod(int(value), 3600)
        return f"{value} s" if rest else f"{hours // 24} days" if hours and hours % 24 == 0 else f"{hours} h"
    return str(value) if value not in (None, "") else "not set"
