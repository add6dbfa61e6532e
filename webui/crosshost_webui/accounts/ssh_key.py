# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys for ssh: only what an agent can take without asking anybody, and that a host of today accepts."""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from ..web.problem import Invalid

RSA_LEAST = 2048  # bits; OpenSSH's own default is 3072


def read_private_key(name: str, text: str) -> tuple[bytes, str]:
    """The key in OpenSSH's format, and its fingerprint as `ssh-keygen -l` shows it. Invalid says what is wrong without a character
    of the key."""
    content = text.replace("\r\n", "\n").strip().encode("utf-8", "replace") + b"\n"
    if content.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        raise _wrong(name, "this is the public key; paste the private one (the file without .pub)")
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in content else load_pem_private_key
    try:
        key = load(content, password=None)
    except TypeError:
        raise _wrong(
            name,
            "it has a passphrase, which nobody types at a run; remove it from a copy: ssh-keygen -p -N ''",
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if "password" in str(error).lower():
            raise _wrong(
                name,
                "it has a passphrase, which nobody types at a run; remove it from a copy: ssh-keygen -p -N ''",
            ) from None
        raise _wrong(name, "it is no private key in OpenSSH's or PEM format, or it is damaged") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise _wrong(
            name, "keys of this kind are not accepted by ssh servers; make one with ssh-keygen -t ed25519"
        )
    if isinstance(key, RSAPrivateKey) and key.key_size < RSA_LEAST:
        raise _wrong(name, f"an RSA key of {key.key_size} bits; ssh servers want {RSA_LEAST} or more")
    try:
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong(name, "ssh has no keys on this curve; make one with ssh-keygen -t ed25519") from None
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return plain, f"{public.split()[0].decode()} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _wrong(name: str, told: str) -> Invalid:
    return Invalid(f"secret {name}: value: {told}", {"value": told})
