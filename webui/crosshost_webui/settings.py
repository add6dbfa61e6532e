# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator can set: by the environment (CROSSHOST_WEBUI_*), or the options of `crosshost-webui serve`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DATABASES = ("sqlite", "postgresql+psycopg")


def _parted(value: Any) -> Any:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


# In the environment with commas between.
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parted)]


class Settings(BaseSettings):
    """Settings of one server. Times in seconds."""

    model_config = SettingsConfigDict(env_prefix="CROSSHOST_WEBUI_", extra="forbid", frozen=True)

    data_dir: Path = Field(
        default=Path("/var/lib/crosshost-webui"), description="runs' files, the key, the embedded database"
    )
    database: str = Field(default="", description="database URL; empty: SQLite in the data directory")
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8420, ge=0, le=65535, description="the port to listen on; 0: any free one")
    base_url: str = Field(default="", description="how browsers reach the server, if not by host and port")
    key_file: Path | None = Field(
        default=None, description="the key of secrets; empty: one in the data directory"
    )
    trusted_proxies: Words = Field(
        default=(), description="addresses of proxies whose X-Forwarded-For counts"
    )
    log_format: Literal["text", "json"] = Field(default="text", description="how log lines look")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level logged"
    )
    executors: int = Field(
        default=2, ge=0, le=64, description="runs at the same time on this server; 0: none"
    )
    forks: int = Field(default=20, ge=1, le=500, description="hosts that a run works on at the same time")
    session_idle: int = Field(default=12 * 3600, ge=60, description="after which an unused session ends")
    session_life: int = Field(default=7 * 86400, ge=60, description="after which any session ends")
    quarantine: int = Field(default=3600, ge=0, description="before a released address is handed out again")
    keep_runs: int = Field(default=90 * 86400, ge=3600, description="after which a run's results are removed")
    metrics_token: SecretStr = Field(
        default=SecretStr(""), description="bearer token of /metrics; empty: no metrics"
    )
    oidc_issuer: str = Field(default="", description="OpenID Connect provider; empty: local accounts only")
    oidc_client_id: str = Field(default="", description="what the provider knows this server by")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), description="the secret that goes with it")
    oidc_groups_claim: str = Field(default="groups", description="the claim that has a user's groups")
    oidc_admins: Words = Field(default=(), description="groups whose members are admins")
    oidc_operators: Words = Field(default=(), description="groups whose members are operators")
    oidc_viewers: Words = Field(default=(), description="groups whose members are viewers; `*`: everyone")

    @field_validator("data_dir", "key_file")
    @classmethod
    def _whole(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                ipaddress.ip_network(one)
            except ValueError as error:
                raise ValueError(f"{error}; write an address, or a network such as 10.0.0.0/8") from None
        return value

    @field_validator("base_url")
    @classmethod
    def _origin(cls, value: str) -> str:
        found = urlsplit(value)
        if value and not (found.scheme in ("http", "https") and found.hostname and found.path in ("", "/")):
            raise ValueError(
                f"{value} is no address of a site; write one such as https://crosshost.example.net"
            )
        return value.rstrip("/")

    @field_validator("database")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value:
            return value
        try:
            driver = make_url(value).drivername
        except ArgumentError:
            raise ValueError(
                "no database URL; write sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
            ) from None
        if driver not in DATABASES:
            raise ValueError(f"{driver} is not supported; use one of {', '.join(DATABASES)}")
        return value

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data_dir / 'crosshost.db'}"

    @property
    def runs_dir(self) -> Path:
        return self.data_dir / "runs"
