# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API of accounts takes and gives. What is secret goes in and never comes out, but for a token's text, once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from ..web.access import SCOPES
from . import passwords, secrets, tokens, users
from .models import Secret, Token, User

Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="its id, out of the list")]
RoleName = Literal["viewer", "operator", "admin"]
ScopeName = Literal["read", "inventory:write", "ipam:write", "run:start", "executor", "admin"]
SecretKind = Literal["ssh_key", "vault_password", "become_password"]


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("it has a NUL in it; take it out")
    return value


Line = Annotated[str, AfterValidator(_no_nul)]
NewPassword = Annotated[
    SecretStr,
    Field(
        min_length=passwords.LEAST,
        max_length=passwords.MOST,
        description="several words",
        examples=["plum-orbit-lantern"],
    ),
]


class Strict(BaseModel):
    """A field that is not known is an error: it would be taken for done."""

    model_config = ConfigDict(extra="forbid")


class Me(BaseModel):
    """Who asks, and what they may do."""

    name: str = Field(examples=["ann"])
    role: RoleName
    through: str = Field(description="`token NAME`; empty in a browser", examples=["token ci"])
    scopes: list[ScopeName] | None = Field(description="null: all that the role may do")


class SessionOut(BaseModel):
    """A browser that is signed in."""

    id: str = Field(examples=["9f86d081884c7d65"])
    created_at: datetime
    seen_at: datetime = Field(description="to the minute")
    expires_at: datetime
    address: str = Field(examples=["192.0.2.7"])
    agent: str = Field(description="what the browser calls itself")
    current: bool = Field(description="whether it is the one that asks")


class SessionsOut(BaseModel):
    items: list[SessionOut]


class PasswordChange(Strict):
    current: SecretStr = Field(max_length=passwords.MOST)
    new: NewPassword


class UserOut(BaseModel):
    """A user."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["ann"])
    display_name: str = Field(examples=["Ann Smith"])
    role: RoleName
    source: Literal["local", "oidc"] = Field(
        description="oidc: signs in at the provider, which gives the role too"
    )
    disabled: bool
    has_password: bool
    created_at: datetime
    signed_in_at: datetime | None


class UserNew(Strict):
    """A local user. Without a password it has tokens only."""

    name: Line = Field(
        min_length=1,
        max_length=150,
        description="letters, digits and . _ @ + -; kept in small letters",
        examples=["bob"],
    )
    role: RoleName
    display_name: Line = Field(default="", max_length=200, examples=["Bob Jones"])
    password: NewPassword | None = None


class UserChange(Strict):
    """Only the fields that are there change. Another role ends the user's sessions; disabling revokes the tokens too."""

    role: RoleName | None = Field(default=None, examples=["operator"])
    display_name: Line | None = Field(default=None, max_length=200)
    disabled: bool | None = None


class PasswordReset(Strict):
    password: NewPassword


class TokenOut(BaseModel):
    """An API token, without its secret."""

    id: int
    name: str = Field(examples=["ci"])
    user: str = Field(examples=["ann"])
    key: str = Field(description="the part in front of the dot", examples=["0123456789abcdef"])
    scopes: list[ScopeName]
    created_at: datetime
    expires_at: datetime | None = Field(description="null: never")
    used_at: datetime | None = Field(description="to the minute")
    revoked_at: datetime | None


class TokenNew(Strict):
    """A token of one's own account: it can do what the account can, and of that only what its scopes name."""

    name: Line = Field(min_length=1, max_length=150, description="what it is for", examples=["ci"])
    scopes: list[ScopeName] = Field(min_length=1, max_length=len(SCOPES), examples=[["read"]])
    days: Annotated[int, Field(ge=1, le=tokens.DAYS_MOST)] | None = Field(
        default=90, description="after which it expires; null: never"
    )


class TokenMade(TokenOut):
    """The only time that the token is shown."""

    token: str = Field(examples=["xh_0123456789abcdef.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE"])


class SecretOut(BaseModel):
    """A secret, without its content."""

    id: int
    name: str = Field(examples=["lab hosts"])
    kind: SecretKind
    fingerprint: str = Field(description="of an ssh key; else empty", examples=["ssh-ed25519 SHA256:..."])
    key: str = Field(description="the id of the key that it is encrypted with", examples=["k1a2b3c4d"])
    created_at: datetime
    used_at: datetime | None = Field(description="when a run opened it last")


class SecretNew(Strict):
    name: Line = Field(min_length=1, max_length=150, examples=["lab hosts"])
    kind: SecretKind = Field(examples=["become_password"])
    value: SecretStr = Field(
        min_length=1,
        max_length=secrets.KEY_MOST,
        description="an ssh key: the private one, without a passphrase",
    )


class SecretContent(Strict):
    value: SecretStr = Field(min_length=1, max_length=secrets.KEY_MOST)


class KeysRotated(BaseModel):
    key: str = Field(description="the id of the new key", examples=["k1a2b3c4d"])
    secrets: int = Field(description="how many secrets there are, all encrypted with it now", examples=[3])


def user_out(user: User) -> UserOut:
    return UserOut(
        id=user.id, created_at=user.created_at, signed_in_at=user.signed_in_at, **users.shown(user)
    )


def token_out(token: Token, user_name: str) -> TokenOut:
    return TokenOut(
        id=token.id, name=token.name, user=user_name, key=token.key, scopes=token.scopes, created_at=token.created_at,
        expires_at=token.expires_at, used_at=token.used_at, revoked_at=token.revoked_at,
    )  # fmt: skip


def secret_out(secret: Secret) -> SecretOut:
    return SecretOut(
        id=secret.id, created_at=secret.created_at, used_at=secret.used_at, **secrets.shown(secret)
    )
